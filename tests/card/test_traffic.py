"""What goes between CPU and card while tiles are sampled: nothing that makes either wait for the other."""

import pytest

pytestmark = pytest.mark.comfy

INSIDE = ("guidance", "control", "attention", "tiles", "tiling", "tile_", "encoder", "ownership", "nano.py")


def of_ours(active):
    """Events whose innermost line of this project is one that runs for every tile."""
    return {
        (kind, line): number
        for (kind, line), number in active.events.items()
        if line.startswith(INSIDE) and kind in ("read", "upload, waiting", "download")
    }


@pytest.mark.deep
def test_a_step_reads_one_number_however_many_tiles_it_has(card, run_graph, quickstart_on, photos):
    active = card()

    def events(tiles_at_once, steps):
        active.events.clear()
        tiles = {"tile_size": 256, "overlap": 64, "tile_batch": tiles_at_once}
        graph = quickstart_on(UGCSR_TileDiffusion=tiles, KSampler={"steps": steps})
        run_graph(graph, photos())
        return of_ours(active)

    for tiles_at_once in (1, 2):
        few, many = events(tiles_at_once, 2), events(tiles_at_once, 4)
        grown = {event: many[event] - few.get(event, 0) for event in many if many[event] > few.get(event, 0)}
        # Two more steps read their noise level and bring the weights of blending up.
        assert sum(grown.values()) <= 4, grown


def test_tokens_go_up_once_a_run(card, run_graph, quickstart_on, photos):
    active = card()
    graph = quickstart_on(UGCSR_TileDiffusion={"tile_size": 256, "overlap": 64, "tile_batch": 1})
    run_graph(graph, photos())
    uploads = [n for (kind, line), n in active.events.items() if "upload" in kind and "attention.py" in line]
    assert sum(uploads) <= 2  # for the guidance and for the ControlNet


@pytest.mark.deep
@pytest.mark.parametrize("mode", ["plain", "dynamic"])
def test_reading_tiles_brings_few_weights_of_the_encoder_up_again(
    mode, card, run_graph, quickstart_on, photos
):
    active = card(mode)

    def uploaded(view):
        before, results = active.uploaded, {}
        tiles = {"tile_size": 256, "overlap": 64, "tile_batch": 1}
        graph = quickstart_on(UGCSR_TileDiffusion=tiles, UGCSR_EncodeSemantics={"view": view})
        run_graph(graph, photos(), results)
        encoder = next(r[5] for r in results.values() if len(r) > 5)
        return active.uploaded - before, encoder.patcher.model_size()

    (once, size), (again, _) = uploaded("global"), uploaded("tile")
    assert again - once < 0.3 * size
