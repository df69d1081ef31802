"""PyTorch's own files: opened without running code, or refused in words."""

import argparse
import ast
import os
import pickle
from pathlib import Path

import pytest
import torch

from ugc_sr.models import pickles
from ugc_sr.models.weights import UnsupportedWeightsError

ROOT = Path(__file__).parents[2]
WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def saved(tmp_path, content, **options):
    torch.save(content, tmp_path / "x.pt", **options)
    return tmp_path / "x.pt"


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"model": w},
        lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda w: {"params": {}, "params_ema": w},
        lambda w: {"model": {"state_dict": w}},
        lambda w: {f"module.{key}": value for key, value in w.items()},
        lambda w: {"model": {f"module._orig_mod.{key}": torch.nn.Parameter(v) for key, v in w.items()}},
    ],
)
def test_the_state_dict_is_found_inside_of_its_wrappers(tmp_path, wrap, modern):
    file = saved(tmp_path, wrap(WEIGHTS), _use_new_zipfile_serialization=modern)
    found = pickles.read(file)
    assert found.keys() == WEIGHTS.keys()
    assert all(
        torch.equal(found[key], value) and not found[key].requires_grad for key, value in WEIGHTS.items()
    )


def test_a_prefix_of_some_keys_alone_stays():
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert pickles.strip(mixed) == mixed


class Command:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("modern", [True, False])
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, modern):
    file = saved(
        tmp_path,
        {"w": torch.ones(1), "evil": Command(tmp_path / "made")},
        _use_new_zipfile_serialization=modern,
    )
    with pytest.raises(
        UnsupportedWeightsError, match=r"'x.pt' is a pickle that would run .* wants '\w+.mkdir'"
    ):
        pickles.read(file)
    assert not (tmp_path / "made").exists()


def test_the_refusal_does_not_say_how_to_run_the_code_nevertheless(tmp_path):
    file = saved(tmp_path, {"args": argparse.Namespace(lr=1)})
    with pytest.raises(UnsupportedWeightsError, match=r"it wants 'argparse.Namespace'") as refusal:
        pickles.read(file)
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'x.pt' is an empty file"),
        (b"<!DOCTYPE html>", "'x.pt' is not a whole file of PyTorch"),
        (b"\x80\x02}q\x00", "is not a whole file of PyTorch"),
        (b"PK\x03\x04broken", "is not a whole file of PyTorch"),
        (pickle.dumps([1, 2], protocol=2), "is not a whole file of PyTorch"),
        (lambda whole: whole[:-200], "is not a whole file of PyTorch"),
        (lambda whole: whole[: len(whole) // 2], "is not a whole file of PyTorch"),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path, content, message):
    file = saved(tmp_path, WEIGHTS)
    file.write_bytes(content(file.read_bytes()) if callable(content) else content)
    with pytest.raises(UnsupportedWeightsError, match=message):
        pickles.read(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "'x.pt' holds list, not a dictionary of tensors"),
        ({}, "'x.pt' holds no tensors"),
        ({"epoch": 3, "w": torch.ones(1)}, "'x.pt' holds int under 'epoch'"),
        ({1: torch.ones(1)}, "holds Tensor under 1"),
        (
            {"model": {"model": {"model": {"model": {"model": {}}}}}},
            "holds dict, not a dictionary of tensors",
        ),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, message):
    with pytest.raises(UnsupportedWeightsError, match=message):
        pickles.read(saved(tmp_path, content))


def test_nothing_that_comfyui_loads_opens_pickles():
    for layer in ("__init__.py", "image.py", "files.py", "nodes", "host", "sample", "models"):
        for file in [ROOT / layer] if layer.endswith(".py") else (ROOT / layer).rglob("*.py"):
            if file.name in ("pickles.py", "repack.py", "__main__.py"):
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom):
                    names = {node.module, *(alias.name for alias in node.names)}
                    assert not names & {"pickles", "repack", "pickle"}, file
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    assert ast.unparse(node.func) not in ("torch.load", "pickle.load", "pickle.loads"), file
