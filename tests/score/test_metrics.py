import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio
from torch.nn import functional as F

from ugc_sr.score.extras import EXTRAS
from ugc_sr.score.measures import (
    blockiness,
    gmsd,
    grid,
    hf_ratio,
    lr_blockiness,
    lr_consistency,
    ms_ssim_y,
    own_niqe,
    psnr_rgb,
    psnr_y,
)
from ugc_sr.score.metrics import CHALLENGE, METRICS, challenge_score, evaluate

SYMMETRIC = ("psnr_y", "psnr_rgb", "ssim_y", "gmsd", "color_difference")


@pytest.fixture(scope="module")
def photo():
    return torch.from_numpy(data.astronaut()[40:136, 180:292].copy()).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def noisy(photo):
    return damaged(photo, noise=0.05)


def damaged(photo, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    damage = noise * torch.randn(photo.shape, generator=generator)
    return ((photo + damage).clamp(0, 1) * 255).round() / 255


def blurred(photo, sigma):
    return torch.from_numpy(np.stack([gaussian_filter(channel, sigma) for channel in photo[0].numpy()]))[None]


def as_bytes(image):
    return (image[0].permute(1, 2, 0) * 255).round().byte().numpy()


def studio_luma(image, border=4):
    """By scikit-image, whose BT.601 is MATLAB's: 16..235, not rounded."""
    return rgb2ycbcr(as_bytes(image))[border:-border, border:-border, 0]


def test_psnr_rgb_agrees_with_scikit_image(photo, noisy):
    expected = peak_signal_noise_ratio(as_bytes(photo), as_bytes(noisy), data_range=255)
    assert psnr_rgb(noisy, photo).item() == pytest.approx(expected, abs=1e-9)


def test_images_are_rounded_to_bytes_first(photo):
    for name in ("psnr_y", "psnr_rgb", "ssim_y", "gmsd", "hf_ratio"):
        exact = METRICS[name].measure(photo, photo)
        hidden = METRICS[name].measure(photo + 0.4 / 255, photo)  # less than a file can hold
        beyond = METRICS[name].measure((photo * 2 - 0.5), (photo * 2 - 0.5).clamp(0, 1))
        assert torch.equal(exact, hidden), name
        assert torch.equal(exact, beyond), name


def test_the_least_difference_of_one_pixel_keeps_psnr_finite():
    black = torch.zeros(1, 3, 1024, 1024)
    blue = black.clone()
    blue[:, 2, 500, 500] = 1 / 255
    assert psnr_y(blue, black).item() == pytest.approx(128.4, abs=0.5)


def test_an_equal_image_scores_best(photo):
    scores = evaluate(photo, photo, lr=F.avg_pool2d(photo, 4))
    assert scores["psnr_y"] == scores["psnr_rgb"] == math.inf
    assert scores["ssim_y"] == pytest.approx(1, abs=1e-12)
    assert scores["gmsd"] == pytest.approx(0, abs=1e-12)
    assert scores["hf_ratio"] == 1
    assert scores["color_difference"] == 0
    assert scores["lr_consistency"] > 55  # the small photo was rounded to bytes


def test_detail_is_what_a_blur_of_two_pixels_removes(photo, noisy):
    """Against scipy's Gaussian of the same reach and border."""

    def energy(image):
        y = studio_luma(F.pad(image, (4, 4, 4, 4)))
        return np.square(y - gaussian_filter(y, 2, mode="mirror", truncate=4)).mean()

    assert hf_ratio(noisy, photo).item() == pytest.approx(energy(noisy) / energy(photo), rel=1e-6)


def test_two_flat_images_have_the_same_detail():
    assert hf_ratio(torch.full((1, 3, 20, 20), 0.2), torch.full((1, 3, 20, 20), 0.7)).item() == 1


def test_gmsd_follows_the_paper_step_by_step(photo, noisy):
    """Written again in numpy after the authors' description: conv2 'same', every second pixel, std of N-1."""

    def gradient(image):
        grey = as_bytes(image)[:95, :111].astype(float) @ [0.299, 0.587, 0.114]  # odd sides
        small = convolve2d(grey, np.full((2, 2), 0.25), mode="full")[1::2, 1::2]
        kernel = np.array([[1, 0, -1]] * 3) / 3
        return np.hypot(convolve2d(small, kernel, mode="same"), convolve2d(small, kernel.T, mode="same"))

    a, b = gradient(photo), gradient(noisy)
    expected = ((2 * a * b + 170) / (a**2 + b**2 + 170)).std(ddof=1)
    assert gmsd(noisy[..., :95, :111], photo[..., :95, :111]).item() == pytest.approx(expected, abs=1e-9)


def test_an_invented_detail_shows_in_lr_consistency_only_when_it_survives_averaging(photo):
    lr = F.avg_pool2d(photo, 4)
    checks = photo.clone()
    checks[..., ::2] += 0.02
    checks[..., 1::2] -= 0.02  # cancels over 4 px
    moved = photo.roll(4, dims=-1)
    assert lr_consistency(checks, lr).item() > 45 > lr_consistency(moved, lr).item()


@pytest.mark.parametrize(
    ("size", "lr_size"), [((100, 67), (40, 27)), ((4, 4), (1, 1)), ((13, 30), (100, 240))]
)
def test_any_scale_may_be_compared_with_the_small_photo(size, lr_size):
    flat = (torch.full((1, 3, *s), 0.4) for s in (size, lr_size))
    assert lr_consistency(*flat).item() == math.inf


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (19, 19)])
def test_small_images_have_finite_scores(size):
    a, b = torch.rand(2, 1, 3, *size)
    assert all(math.isfinite(v) for v in evaluate(a, b, lr=F.interpolate(b, size=size)).values())


@pytest.mark.parametrize("name", SYMMETRIC)
def test_scores_keep_the_precision_of_float64_for_half_precision_images(photo, name):
    measure = METRICS[name].measure
    assert measure(photo.half(), photo.half()).dtype == torch.float64
    assert torch.equal(measure(photo.half(), photo), measure(photo, photo))


def test_the_documentation_lists_every_metric_with_what_it_is_compared_with():
    text = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")
    section = text[text.index("## Metrics") : text.index("### Comparability")]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    said = {"original": "gt", "small photo": "lr", "tile plan": "borders", "nothing": "nothing"}
    expected = {name: (metric.reference, metric.better) for name, metric in (METRICS | EXTRAS).items()}
    assert {name: (said.get(against), better) for name, against, better in rows} == expected


def test_ms_ssim_needs_room_for_its_window_at_the_fifth_scale():
    small, least = torch.rand(1, 3, 168, 300), torch.rand(1, 3, 169, 300)
    assert "ms_ssim_y" not in evaluate(small, small)
    assert evaluate(least, least)["ms_ssim_y"] == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="are 300x168 px; MS-SSIM needs at least 169 px"):
        ms_ssim_y(small, small)


def test_without_a_reference_a_picture_is_measured_on_its_own(photo):
    assert evaluate(photo) == {"blockiness": blockiness(photo).item()}
    large = F.interpolate(photo, scale_factor=2)
    assert evaluate(large).keys() == {"blockiness", "grid", "own_niqe"}


@pytest.mark.parametrize(("measure", "least"), [(blockiness, 32), (grid, 128), (own_niqe, 192)])
def test_a_picture_too_small_for_a_metric_is_refused_by_it(measure, least):
    with pytest.raises(ValueError, match=f"are {least}x{least - 1} px; expected at least {least} px"):
        measure(torch.rand(1, 3, least - 1, least))


def blocky(lr, levels=8, shift=0):
    """Every block of 8 px brighter or darker than its neighbours, cut off by `shift` px each way."""
    rows, columns = ((torch.arange(n) + shift) // 8 % 2 for n in lr.shape[-2:])
    return lr + levels / 255 * (rows[:, None] ^ columns)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_blocks_left_in_the_result_are_found_on_their_enlarged_grid(photo, scale, shift):
    clean = blurred(photo, 2)
    lr = blocky(clean, shift=shift)
    left, gone = (F.interpolate(x, scale_factor=scale, mode="bicubic") for x in (lr, clean))
    assert lr_blockiness(left, lr).item() > 1.3
    assert lr_blockiness(gone, lr).item() == pytest.approx(1, abs=0.1)


def test_blocks_of_the_small_photo_need_a_whole_scale_and_room(photo):
    broken = F.interpolate(photo, size=(144, 168))
    assert evaluate(broken, lr=photo).keys() == {"lr_consistency", "blockiness", "grid"}
    assert evaluate(photo, lr=photo[..., ::4, ::4]).keys() == {"lr_consistency", "blockiness"}
    assert "lr_blockiness" in evaluate(photo, lr=photo[..., ::2, ::2])


def test_the_challenge_score_adds_up_what_is_there_and_names_the_rest():
    values = {"psnr_y": 30.0, "ssim_y": 0.8, "lpips": 0.2, "musiq": 70.0, "maniqa": 0.5, "clipiqa": 0.7}
    assert challenge_score({**values, "gmsd": 9.0}) == (pytest.approx(30 + 8 - 2 + 7 + 5 + 7), ())
    assert challenge_score({"ssim_y": 0.8, "lpips": 0.2}) == (
        pytest.approx(6),
        ("psnr_y", "musiq", "maniqa", "clipiqa"),
    )
    assert challenge_score({}) == (0, tuple(CHALLENGE))


def test_the_challenge_score_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="lpips is NaN; leave out"):
        challenge_score({"psnr_y": 30.0, "lpips": math.nan})


@pytest.mark.parametrize(
    ("sr", "references", "message"),
    [
        ((1, 3, 32, 32), {"gt": (1, 3, 32, 30)}, "32x32 px and the original 30x32 px; expected equal"),
        ((1, 3, 15, 64), {"gt": (1, 3, 15, 64)}, "are 64x15 px; expected at least 16 px"),
        ((1, 4, 32, 32), {"gt": (1, 4, 32, 32)}, r"RGB images .* got \(1, 4, 32, 32\)"),
        ((2, 3, 32, 32), {"gt": (1, 3, 32, 32)}, "result is 32x32 px in a batch of 2"),
        ((3, 32, 32), {"gt": (3, 32, 32)}, r"RGB images .* got \(3, 32, 32\)"),
        ((1, 3, 31, 40), {}, "40x31 px is too small to be measured without an original; .* 32 px"),
        ((1, 3, 32, 32), {"lr": (1, 3, 8, 16)}, "32x32 px.*not an enlargement .* 16x8 px"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(sr, references, message):
    with pytest.raises(ValueError, match=message):
        evaluate(torch.rand(sr), **{role: torch.rand(size) for role, size in references.items()})


@pytest.mark.parametrize("references", [{}, {"gt": torch.rand(1, 3, 32, 32)}])
def test_images_with_nan_are_refused(references):
    with pytest.raises(ValueError, match="finite RGB"):
        evaluate(torch.full((1, 3, 32, 32), math.nan), **references)
