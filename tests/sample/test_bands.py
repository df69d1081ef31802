"""Large pictures in bands: the same pixels, whatever the bands, in memory that does not grow."""

import pytest
import torch

from ugc_sr.sample import bands
from ugc_sr.sample.bands import in_bands
from ugc_sr.sample.color_match import METHODS, match
from ugc_sr.sample.masks import KEEPS, feathered, put_back


def photos(batch=2, height=333, width=97, seed=0):
    """Noise on a slope, some of it outside [0, 1], where colour curves are linear."""
    noise = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return 1.2 * noise - 0.1 + 0.3 * torch.linspace(0, 1, width)


def mask(batch=1, height=333, width=97):
    covered = torch.zeros(batch, 1, height, width)
    covered[:, :, 100:220, 30:50] = 0.7
    covered[:, :, 130:180, 40:90] = 1
    return covered


WORK = {
    **{
        f"match {method}": lambda method=method: match(photos(), photos(seed=1), method) for method in METHODS
    },
    **{f"one for all, {m}": lambda m=m: match(photos(), photos(batch=1, seed=1), m) for m in METHODS},
    **{f"put back {k}": lambda k=k: put_back(photos(), photos(seed=1), mask(), k) for k in KEEPS},
    **{f"feather {reach}": lambda reach=reach: feathered(mask(2), reach) for reach in (1, 16, 75, 256)},
}


@pytest.mark.parametrize("rows", [1, 7, 64, 100, 332])
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_every_plan_of_bands_gives_the_same_pixels(monkeypatch, work, rows):
    monkeypatch.setattr(bands, "MARGINS", 0)
    monkeypatch.setattr(bands, "BAND_PX", 333 * 97)
    whole = work()
    monkeypatch.setattr(bands, "BAND_PX", rows * 97)
    assert torch.equal(work(), whole)


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_the_number_of_threads_changes_no_pixel(work):
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made.append(work())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)


def test_a_photo_of_a_batch_comes_out_as_it_does_alone():
    for method in METHODS:
        together = match(photos(), photos(seed=1), method)
        alone = [
            match(*pair, method) for pair in zip(photos().split(1), photos(seed=1).split(1), strict=True)
        ]
        assert torch.equal(together, torch.cat(alone))


def test_what_is_at_work_does_not_grow_with_the_picture(monkeypatch):
    monkeypatch.setattr(bands, "BAND_PX", 97 * 50)
    heights = []

    def work(part):
        heights.append(part.shape[2])
        return part

    for height in (200, 2000):
        picture = torch.rand(1, 3, height, 97)
        assert torch.equal(in_bands(work, [picture], reach=10), picture)
        assert max(heights) == 50 + 2 * 10


def test_work_is_done_where_it_is_told_and_comes_back():
    picture, places = torch.rand(2, 3, 20, 30), set()

    def work(part):
        places.add(part.device.type)
        return torch.zeros(part.shape)

    assert in_bands(work, [picture], device=torch.device("meta")).device.type == "cpu"
    assert places == {"meta"}


def test_an_empty_batch_stays_empty():
    assert in_bands(lambda part: part, [torch.empty(0, 3, 5, 6)]).shape == (0, 3, 5, 6)
