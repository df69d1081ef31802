import pytest
import torch
import torch.nn.functional as F

from ugc_sr.degrade.effects import kernels
from ugc_sr.degrade.effects.blur import (
    convolve,
    defocus_blur,
    gaussian_blur,
    generalized_blur,
    motion_blur,
    plateau_blur,
    sinc_blur,
)

BLURS = [
    lambda image: gaussian_blur(image, 2.0, 1.0, 0.5, 21),
    lambda image: gaussian_blur(image, 1.2),
    lambda image: generalized_blur(image, 2.0, 0.5, 1.0, -2.0, 13),
    lambda image: plateau_blur(image, 0.5, 2.0, 1.0, 3.0, 7),
    lambda image: sinc_blur(image, 9, 1.5),
    lambda image: defocus_blur(image, 3.0),
    lambda image: motion_blur(image, 11.0, 0.8),
]


@pytest.mark.parametrize("blur", BLURS)
def test_a_flat_photo_stays_flat(blur):
    flat = torch.full((1, 3, 32, 30), 0.4)
    torch.testing.assert_close(blur(flat), flat)


@pytest.mark.parametrize("blur", BLURS)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 40), (64, 64)])
def test_a_photo_of_any_size_keeps_its_size_and_its_range(blur, size):
    blurred = blur(torch.rand(2, 3, *size))
    assert blurred.shape == (2, 3, *size)
    assert blurred.isfinite().all()
    assert blurred.min() > -0.5
    assert blurred.max() < 1.5


@pytest.mark.parametrize("blur", BLURS)
def test_a_photo_is_blurred_alike_alone_and_in_a_batch(blur):
    photos = torch.rand(3, 3, 37, 52)
    torch.testing.assert_close(blur(photos)[1:2], blur(photos[1:2]), atol=1e-6, rtol=0)


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


def test_light_is_kept():
    photo = torch.zeros(1, 3, 41, 41)
    photo[:, :, 20, 20] = 1
    for blur in BLURS:
        assert blur(photo).sum().item() == pytest.approx(3, rel=1e-4)


def test_what_lies_outside_the_range_is_kept():
    photo = torch.full((1, 3, 8, 8), 1.5)
    torch.testing.assert_close(gaussian_blur(photo, 1.0), photo)


@pytest.mark.parametrize(
    ("blur", "message"),
    [
        (lambda x: gaussian_blur(x, 1.0, size=53), r"gaussian_blur: size must be one of 0, 3, .* got 53"),
        (lambda x: gaussian_blur(x, 0.0), r"gaussian_blur: sigma_x must be .* got 0.0"),
        (lambda x: gaussian_blur(x, 1.0, size=8), r"gaussian_blur: size must be one of 0, 3, 5, .* got 8"),
        (lambda x: plateau_blur(x, 1.0, 9.0), r"plateau_blur: beta must be .* got 9.0"),
        (lambda x: sinc_blur(x, 7, 4.0), r"sinc_blur: cutoff must be .* got 4.0"),
        (lambda x: defocus_blur(x, 21.0), r"defocus_blur: radius must be .* got 21.0"),
        (lambda x: motion_blur(x, 0.5, 0.0), r"motion_blur: length must be .* got 0.5"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(blur, message):
    with pytest.raises(ValueError, match=message):
        blur(torch.rand(1, 3, 8, 8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("blur", BLURS)
def test_the_gpu_blurs_as_the_cpu_does(blur):
    photo = torch.rand(2, 3, 40, 33)
    torch.testing.assert_close(blur(photo.cuda()).cpu(), blur(photo), atol=2e-6, rtol=0)
