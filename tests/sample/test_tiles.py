import itertools

import pytest
import torch
from torch.testing import assert_close

from ugc_sr.sample.tiles import GRIDS, Tile, blend, split, split_seesr, weights, weights_seesr

LAYOUTS = [
    ((64, 64), 64, 16),
    ((65, 64), 64, 0),
    ((100, 37), 32, 8),
    ((96, 200), 48, 47),
    ((13, 9), 16, 4),
    ((1, 300), 96, 32),
]


SQUARES = [
    ((135, 240), 96, 32),
    ((65, 64), 64, 0),
    ((100, 37), 32, 8),
    ((50, 200), 64, 47),
    ((48, 150), 96, 32),
]


@pytest.mark.parametrize(
    ("grid", "size", "tile", "overlap"),
    [*(("even", *layout) for layout in LAYOUTS), *(("seesr", *layout) for layout in SQUARES)],
)
def test_blend_of_untouched_cuts_is_the_image(grid, size, tile, overlap):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    tiles = GRIDS[grid].split(*size, tile, overlap)
    assert_close(blend(tiles, [t.of(x) for t in tiles], *size, GRIDS[grid].weights), x)


@pytest.mark.parametrize(("size", "tile", "overlap"), LAYOUTS)
def test_tiles_are_of_one_size_cover_everything_and_stay_inside(size, tile, overlap):
    check_cover(split(*size, tile=tile, overlap=overlap), size, (min(tile, size[0]), min(tile, size[1])))


@pytest.mark.parametrize(("size", "tile", "overlap"), SQUARES)
def test_tiles_of_seesr_are_squares_unless_the_latent_stays_whole(size, tile, overlap):
    side = min(tile, *size)
    whole = size[0] * size[1] <= tile * tile
    tiles = split_seesr(*size, tile=tile, overlap=overlap)
    check_cover(tiles, size, size if whole else (side, side))
    assert whole == (len(tiles) == 1)


def check_cover(tiles, size, tile_size):
    seen = torch.zeros(size)
    for t in tiles:
        assert (t.height, t.width) == tile_size
        assert t.of(seen).shape == tile_size
        t.of(seen).add_(1)
    assert seen.min() >= 1


@pytest.mark.parametrize(("size", "tile", "overlap"), LAYOUTS)
def test_neighbours_share_the_overlap_and_are_spread_evenly(size, tile, overlap):
    tiles = split(*size, tile=tile, overlap=overlap)
    for starts in (sorted({t.top for t in tiles}), sorted({t.left for t in tiles})):
        steps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(tile - step >= overlap for step in steps)
        assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize(
    "size", [(256, 256), (64, 300), (300, 64), (97, 96), (96, 96), (95, 97), (48, 192), (33, 400)]
)
def test_tiles_of_seesr_are_those_that_its_own_loop_counts_out(size):
    """The loop of the original: count up until a side is covered, move the last tile back to the edge."""

    def starts(length, side):
        count = reached = 0
        while reached < length:
            reached = count * (side - 32) + side
            count += 1
        return [i * (side - 32) if i < count - 1 else length - side for i in range(count)]

    side = min(96, *size)
    expected = [Tile(y, x, side, side) for y in starts(size[0], side) for x in starts(size[1], side)]
    if size[0] * size[1] <= 96 * 96:
        expected = [Tile(0, 0, *size)]
    assert split_seesr(*size, tile=96, overlap=32) == expected


def test_tiles_may_be_single_cells():
    assert split(2, 3, tile=1, overlap=0) == [Tile(y, x, 1, 1) for y in range(2) for x in range(3)]


def test_weights_are_symmetric_and_positive_to_the_corner():
    for size in [(96, 96), (33, 64), (192, 192)]:
        w = weights(*size)
        assert w.dtype == torch.float32
        assert torch.equal(w, w.flip(0))
        assert torch.equal(w, w.flip(1))
        assert w.min() > 0
    assert weights(96, 96)[0, 0] < 1e-9  # a floor here would show along the borders


def test_weights_have_a_deviation_of_a_tenth_of_the_tile():
    along = weights_seesr(100, 1)[:, 0]
    assert_close(along[[40, 60, 70]] / along[50], torch.tensor([-0.5, -0.5, -2.0]).exp())


def test_weights_are_single_precision_whatever_the_default_is():
    torch.set_default_dtype(torch.float64)
    try:
        assert weights(8, 8).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_weights_of_seesr_are_the_same_bump_half_a_cell_lower():
    w = weights_seesr(64, 33)
    assert w.dtype == torch.float32
    assert torch.equal(w, w.flip(1))
    assert w[32].sum() > w[31].sum()
    assert_close(w[1:], w[1:].flip(0))  # about row 32
    assert_close(w[32], weights(65, 33)[32])  # the middle row of a bump that has one


def test_blend_weighs_by_the_weights_it_is_given():
    tiles = split(1, 3, tile=2, overlap=1)
    cuts = [torch.zeros(1, 2), torch.ones(1, 2)]
    rising = blend(tiles, cuts, 1, 3, lambda height, width: torch.tensor([[1.0, 3.0]]))
    assert_close(rising, torch.tensor([[0.0, 0.25, 1.0]]))


def test_blend_keeps_half_precision_but_sums_in_float32():
    x = torch.rand(1, 4, 80, 80).half()
    tiles = split(80, 80, tile=32, overlap=8)
    out = blend(tiles, (t.of(x) for t in tiles), 80, 80)
    assert out.dtype == torch.float16
    assert_close(out, x, rtol=1e-3, atol=1e-3)


def test_blend_of_doubles_is_not_rounded_on_the_way():
    x = 1 + torch.rand(80, 80, dtype=torch.float64) * 1e-9
    tiles = split(80, 80, tile=32, overlap=8)
    assert_close(blend(tiles, [t.of(x) for t in tiles], 80, 80), x, rtol=0, atol=1e-14)


def test_scaled_tiles_cut_the_finer_grid():
    assert Tile(1, 2, 3, 4).scaled(8) == Tile(8, 16, 24, 32)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("overlap", [64, 65, -1])
def test_overlap_must_be_smaller_than_the_tile(grid, overlap):
    with pytest.raises(ValueError, match=rf"overlap must be in \[0, 64\), the tile size; got {overlap}"):
        GRIDS[grid].split(64, 64, 64, overlap)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_tile_needs_a_size(grid):
    with pytest.raises(ValueError, match="tile must be at least 1; got 0"):
        GRIDS[grid].split(64, 64, 0, 0)


def test_seesr_has_no_tiles_for_a_latent_narrower_than_the_overlap():
    with pytest.raises(
        ValueError, match="shorter side of the latent, 32 cells of 400x32, but would share 32"
    ):
        split_seesr(32, 400, tile=96, overlap=32)


def test_blend_needs_a_tile():
    with pytest.raises(ValueError, match="blend needs at least one tile"):
        blend([], [], 8, 8)


def test_blend_needs_a_cut_for_each_tile():
    tiles = split(8, 12, tile=8, overlap=4)
    for cuts in (1, 3):
        with pytest.raises(ValueError, match=r"argument 2 is (short|long)er than argument 1"):
            blend(tiles, [torch.ones(8, 8)] * cuts, 8, 12)
