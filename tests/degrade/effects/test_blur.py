import math

import pytest
import torch
import torch.nn.functional as F

from ugc_sr.degrade.effects import kernels
from ugc_sr.degrade.effects.blur import convolve, gaussian_blur


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


EVERY = [
    kernels.gaussian(21, 3.0, 0.5, 0.7),
    kernels.generalized_gaussian(21, 2.0, 1.0, -1.0, 0.5),
    kernels.plateau(13, 1.0, 2.0, 2.0, 2.0),
    kernels.sinc(21, 1.0),
    kernels.disc(3.3),
    kernels.line(12.5, 0.4),
    kernels.aperture(51),
]


@pytest.mark.parametrize("kernel", EVERY)
def test_a_kernel_is_square_and_odd_sums_to_one_and_looks_the_same_upside_down(kernel):
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-7, rtol=0)


@pytest.mark.parametrize(("radius", "area"), [(4.0, 50.3), (6.5, 132.7)])
def test_a_disc_covers_its_area(radius, area):
    assert 1 / kernels.disc(radius).max().item() == pytest.approx(area, rel=0.03)


def test_a_line_is_as_long_as_asked_and_points_where_it_was_turned():
    flat = kernels.line(9, 0.0)
    assert (flat[flat.shape[0] // 2] > 0).sum() == 9
    assert flat.sum(1).max().item() == pytest.approx(1)
    slope = kernels.line(20, math.pi / 4)
    assert slope.diag().sum() > 4 * slope.flip(1).diag().sum()  # x to the right and y down: falls


def test_a_disc_and_a_line_of_next_to_nothing_leave_a_point():
    assert kernels.disc(0.4).max() == 1
    assert kernels.line(1, 0.0).max() == 1
