"""The bundled model on a pretended card: in every memory mode of the host its picture is the CPU's."""

import gc

import pytest

pytestmark = pytest.mark.comfy

TILES = {"UGCSR_TileDiffusion": {"tile_size": 256, "overlap": 64, "tile_batch": 2}}
GRAPHS = {
    "tiles, guided": {**TILES, "KSampler": {"steps": 2, "cfg": 2.0}},
    "as shipped, two photos": {},
    "views of tiles": {**TILES, "UGCSR_EncodeSemantics": {"view": "tile"}},
    "both views": {**TILES, "UGCSR_EncodeSemantics": {"view": "both"}},
}
MODES = ("plain", "dynamic", "streamed", "novram", "lowvram", "highvram", "gpu_only")
QUICK = [
    *(("tiles, guided", "plain"), ("as shipped, two photos", "streamed")),
    ("both views", "plain"),
]
RUNS = [("tiles, guided", mode) for mode in MODES]
RUNS += [(name, mode) for name in list(GRAPHS)[1:] for mode in ("plain", "streamed")]
RUNS = [run if run in QUICK else pytest.param(*run, marks=pytest.mark.deep) for run in RUNS]


@pytest.fixture(scope="module")
def expected():
    """Pictures of the CPU, made once."""
    return {}


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_the_picture_of_every_mode_is_that_of_the_cpu(
    name, mode, card, run_graph, quickstart_on, photos, expected, psnr
):
    import comfy.model_management as management

    photo = photos(batch=2 if "two photos" in name else 1)
    graph = quickstart_on(**GRAPHS[name])
    if name not in expected:
        expected[name] = run_graph(graph, photo)
    active = card(mode)
    results = {}
    picture = run_graph(graph, photo, results)
    assert psnr(picture, expected[name]) >= 60
    if mode != "gpu_only":  # where the results of nodes stay on the card, too
        gc.collect()
        weights = sum(loaded.model_loaded_memory() for loaded in management.current_loaded_models)
        assert active.now <= weights + 2**18, f"{active.now / 2**20:.2f} MiB stay alive"
    results.clear()
    del picture
    gc.collect()
    assert active.now < 2**16
