"""Each metric orders the kinds of damage that it says it shows, and is symmetric or not as it says."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data
from torch.nn import functional as F

from ugc_sr.degrade.effects import codecs
from ugc_sr.score.metrics import METRICS, badness
from ugc_sr.score.seams import Borders

COLUMN = 96
BORDERS = Borders(columns=(COLUMN,))


@pytest.fixture(scope="module")
def photo():
    return torch.from_numpy(data.astronaut()[20:212, 140:340].copy()).permute(2, 0, 1)[None].double() / 255


def blur(photo, amount):
    return torch.from_numpy(gaussian_filter(photo.numpy(), (0, 0, amount, amount)))


def noise(photo, amount):
    return photo + amount * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))


def jpeg(photo, amount):
    return codecs.jpeg(photo, 100 - amount)


def cast(photo, amount):
    """Warmer, at the same mean of R, G and B."""
    return photo + amount * torch.tensor([1.0, 0, -1]).view(1, 3, 1, 1)


def seam(photo, amount):
    stepped = photo.clone()
    stepped[..., COLUMN:] += amount
    return stepped


def weave(photo, amount):
    """Squares of 2 px, brighter and darker in turn by that many levels, as a pixel shuffle leaves them."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in photo.shape[-2:]), indexing="ij")
    return photo + amount / 255 * ((rows // 2 + columns // 2) % 2)


def invention(photo, amount):
    """A dark disc of 24 px that is not in the original, more and more opaque."""
    rows, columns = torch.meshgrid(*(torch.arange(n) - 90 for n in photo.shape[-2:]), indexing="ij")
    disc = ((rows**2 + columns**2) < 144).double() * amount
    return photo * (1 - disc) + 0.1 * disc


def small(photo):
    """As it came in: 48x50 px, a JPEG."""
    return jpeg(F.avg_pool2d(photo, 4), 70)


def lr_blocks(photo, amount):
    """Restored from the small photo with that share of its blocks left."""
    left = F.interpolate(small(photo) - F.avg_pool2d(photo, 4), scale_factor=4, mode="bicubic")
    return photo + amount * left


LADDERS = {
    blur: (0.6, 1.2, 2.5, 5),
    noise: (0.01, 0.03, 0.08, 0.2),
    jpeg: (5, 30, 70, 92),
    cast: (0.01, 0.03, 0.06, 0.12),
    weave: (1, 2, 4, 8),
    seam: (0.02, 0.05, 0.1, 0.2),
    invention: (0.1, 0.3, 0.6, 1),
    lr_blocks: (0.2, 0.4, 0.7, 1),
}
CLAIMS = [
    (name, damage)
    for name, metric in METRICS.items()
    for damage in LADDERS
    if damage.__name__ in metric.shows
]


def measured(name, sr, photo):
    metric = METRICS[name]
    lr = small(photo) if "lr_blocks" in metric.shows else F.avg_pool2d(photo, 4)
    references = {"gt": [photo.expand_as(sr)], "lr": [lr], "borders": [BORDERS], "nothing": []}
    return metric.measure(sr, *references[metric.reference])


@pytest.mark.parametrize(("name", "damage"), CLAIMS, ids=lambda part: getattr(part, "__name__", part))
def test_more_damage_scores_worse(photo, name, damage):
    steps = (photo, *(damage(photo, amount) for amount in LADDERS[damage]))
    scores = [badness(name, measured(name, step, photo).item()) for step in steps]
    assert all(a < b for a, b in pairwise(scores)), scores


@pytest.mark.parametrize("name", METRICS)
def test_each_picture_of_a_batch_has_its_own_score(photo, name):
    pictures = noise(photo, 0.02), blur(photo, 1)
    single = torch.cat([measured(name, picture, photo) for picture in pictures])
    torch.testing.assert_close(measured(name, torch.cat(pictures), photo), single)


def test_every_claim_has_a_ladder_and_every_ladder_a_metric():
    claimed = {kind for metric in METRICS.values() for kind in metric.shows}
    assert claimed == {damage.__name__ for damage in LADDERS}


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.reference == "gt"])
def test_a_metric_is_symmetric_if_it_says_so(photo, name):
    other = noise(blur(photo, 1), 0.02)
    forth, back = (METRICS[name].measure(*pair).item() for pair in ((other, photo), (photo, other)))
    assert (forth == pytest.approx(back, abs=1e-9)) is METRICS[name].symmetric


def test_a_metric_without_an_original_does_not_claim_symmetry():
    assert not any(metric.symmetric for metric in METRICS.values() if metric.reference != "gt")


@pytest.mark.parametrize(
    ("name", "worst_to_best"),
    [
        ("psnr_y", (20.0, 30.0, math.inf)),
        ("gmsd", (0.3, 0.1, 0.0)),
        ("lpips", (0.5, 0.1)),
        ("clipiqa", (0.2, 0.9)),
        ("hf_ratio", (0.0, 4.0, 0.5, 1.5, 0.9, 1.0)),
    ],
)
def test_badness_sorts_whichever_way_a_metric_counts(name, worst_to_best):
    assert sorted(worst_to_best, key=lambda value: -badness(name, value)) == list(worst_to_best)
