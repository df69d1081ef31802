"""python -m ugc_sr.models, as a person calls it."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from ugc_sr.models import catalogue
from ugc_sr.models.__main__ import main


def test_convert_prints_what_it_wrote_and_its_checksum(tmp_path, controlnet_weights):
    torch.save(controlnet_weights, tmp_path / "c.pt")
    command = [sys.executable, "-m", "ugc_sr.models", "convert", "c.pt", "c.safetensors", "--half"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    from ugc_sr.models.repack import sha256

    assert f"sha256 {sha256(tmp_path / 'c.safetensors')}" in done.stdout
    assert f"{(tmp_path / 'c.safetensors').stat().st_size:,} bytes" in done.stdout
    assert "Load Semantic ControlNet" in done.stdout
    assert len(load_file(tmp_path / "c.safetensors")) == len(controlnet_weights)


def test_an_error_is_one_line_and_status_2(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "gone.pt"), str(tmp_path / "x.safetensors")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "There is no file or folder" in said.err


def test_list_names_every_entry_once_with_its_checksum(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for entry in catalogue.WEIGHTS:
        assert f"{entry.name}  ->  models/{entry.folder}/{entry.saved}\n" in said
        for source in entry.sources:
            assert f"from    {source.url}" in said
    assert said.count("sha256  unknown") == sum(e.sha256 == "unknown" for e in catalogue.WEIGHTS)


def test_check_tells_kind_places_and_width_and_the_node(tmp_path, capsys, unet_weights):
    save_file(unet_weights, tmp_path / "u.safetensors")
    assert main(["check", str(tmp_path / "u.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "a UNet with image attentions" in said
    assert "input_1 (64)" in said
    assert "tokens 512 wide" in said
    assert "fits   Load Semantic Adapter\n" in said


def test_check_of_a_pickle_says_that_it_must_be_converted(tmp_path, capsys, controlnet_weights):
    torch.save(controlnet_weights, tmp_path / "c.bin")
    assert main(["check", str(tmp_path / "c.bin")]) == 0
    assert "fits   Load Semantic ControlNet, once it is converted" in capsys.readouterr().out


def test_check_of_a_file_for_another_node_says_which_and_fails(tmp_path, capsys):
    save_file({"x.lora_up.weight": torch.ones(2, 2)}, tmp_path / "l.safetensors")
    assert main(["check", str(tmp_path / "l.safetensors")]) == 2
    said = capsys.readouterr()
    assert "a LoRA, 1 tensors" in said.out
    assert "No node of ours loads it. Load it with Load LoRA." in said.err


def test_check_recognises_a_published_file(tmp_path, capsys, monkeypatch, unet_weights):
    from dataclasses import replace

    from ugc_sr.models.repack import sha256

    save_file(unet_weights, tmp_path / "u.safetensors")
    source = replace(catalogue.WEIGHTS[0].sources[0], sha256=sha256(tmp_path / "u.safetensors"))
    known = replace(catalogue.WEIGHTS[0], name="known.pt", sources=(source,))
    monkeypatch.setattr(catalogue, "WEIGHTS", (known,))
    main(["check", str(tmp_path / "u.safetensors")])
    assert "u.safetensors, as published: known.pt" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["convert"], ["convert", "a", "b", "--kind", "lora"], ["melt"]])
def test_wrong_arguments_are_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_another_python_than_comfyuis_is_told_of_in_one_line(tmp_path):
    start = (
        "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('ugc_sr.models', alter_sys=True)"
    )
    command = [sys.executable, "-c", start, "doctor"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"This Python, {sys.executable}, has no PyTorch. Run the command with the Python that runs ComfyUI.\n"
    )
