"""Against PyPI's BasicSR, read from its source: the same kernels, filters and noise for the same numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.baseline import Chain, basicsr
from ugc_sr.degrade.effects import kernels
from ugc_sr.degrade.effects.blur import convolve
from ugc_sr.degrade.effects.noise import gaussian_noise, poisson_noise
from ugc_sr.degrade.effects.resize import resize
from ugc_sr.degrade.effects.sharpen import usm
from ugc_sr.degrade.recipes.real_esrgan import SETTINGS

degradations, process = basicsr("degradations"), basicsr("img_process_util")

SIZES = (7, 13, 21)
SHAPES = [(0.2, 0.4, -3.0), (1.5, 1.5, 0.0), (3.0, 0.3, 0.7), (0.2, 3.0, 2.5), (0.01, 0.02, 1.0)]
BETAS = (0.02, 0.5, 1.0, 2.0, 4.0)


def generator():
    return torch.Generator().manual_seed(0)


def same(ours, theirs):
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gaussian_kernels_are_the_same(size, shape):
    same(kernels.gaussian(size, *shape), degradations.bivariate_Gaussian(size, *shape, isotropic=False))
    round_ = degradations.bivariate_Gaussian(size, *shape, isotropic=True)
    same(kernels.gaussian(size, shape[0], shape[0], 0.0), round_)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("beta", BETAS)
def test_generalized_and_plateau_kernels_are_the_same(size, shape, beta):
    theirs = degradations.bivariate_generalized_Gaussian(size, *shape, beta, isotropic=False)
    same(kernels.generalized_gaussian(size, *shape, beta), theirs)
    theirs = degradations.bivariate_plateau(size, *shape, beta, isotropic=False)
    same(kernels.plateau(size, *shape, beta), theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cutoff", [np.pi / 5, np.pi / 3, 2.0, np.pi])
def test_sinc_kernels_are_the_same(size, cutoff):
    same(kernels.sinc(size, cutoff), degradations.circular_lowpass_kernel(cutoff, size))


@pytest.mark.parametrize("size", [21, 51])
def test_the_kernel_of_an_aperture_is_opencvs(size):
    same(kernels.aperture(size), process.USMSharp(size - 1).kernel[0].numpy())


@pytest.mark.parametrize("shape", [(2, 3, 40, 33), (1, 3, 64, 64)])
def test_filtering_is_the_same_up_to_the_border(shape):
    photo, kernel = torch.rand(shape), torch.rand(21, 21)
    kernel = kernel / kernel.sum()
    theirs = process.filter2D(photo, kernel[None])
    torch.testing.assert_close(convolve(photo, kernel), theirs, atol=2e-6, rtol=0)


def test_the_sharpened_target_is_the_same():
    photo = F.interpolate(torch.rand(2, 3, 12, 12), size=(128, 128), mode="bicubic").clamp(0, 1)
    theirs = process.USMSharp()(photo)
    assert (theirs - photo).abs().max() > 0.1
    torch.testing.assert_close(usm(photo), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(10, 15), (57, 40)])
def test_resizing_without_antialias_is_the_same(mode, size):
    photo = torch.rand(1, 3, 33, 48)
    theirs = F.interpolate(photo, size=size, mode=mode)  # what its chain calls
    torch.testing.assert_close(resize(photo, *size, mode, antialias=False), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("grey", [False, True])
def test_gaussian_noise_has_the_same_variance(grey):
    photo = torch.full((1, 3, 400, 400), 0.5)
    theirs = degradations.generate_gaussian_noise_pt(photo, sigma=12.0, gray_noise=float(grey))
    ours = gaussian_noise(photo, 12.0, grey, generator()) - photo
    assert (ours.var() / theirs.var()).item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("step", [1, 9])
def test_poisson_noise_has_the_same_variance_in_dark_and_bright_parts(grey, step):
    levels = torch.arange(0, 256, step)  # 256 levels, or 29 that make white 32 photons
    photo = (levels / 255).repeat_interleave(1 + 255 // len(levels)).expand(1, 3, 4000, -1).contiguous()
    theirs = degradations.generate_poisson_noise_pt(photo, scale=1.5, gray_noise=float(grey))
    ours = poisson_noise(photo, 1.5, grey, generator()) - photo
    for found, expected in zip(ours.chunk(8, dim=3), theirs.chunk(8, dim=3), strict=True):
        assert (found.var() / expected.var()).item() == pytest.approx(1, abs=0.03)
        assert (found.mean() - expected.mean()).abs() < 0.005


@pytest.mark.parametrize("name", SETTINGS)
def test_the_chain_of_the_benchmark_gives_pairs(name):
    target, lr = Chain(SETTINGS[name])(torch.rand(2, 3, 64, 64))
    assert target.shape == (2, 3, 64, 64)
    assert lr.shape == (2, 3, 16, 16)
    assert lr.min() >= 0
    assert lr.max() <= 1
