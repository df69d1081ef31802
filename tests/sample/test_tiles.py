import itertools

import pytest
import torch
from torch.testing import assert_close

from ugc_sr.sample.tiles import Tile, blend, split, weights

LAYOUTS = [
    ((64, 64), 64, 16),
    ((65, 64), 64, 0),
    ((100, 37), 32, 8),
    ((96, 200), 48, 47),
    ((13, 9), 16, 4),
    ((1, 300), 96, 32),
]


@pytest.mark.parametrize(("size", "tile", "overlap"), LAYOUTS)
def test_blend_of_untouched_cuts_is_the_image(size, tile, overlap):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    tiles = split(*size, tile=tile, overlap=overlap)
    assert_close(blend(tiles, [t.of(x) for t in tiles], *size), x)


@pytest.mark.parametrize(("size", "tile", "overlap"), LAYOUTS)
def test_tiles_are_of_one_size_cover_everything_and_stay_inside(size, tile, overlap):
    tiles = split(*size, tile=tile, overlap=overlap)
    seen = torch.zeros(size)
    for t in tiles:
        assert (t.height, t.width) == (min(tile, size[0]), min(tile, size[1]))
        assert t.of(seen).shape == (t.height, t.width)
        t.of(seen).add_(1)
    assert seen.min() >= 1


@pytest.mark.parametrize(("size", "tile", "overlap"), LAYOUTS)
def test_neighbours_share_the_overlap_and_are_spread_evenly(size, tile, overlap):
    tiles = split(*size, tile=tile, overlap=overlap)
    for starts in (sorted({t.top for t in tiles}), sorted({t.left for t in tiles})):
        steps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(tile - step >= overlap for step in steps)
        assert not steps or max(steps) - min(steps) <= 1


def test_a_latent_smaller_than_the_tile_is_one_tile():
    assert split(40, 24, tile=64, overlap=16) == [Tile(0, 0, 40, 24)]


def test_weights_are_symmetric_and_positive_to_the_corner():
    for size in [(96, 96), (33, 64), (192, 192)]:
        w = weights(*size)
        assert w.dtype == torch.float32
        assert torch.equal(w, w.flip(0))
        assert torch.equal(w, w.flip(1))
        assert w.min() > 0
    assert weights(96, 96)[0, 0] < 1e-9  # a floor here would show along the borders


def test_blend_keeps_half_precision_but_sums_in_float32():
    x = torch.rand(1, 4, 80, 80).half()
    tiles = split(80, 80, tile=32, overlap=8)
    out = blend(tiles, (t.of(x) for t in tiles), 80, 80)
    assert out.dtype == torch.float16
    assert_close(out, x, rtol=1e-3, atol=1e-3)


def test_scaled_tiles_cut_the_finer_grid():
    assert Tile(1, 2, 3, 4).scaled(8) == Tile(8, 16, 24, 32)


@pytest.mark.parametrize("overlap", [64, 65, -1])
def test_overlap_must_be_smaller_than_the_tile(overlap):
    with pytest.raises(ValueError, match=rf"overlap must be in \[0, 64\), the tile size; got {overlap}"):
        split(64, 64, tile=64, overlap=overlap)


def test_a_tile_needs_a_size():
    with pytest.raises(ValueError, match="tile must be at least 1; got 0"):
        split(64, 64, tile=0, overlap=0)


def test_blend_needs_a_tile():
    with pytest.raises(ValueError, match="blend needs at least one tile"):
        blend([], [], 8, 8)
