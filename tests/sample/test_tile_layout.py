"""The choice of tiles, for any size of photo and any memory."""

import math
import random
import re
from pathlib import Path

import pytest

from ugc_sr.sample.tile_layout import (
    AT_ONCE,
    GIB,
    LARGEST,
    NANO,
    SD2,
    SMALLEST,
    STEP,
    Layout,
    Memory,
    Plan,
    Stage,
    fixed,
    largest_square,
    lay_out,
    readable_bytes,
    tiles_at_once,
)
from ugc_sr.sample.tiles import split, split_seesr

SIZES = (SD2, NANO)


def anything(_):
    return True


def canvases(count, seed=0):
    """Canvases of Prepare Photo: 16 px to 16 megapixels, sides up to 1:20."""
    rng = random.Random(seed)
    yield from ((64, 64), (4096, 4096), (896, 17920), (17920, 896), (1088, 1920))
    for _ in range(count):
        area = math.exp(rng.uniform(math.log(16 * 16), math.log(16e6)))
        aspect = math.exp(rng.uniform(-math.log(20), math.log(20)))
        sides = (math.sqrt(area * aspect), math.sqrt(area / aspect))
        yield tuple(math.ceil(side / 64) * 64 for side in sides)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("ratio", [4, 8, 16])
def test_tile_diffusion_takes_every_layout_and_covers_the_canvas_with_as_many_tiles(sizes, ratio):
    for number, canvas in enumerate(canvases(100)):
        limit = 128 + 64 * (number % 16)
        layout = lay_out(*canvas, sizes, lambda tile, limit=limit: tile <= limit)
        assert 256 <= layout.tile <= max(256, min(limit, sizes.largest))
        assert layout.tile % 64 == layout.overlap % 32 == 0
        assert isinstance(layout.overlap, int)
        assert layout.tile // sizes.share <= layout.overlap < layout.tile
        height, width = (side // ratio for side in canvas)  # in latent cells, as Tile Diffusion counts
        tiles = split(height, width, layout.tile // ratio, layout.overlap // ratio)
        assert len(tiles) == layout.rows * layout.columns == layout.count
        assert max(tile.top + tile.height for tile in tiles) == height
        assert max(tile.left + tile.width for tile in tiles) == width


@pytest.mark.parametrize("sizes", SIZES)
def test_no_other_tile_that_suits_the_model_needs_fewer_or_as_few_smaller_ones(sizes):
    for canvas in canvases(60, seed=1):
        layout = lay_out(*canvas, sizes, anything)
        for tile in range(256, min(sizes.largest, max(*canvas, 256)) + 1, 64):
            other = fixed(*canvas, tile, sizes)
            assert other.count >= layout.count
            assert other.count > layout.count or tile >= layout.tile or tile < sizes.smallest


def test_a_tile_is_no_larger_than_the_photo():
    for canvas in canvases(40, seed=2):
        largest = max(*canvas, 256)
        assert lay_out(*canvas, SD2, anything).tile <= largest
        assert fixed(*canvas, 4096, SD2).tile <= largest
        assert largest_square(*canvas, anything) <= largest


def test_full_hd_takes_six_tiles_of_srlabs_size_where_srlab_takes_eight():
    assert lay_out(1088, 1920, SD2, anything) == Layout(tile=768, overlap=192, rows=2, columns=3)
    assert len(split(136, 240, 96, 32)) == 8


def test_a_tile_that_was_asked_for_stays_within_what_the_nodes_take():
    assert fixed(4096, 4096, 640, SD2).tile == 640
    assert fixed(4096, 4096, 650, SD2).tile == 640
    assert fixed(4096, 4096, 64, SD2).tile == 256
    assert fixed(8192, 8192, 8192, SD2).tile == 4096


def test_tiles_go_in_as_few_rounds_as_fit_and_in_even_ones():
    for count in (1, 2, 6, 9, 25, 100):
        for most in (1, 2, 4, 7, 64, 1000):
            batch = tiles_at_once(count, lambda n, most=most: n <= most)
            assert 1 <= batch <= min(most, count, AT_ONCE)
            assert math.ceil(count / batch) == math.ceil(count / min(most, AT_ONCE))
    assert tiles_at_once(9, lambda n: n <= 8) == 5


@pytest.mark.comfy
def test_tiles_are_within_what_the_node_takes():
    from ugc_sr.nodes.sampling_nodes import TileDiffusion

    inputs = {entry.id: entry for entry in TileDiffusion.define_schema().inputs}
    tile = inputs["tile_size"]
    assert (tile.min, tile.max, tile.step) == (SMALLEST, LARGEST, STEP)
    assert inputs["tile_batch"].max == AT_ONCE


def test_where_nothing_fits_the_smallest_tiles_go_one_by_one():
    assert lay_out(4096, 4096, SD2, lambda _: False).tile == 256
    assert tiles_at_once(9, lambda _: False) == 1
    assert largest_square(4096, 4096, lambda _: False) == 256


def test_more_memory_never_means_more_tiles():
    for canvas in canvases(30, seed=3):
        counts = [lay_out(*canvas, SD2, lambda t, m=m: t <= m).count for m in range(256, 1024, 64)]
        assert counts == sorted(counts, reverse=True)


def test_the_largest_square_is_the_largest_that_fits_into_canvas_and_memory():
    for number, canvas in enumerate(canvases(60, seed=4)):
        most = min(128 + 96 * number, max(canvas), 4096)
        assert largest_square(*canvas, lambda tile, most=most: tile <= most) == max(most // 64 * 64, 256)


def test_weights_that_can_wait_leave_half_of_the_memory_for_work():
    assert Memory(8 * GIB, offloads=True).beside(3 * GIB) == 5 * GIB
    assert Memory(8 * GIB, offloads=True).beside(7 * GIB) == 4 * GIB
    assert Memory(8 * GIB, offloads=False).beside(7 * GIB) == GIB
    assert Memory(8 * GIB, offloads=False).beside(9 * GIB) == 0


def stage(name="Decode", weights=1.0, work=2.0, memory=8.0, offloads=True):
    return Stage(name, "whole", weights * GIB, work * GIB, Memory(memory * GIB, offloads))


def test_a_stage_says_what_it_takes_and_what_happens_where_that_is_too_much():
    assert str(stage()) == "Decode: whole; 2.0 GiB and 1.0 GiB of weights."
    assert str(stage(memory=3)) == str(stage())
    assert str(stage(memory=2)).endswith("1.0 GiB of the weights wait in RAM, which takes longer.")
    assert str(stage(memory=2.5)).endswith("512 MiB of the weights wait in RAM, which takes longer.")
    too_much = "1.0 GiB more than there is: close other programs, or lower 'scale'."
    assert str(stage(memory=2.0, offloads=False)).endswith(too_much)
    assert str(stage(weights=0.5, memory=1.5)).endswith(too_much)


def test_a_stage_without_any_memory_sets_the_limit():
    assert stage(memory=0).share > stage(memory=1e-6).share


def test_the_plan_names_the_stage_that_sets_the_limit():
    plan = Plan(
        canvas=(2, 1088, 1920),
        layout=Layout(768, 192, 2, 3),
        tile_batch=2,
        vae_tile=512,
        stages=(stage("Encode"), stage("Diffusion", work=5.0), stage("Decode")),
    )
    lines = str(plan).splitlines()
    assert lines[0] == "2 x 1920x1088 px, 4.2 megapixels."
    assert [line.partition(":")[0] for line in lines[1:-1]] == ["Encode", "Diffusion", "Decode"]
    assert lines[-1] == "Diffusion sets the limit: 75 % of 8.0 GiB."


def test_bytes_are_told_in_the_unit_that_shows_them():
    assert readable_bytes(3 * 2**20) == "3 MiB"
    assert readable_bytes(1000 * 2**20) == "1000 MiB"
    assert readable_bytes(2**30) == "1.0 GiB"
    assert readable_bytes(1000 * 2**30) == "1000.0 GiB"


def test_the_table_of_layouts_in_the_docs_is_what_is_chosen():
    text = (Path(__file__).parents[2] / "docs" / "large_photos.md").read_text()
    rows = re.findall(r"^\| (\d+)x(\d+) \| (\d+) \| (.*) px \| (.*) px \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for width, height, reference, *ours in rows:
        cells = (-(-int(side) // 8) for side in (height, width))
        assert len(split_seesr(*cells, 96, 32)) == int(reference)
        canvas = [-(-int(side) // 64) * 64 for side in (height, width)]
        layouts = [lay_out(*canvas, sizes, anything) for sizes in SIZES]
        assert [f"{made.rows} x {made.columns} of {made.tile}" for made in layouts] == ours
