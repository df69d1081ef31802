import pytest
import torch
import torch.nn.functional as F

from ugc_sr.degrade.effects import kernels
from ugc_sr.degrade.effects.blur import (
    convolve,
    gaussian_blur,
)


@pytest.mark.parametrize("size", [3, 7, 21])
@pytest.mark.parametrize("product", [False, True])
def test_a_convolution_is_the_one_that_torch_computes_on_the_mirrored_photo(size, product):
    photo = torch.rand(2, 3, 70, 33)
    kernel = torch.rand(size, 1) * torch.rand(size) if product else torch.rand(size, size)
    kernel = kernel / kernel.sum()
    padded = F.pad(photo, (size // 2,) * 4, mode="reflect")
    expected = F.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)
    torch.testing.assert_close(convolve(photo, kernel), expected, atol=2e-6, rtol=0)


def test_a_kernel_larger_than_the_photo_sees_it_mirrored_again_and_again():
    photo, kernel = torch.rand(1, 3, 4, 3), kernels.disc(5.0)
    many = photo
    for _ in range(3):  # mirror by what fits, as often as it takes
        many = F.pad(many, (2, 2, 3, 3), mode="reflect")
    expected = F.conv2d(many, kernel.expand(3, 1, -1, -1), groups=3)
    top, left = (expected.shape[2] - 4) // 2, (expected.shape[3] - 3) // 2
    torch.testing.assert_close(
        convolve(photo, kernel), expected[:, :, top : top + 4, left : left + 3], atol=2e-6, rtol=0
    )


def test_a_kernel_that_does_nothing_leaves_every_bit():
    photo = torch.rand(1, 3, 16, 16)
    assert torch.equal(gaussian_blur(photo, 0.01, 0.02, 1.0, 7), photo)


def test_without_a_second_deviation_the_blur_is_round():
    photo = torch.rand(1, 3, 16, 16)
    assert torch.equal(gaussian_blur(photo, 1.3), gaussian_blur(photo, 1.3, 1.3))
