"""The same pictures measured by us and by the packages that others report their figures with."""

import sys
from types import SimpleNamespace

import numpy as np
import piq
import pytest
import pytorch_msssim
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from benchmarks import baseline
from ugc_sr.color import luma
from ugc_sr.score.measures import gmsd, ms_ssim_y, own_niqe, psnr_y, ssim_y
from ugc_sr.score.niqe import shipped

BORDER = 4
SIZES = [(192, 200), (187, 211), (169, 176)]  # even, odd, the least that MS-SSIM takes


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
def photo(request):
    height, width = request.param
    crop = data.astronaut()[20 : 20 + height, 140 : 140 + width].copy()
    return torch.from_numpy(crop).movedim(-1, 0)[None].double() / 255


@pytest.fixture(scope="module", params=["noise", "blur", "cast", "negative"])
def damaged(request, photo):
    """In float, not rounded to bytes: that is the metrics' own task."""
    return {
        "noise": photo + 0.05 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0)),
        "blur": torch.from_numpy(gaussian_filter(photo.numpy(), (0, 0, 1.5, 1.5))),
        "cast": photo * torch.tensor([0.9, 1.0, 1.15]).view(1, 3, 1, 1),
        "negative": 1 - photo,
    }[request.param]


@pytest.fixture(scope="module")
def basicsr():
    """BasicSR's metrics in one namespace; its files see one another and a stand-in for its registry."""
    registry = SimpleNamespace(register=lambda: lambda function: function)
    files = {"utils": "color_util", "utils.color_util": "color_util", "metrics.metric_util": "metric_util"}
    files["utils.matlab_functions"] = "matlab_functions"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "basicsr.utils.registry", SimpleNamespace(METRIC_REGISTRY=registry))
        for name, file in files.items():
            patch.setitem(sys.modules, f"basicsr.{name}", baseline.basicsr(file))
        scores = baseline.basicsr("psnr_ssim")
        scores.niqe = baseline.basicsr("niqe").niqe
        yield scores


def stored(image):
    """What an 8-bit file holds of it, in [0, 1]."""
    return (image.clamp(0, 1) * 255).round() / 255


def bgr(image):
    """As OpenCV reads the file."""
    return (stored(image)[0].movedim(0, -1) * 255).round().byte().numpy()[..., ::-1]


def inner_luma(image):
    return 255 * luma(stored(image))[..., BORDER:-BORDER, BORDER:-BORDER]


def test_psnr_is_that_of_basicsr(basicsr, photo, damaged):
    expected = basicsr.calculate_psnr(bgr(damaged), bgr(photo), crop_border=BORDER, test_y_channel=True)
    assert psnr_y(damaged, photo).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_is_that_of_basicsr(basicsr, photo, damaged):
    expected = basicsr.calculate_ssim(bgr(damaged), bgr(photo), crop_border=BORDER, test_y_channel=True)
    assert ssim_y(damaged, photo).item() == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_is_that_of_pytorch_msssim(photo, damaged):
    pair = inner_luma(damaged), inner_luma(photo)
    expected = pytorch_msssim.ms_ssim(*pair, data_range=255).item()
    assert ms_ssim_y(damaged, photo).item() == pytest.approx(expected, abs=1e-4)


def test_gmsd_is_that_of_piq(photo, damaged):
    # where one side is odd, piq pads both
    even = [image[..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2] for image in (damaged, photo)]
    expected = piq.gmsd(*(stored(image) for image in even)).item()
    assert gmsd(*even).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [(384, 384), (300, 499)])
@pytest.mark.parametrize(("dtype", "near"), [(np.float32, 1e-3), (np.float64, 1e-4)])
def test_niqe_is_that_of_basicsr_with_our_parameters(basicsr, size, dtype, near):
    """In float32, as BasicSR calls it, deviations are rounded; in float64 its clipped places are not flat."""
    height, width = size
    photo = torch.from_numpy(data.astronaut()[:height, :width].copy()).movedim(-1, 0)[None].double() / 255
    noisy = 0.2 + 0.6 * photo + 0.03 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    soft = torch.from_numpy(gaussian_filter(photo.numpy(), (0, 0, 1.5, 1.5)))
    pristine, window = shipped(), np.zeros((7, 7))
    window[3, 3] = 1
    window = gaussian_filter(window, 7 / 6, radius=3, mode="constant")
    for image in (photo, noisy, soft) if dtype == np.float32 else (noisy,):
        y = (255 * luma(stored(image)))[0, 0].round().numpy().astype(dtype)
        expected = basicsr.niqe(y, pristine.mean.numpy(), pristine.covariance.numpy(), window)
        assert own_niqe(image).item() == pytest.approx(expected, rel=near)
