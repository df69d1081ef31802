"""What the benchmark writes has the published sizes, and what goes wrong is said."""

import logging

import pytest
import torch

pytestmark = pytest.mark.comfy


def millions(shapes, prefix=""):
    return round(sum(weight.numel() for key, weight in shapes.items() if key.startswith(prefix)) / 1e6, 1)


def test_every_file_has_the_published_number_of_parameters():
    from benchmarks.true_shapes import shapes

    files = shapes()
    assert millions(files["adapter"]) == 1126.8
    assert millions(files["controlnet"]) == 489.0
    assert millions(files["checkpoint"], "model.diffusion_model.") == 865.9
    assert millions(files["checkpoint"], "first_stage_model.") == 83.7
    assert millions(files["checkpoint"], "cond_stage_model.") == 354.0
    assert millions(files["sam2"]) == 27.2
    assert all(weight.is_meta for file in files.values() for weight in file.values())


def test_files_are_float16_and_small_enough_to_stay_finite(tmp_path):
    from safetensors.torch import load_file

    from benchmarks.true_shapes import _write

    with torch.device("meta"):
        shapes = {"a.weight": torch.empty(300, 200), "b.norm.weight": torch.empty(50), "c": torch.empty(())}
    written = load_file(_write(tmp_path / "file.safetensors", shapes))
    assert {key: weight.shape for key, weight in written.items()} == {k: s.shape for k, s in shapes.items()}
    assert all(weight.dtype == torch.float16 for weight in written.values())
    assert written["a.weight"].float().std().item() == pytest.approx(0.7 / 200**0.5, rel=0.02)
    assert written["b.norm.weight"].float().mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("picture", "complaints", "message"),
    [
        (
            torch.ones(1, 3, 64, 64),
            ["unet missing: x"],
            r"left 1 keys over or missed them: \['unet missing: x'\]",
        ),
        (torch.full((1, 3, 64, 64), torch.nan), [], "The restored picture isn't finite"),
    ],
)
def test_a_run_that_went_wrong_gives_no_row(monkeypatch, picture, complaints, message):
    from benchmarks import true_shapes

    monkeypatch.setattr(true_shapes, "shapes", dict)
    monkeypatch.setattr(true_shapes, "_restore", lambda *_: (picture, complaints))
    with pytest.raises(RuntimeError, match=message):
        list(true_shapes.run((64, 64), steps=2))


def test_keys_that_the_host_leaves_over_are_heard_at_any_level(caplog):
    from benchmarks.true_shapes import _complaints

    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with _complaints() as heard:
        logging.debug("clip unexpected: ['a']")
        logging.debug("loaded")
        logging.warning("b")
    logging.warning("unet missing: c")
    assert heard == ["clip unexpected: ['a']"]
    assert (root.level, root.handlers) == before
    assert "b" in caplog.text
    assert "loaded" not in caplog.text
