"""What makes a restored picture sound, and which check finds what is not."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from ugc_sr.doctor.picture import checks
from ugc_sr.image import from_levels
from ugc_sr.restore.demo import SAMPLE_GT

LOST, MEAN, SPREAD, AGREEMENT, WORK, SCORES = (
    "lost pixels",
    "mean of each colour",
    "spread of each colour",
    "agreement with the photo",
    "work of the sampler",
    "scores better than bicubic",
)


@pytest.fixture(scope="module")
def sample():
    """A clean photo as the result, its small JPEG as the photo, that by bicubic, and a blurred result."""
    with Image.open(SAMPLE_GT) as whole:
        original = whole.convert("RGB").crop((300, 500, 684, 884))
    file = io.BytesIO()
    original.resize((96, 96), Image.Resampling.BOX).save(file, "JPEG", quality=60)
    photo = Image.open(file).convert("RGB")
    bicubic = photo.resize(original.size, Image.Resampling.BICUBIC)
    anchor = original.filter(ImageFilter.GaussianBlur(2))
    return [from_levels(np.asarray(image)) for image in (original, photo, bicubic, anchor)]


def failed(pictures):
    return {check.name for check in checks(*pictures) if not check.passed}


def test_a_good_picture_passes_and_each_check_has_a_number_and_a_bound(sample):
    found = checks(*sample)
    assert [check.name for check in found] == [LOST, MEAN, SPREAD, AGREEMENT, WORK, SCORES]
    assert all(check.passed and check.bound and check.hint for check in found)
    assert found[0].value == 0
    assert found[3].value > 30
    assert found[5].value >= 1


def test_of_the_same_picture_the_sampler_did_no_work(sample):
    picture, photo, bicubic, _ = sample
    assert failed((picture, photo, bicubic, picture)) == {WORK}


def test_an_enlarged_photo_is_no_better_than_bicubic(sample):
    _, photo, bicubic, anchor = sample
    assert failed((bicubic, photo, bicubic, anchor)) == {SCORES}


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda x: torch.zeros_like(x), {LOST, MEAN, SPREAD, AGREEMENT}),
        (lambda x: torch.full_like(x, 0.5), {SPREAD, AGREEMENT}),
        (lambda x: torch.rand(x.shape), {SPREAD, AGREEMENT}),
        (lambda x: x.flip(3), {AGREEMENT}),
        (lambda x: 0.5 + 0.7 * (x - x.mean((2, 3), keepdim=True)), {SPREAD}),
        (lambda x: (x + torch.tensor([6.0, 0, -6.0]).view(1, 3, 1, 1) / 255).clamp(0, 1), {MEAN}),
    ],
    ids=["black", "grey", "noise", "mirrored", "faint", "cast"],
)
def test_what_is_wrong_with_a_picture_breaks_its_check(sample, spoil, names):
    picture, *others = sample
    assert names <= failed((spoil(picture), *others))


def test_a_black_corner_is_found_as_lost_pixels(sample):
    picture, *others = sample
    spoilt = picture.clone()
    spoilt[..., :16, :16] = 0
    assert failed((spoilt, *others)) == {LOST}
