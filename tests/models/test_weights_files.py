"""Published weights in every form: one file, parts with an index, folders of diffusers."""

import io
import json
import pickle

import pytest
import torch
from safetensors.torch import save, save_file

from ugc_sr.models import files
from ugc_sr.models.weights import UnsupportedWeightsError

WEIGHTS = {name: torch.full((2, 3), float(n)) for n, name in enumerate("abcde")}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in right)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_folder_of_diffusers_reads_as_it_was_saved(diffusers_folder, parts):
    folder = diffusers_folder(WEIGHTS, parts=parts)
    assert len(files.parts(folder)) == parts
    assert same(files.read(folder), WEIGHTS)
    files.check_index(folder, files.read(folder))


def test_safetensors_come_before_pickles_of_the_same_folder(diffusers_folder):
    folder = diffusers_folder(WEIGHTS)
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert [part.suffix for part in files.parts(folder)] == [".safetensors"]


def test_an_index_may_be_given_itself(diffusers_folder):
    folder = diffusers_folder(WEIGHTS, parts=2)
    assert same(files.read(folder / "diffusion_pytorch_model.safetensors.index.json"), WEIGHTS)


@pytest.mark.parametrize(
    ("inside", "error", "message"),
    [
        ([], FileNotFoundError, "There is no file or folder '.*set'"),
        (["x"], UnsupportedWeightsError, "holds no diffusion_pytorch_model.safetensors"),
        (["config.json"], FileNotFoundError, "has its config.json but not its weights, diffusion_pytorch"),
        (
            ["unet/x", "controlnet/x"],
            UnsupportedWeightsError,
            "is a whole set. Choose .*: unet or controlnet",
        ),
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path, inside, error, message):
    for file in inside:
        (tmp_path / "set" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / file).write_text("{}")
    with pytest.raises(error, match=message):
        files.parts(tmp_path / "set")


def test_a_missing_part_is_named(diffusers_folder):
    folder = diffusers_folder(WEIGHTS, parts=3)
    (folder / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"needs 3 parts, but 'diffusion_.*-00002-of-00003.*' is missing"
    ):
        files.parts(folder)


def test_a_tensor_that_the_index_promises_must_be_in_a_part(diffusers_folder):
    folder = diffusers_folder(WEIGHTS, parts=2)
    save_file({"b": WEIGHTS["b"]}, folder / "diffusion_pytorch_model-00002-of-00002.safetensors")
    with pytest.raises(UnsupportedWeightsError, match=r"promises 'd', which is in none of its parts"):
        files.check_index(folder, files.read(folder))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            '{"weight_map": {"a": "../outside.safetensors"}}',
            "names '../outside.safetensors', which is no file beside it",
        ),
        ('{"weight_map": {}}', "has no 'weight_map'"),
        ("[]", "has no 'weight_map'"),
        ('{"weight_map": {"a": 1}}', "has no 'weight_map'"),
        ("<html>", "is not JSON"),
    ],
)
def test_a_bad_index_is_refused(tmp_path, index, message):
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_text(index)
    with pytest.raises(UnsupportedWeightsError, match=message):
        files.parts(tmp_path)


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": [5, 10, 20, 20]}, True),
        ({"block_out_channels": [64, 128], "attention_head_dim": 8, "num_attention_heads": [1, 2]}, True),
        ({"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8}, False),
        (
            {"block_out_channels": [320, 640], "attention_head_dim": [8, 8], "num_attention_heads": None},
            False,
        ),
        ({}, True),
    ],
)
def test_heads_of_another_width_are_read_from_the_config(diffusers_folder, config, fits):
    folder = diffusers_folder(WEIGHTS, config=config)
    if fits:
        assert files.parts(folder)
    else:
        with pytest.raises(
            UnsupportedWeightsError, match=r"has 8 heads for 320 channels; expected 5, each 64 wide"
        ):
            files.parts(folder)


def zipped(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "'x.safetensors' is an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a note of Git LFS in place of the file"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"\n<html>", "is a web page"),
        (b"PK\x03\x04 and a pickle", "is a PyTorch pickle under another name"),
        (b"\x10\x27\0\0\0\0\0\0{", "is cut short or damaged"),
        (b"\x3c\x27\0\0\0\0\0\0{", "is cut short or damaged"),
        (b"something else", "is not a safetensors file"),
        (lambda: save(WEIGHTS)[:-10], "'x.safetensors' is cut short or damaged. Download it again"),
        (lambda: save(WEIGHTS)[:20], "is cut short or damaged"),
        (lambda: save(WEIGHTS)[:5], "is not a safetensors file"),
        (lambda: save({}), "'x.safetensors' holds no tensors"),
        (lambda: zipped(WEIGHTS), "is a PyTorch pickle under another name.* Get the .safetensors file"),
        (lambda: pickle.dumps({"w": [1.0]}), "is a PyTorch pickle under another name"),
    ],
)
def test_what_is_no_file_of_weights_is_named(tmp_path, content, words):
    (tmp_path / "x.safetensors").write_bytes(content() if callable(content) else content)
    with pytest.raises(UnsupportedWeightsError, match=words):
        files.read(tmp_path / "x.safetensors")


def test_the_config_must_be_json(diffusers_folder):
    folder = diffusers_folder(WEIGHTS)
    (folder / "config.json").write_text(json.dumps({})[:1])
    with pytest.raises(UnsupportedWeightsError, match=r"'config.json' is not JSON"):
        files.parts(folder)
