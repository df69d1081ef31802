"""Both sides of the benchmark make the same picture, or it would compare nothing."""

import pytest
import torch

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def nets():
    from benchmarks import restore

    return restore.build((64, 128), torch.float32, torch.device("cpu"), text_dim=32)


@pytest.mark.parametrize(("size", "cfg"), [((8, 8), 1.0), ((12, 20), 8.5)])
def test_the_hosts_latent_is_the_references(nets, size, cfg):
    from benchmarks import restore

    case = restore.Case((64, 128), 3, size, 8, 2, 2, torch.float32, steps=4)
    inputs = restore.draw(nets, case, torch.device("cpu"))
    run = {"steps": 4, "cfg": cfg, "tile": 8, "overlap": 2}
    expected = restore.reference_way(nets, inputs, **run)
    assert restore.relative_difference(restore.our_way(nets, inputs, **run, grid="seesr"), expected) < 1e-4
    even = restore.relative_difference(restore.our_way(nets, inputs, **run), expected)
    assert (even < 1e-4) == (size == (8, 8))  # other tiles make another picture


def test_every_way_is_timed_the_same_number_of_times(monkeypatch):
    from benchmarks import restore

    small = restore.Case((64, 64), 2, (4, 8), 4, 1, 1, torch.float32, steps=1)
    monkeypatch.setattr(restore, "SMALL", small)
    rows = {row["name"]: row for row in restore.run(rounds=2)}
    assert rows.keys() == {"restore-same-grid", "restore-even-grid"}
    assert rows["restore-same-grid"]["relative_difference"] < 1e-3
    assert all(row["baseline"] > 0 and row["ours"] > 0 for row in rows.values())
