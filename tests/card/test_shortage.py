"""Memory that runs out on a pretended card: the picture comes all the same, or words do."""

import pytest
import torch

pytestmark = pytest.mark.comfy

MIB = 2**20
TILES = {"tile_size": 256, "overlap": 64, "tile_batch": 2}


@pytest.mark.parametrize("share", [0.85, *(pytest.param(s, marks=pytest.mark.deep) for s in (0.95, 0.75))])
def test_a_run_that_meets_its_limit_goes_on_with_less(share, card, run_graph, quickstart_on, photos, psnr):
    """The limit is met at another stage for each share of what the run takes when it has all it wants."""
    graph = quickstart_on(UGCSR_TileDiffusion=TILES)
    expected = run_graph(graph, photos())
    active = card()
    run_graph(graph, photos())
    needed, active.peak = active.peak, 0
    active.limit = int(share * needed)
    picture = run_graph(graph, photos())
    assert active.peak <= active.limit
    assert psnr(picture, expected) > 40  # smaller tiles make another picture, a little


def test_a_card_too_small_for_anything_ends_in_words(card, run_graph, quickstart_on, photos):
    card(total=256 * MIB, limit=2 * MIB)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        run_graph(quickstart_on(UGCSR_TileDiffusion=TILES), photos())
