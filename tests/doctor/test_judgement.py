"""What follows from the files that a machine has."""

import hashlib
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ugc_sr.doctor.examine import judge
from ugc_sr.doctor.findings import FITS, OTHER, WRONG, look
from ugc_sr.doctor.machine import FOLDERS, Machine
from ugc_sr.doctor.report import hidden, text
from ugc_sr.models import catalogue

KINDS = {folder: kind for kind, folders in FOLDERS.items() for folder in folders}
STEM = "/diffusion_pytorch_model.safetensors"
BASE = "checkpoints/512-base-ema.safetensors"
FACTS = {
    "comfyui": {"version": "0.30.0", "path": "/opt/ComfyUI"},
    "python": "3.11.7",
    "torch": "2.11.0",
    "system": "Linux",
    "device": {"name": "cuda:0 A card", "type": "cuda", "total": 24 << 30, "free": 23 << 30},
    "memory": {"total": 32 << 30, "free": 30 << 30},
    "mode": "DynamicVRAM",
}


def judged(listed, *names):
    """The report on a machine with those files, asked for presets and workflows."""
    options = Namespace(names=names, restore=False, comfyui=None, models=None, server=None, hashed=True)
    return judge(Machine(dict(FACTS), listed), options)


@pytest.fixture
def report(models):
    """The report on a machine with those files, as ComfyUI's loaders list them."""

    def make(files, *names):
        folder = models(files)
        listed = []
        for path in files:
            name = path.partition("/")[2].removesuffix(STEM)
            home = path.partition("/")[0]
            listed.append((KINDS[home], name, folder / home / name))
        return judged(listed, *names)

    return make


def ready(report, sort="presets"):
    return [need["name"] for need in report[sort] if need["ready"]]


def test_what_is_asked_for_and_is_not_there_is_wrong(report):
    found = report({}, "turbo")
    assert ready(found) == ["nano"]
    assert not found["fine"]
    assert found["problems"] == [
        {
            "what": "turbo lacks the base model of the preset turbo, 1 to 4 steps "
            "(models/checkpoints/sd_turbo.safetensors) and the SAM2.1 encoder that reads the photo "
            "(models/detection/sam2.1_hiera_tiny.safetensors) and the semantic adapter, of a UNet with image "
            "attentions (models/model_patches/srlab/unet) and the semantic ControlNet "
            "(models/controlnet/srlab/controlnet).",
            "mend": "python -m ugc_sr.models fetch turbo",
        }
    ]


def test_the_command_fetches_no_more_than_what_is_lacking(report, everything):
    tags = "clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
    found = report({path: what for path, what in everything.items() if path != tags})
    assert found["fine"]
    (lacking,) = (need for need in found["workflows"] if not need["ready"])
    assert lacking["name"] == "ugc_synthetic_x4"
    assert lacking["command"] == "python -m ugc_sr.models fetch tags"
    assert lacking["bytes"] == 2_528_373_448


def test_networks_without_a_base_are_a_set_that_somebody_began(report, everything):
    began = {path: what for path, what in everything.items() if not path.startswith("checkpoints")}
    found = report(began | {"checkpoints/v1-5-pruned.safetensors": "sd1"})
    assert [problem["what"] for problem in found["problems"]] == [
        "wild lacks the base model of SRlab and SeeSR: Stable Diffusion 2-base "
        "(models/checkpoints/512-base-ema.safetensors); v1-5-pruned.safetensors is a whole checkpoint of "
        "Stable Diffusion 1."
    ]
    assert "    not for this extension: v1-5-pruned.safetensors is a whole checkpoint of" in text(found)


def test_a_base_for_other_purposes_alone_is_not_wrong(report):
    found = report({"checkpoints/v1-5-pruned.safetensors": "sd1"})
    assert found["fine"]
    assert ready(found) == ["nano"]


def test_files_of_other_names_do_and_the_workflow_says_which_to_choose(report):
    found = report(
        {
            "checkpoints/mine.safetensors": "checkpoint",
            "detection/sam2.1_hiera_tiny.safetensors": "encoder",
            "model_patches/adapter.safetensors": "adapter",
            f"controlnet/srlab/controlnet{STEM}": "controlnet",
        },
        "wild",
        "ugc_wild",
    )
    assert found["fine"]
    assert ready(found) == ["nano", "wild", "synthetic", "seesr", "balanced", "fast"]
    (need,) = (need for need in found["workflows"] if need["name"] == "ugc_wild")
    assert need["choose"] == [
        "mine.safetensors in Load Checkpoint",
        "adapter.safetensors in Load Semantic Adapter",
    ]


def test_each_preset_takes_the_files_of_its_own_set(report, everything):
    found = report(everything)
    used = {need["name"]: need["uses"] for need in found["presets"]}
    assert used["wild"]["adapter"] == "srlab/unet"
    assert used["seesr"]["controlnet"] == "seesr/controlnet"
    assert used["turbo"]["checkpoint"] == "sd_turbo.safetensors"
    assert used["balanced"]["checkpoint"] == "512-base-ema.safetensors"


def test_a_file_that_changed_since_it_was_fetched_is_wrong(report, everything, models, record):
    folder = models({})
    record(folder, BASE, "0" * 64)
    found = report(everything, "wild")
    assert found["problems"][0] == {
        "what": "'512-base-ema.safetensors' is not what was fetched: its sha256 changed.",
        "mend": f"Move {folder / BASE} away, then: python -m ugc_sr.models fetch 512-base-ema.safetensors",
    }
    assert "wild" not in ready(found)


def test_a_published_checksum_tells_the_origin_and_the_base(report, monkeypatch, models):
    folder = models({"checkpoints/base.safetensors": "checkpoint"})
    digest = hashlib.sha256((folder / "checkpoints" / "base.safetensors").read_bytes()).hexdigest()
    turbo = next(entry for entry in catalogue.WEIGHTS if entry.saved == "sd_turbo.safetensors")
    known = replace(turbo, sources=(replace(turbo.sources[0], sha256=digest),))
    monkeypatch.setattr(catalogue, "WEIGHTS", (known, *(e for e in catalogue.WEIGHTS if e is not turbo)))
    found = report({"checkpoints/base.safetensors": "checkpoint"})
    (file,) = found["files"]
    assert file["origin"] == "as published: sd_turbo.safetensors"
    (need,) = (need for need in found["presets"] if need["name"] == "turbo")
    assert need["uses"] == {"checkpoint": "base.safetensors"}


UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("kind", "key", "value", "state", "words"),
    [
        ("checkpoint", "", None, FITS, "a whole checkpoint of Stable Diffusion 2"),
        ("checkpoint", "first_stage_model.x", None, OTHER, "without its VAE"),
        ("checkpoint", "cond_stage_model.x", None, OTHER, "without its text tower"),
        (
            "checkpoint",
            f"{UNET}input_blocks.0.0.weight",
            torch.ones(64, 9, 3, 3),
            OTHER,
            "made for another task: its first layer takes 9 channels, not 4",
        ),
        (
            "checkpoint",
            f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias",
            torch.tensor([1.0, -1.0]),
            OTHER,
            "one that predicts v, as those of 768 px do",
        ),
        ("controlnet", "mid_block.attentions.0.norm.weight", None, WRONG, "'x.safetensors' lacks"),
    ],
)
def test_only_a_base_of_512_px_and_whole_networks_fit(tmp_path, weights, kind, key, value, state, words):
    tensors = {name: w.contiguous() for name, w in weights[kind].items() if name != key}
    tensors |= {} if value is None else {key: value}
    save_file(tensors, tmp_path / "x.safetensors")
    found = look(kind, "x.safetensors", tmp_path / "x.safetensors")
    assert found.state == state
    assert words in f"{found.what} {found.why}"


@pytest.mark.parametrize(
    ("kind", "what"),
    [("adapter", "checkpoint"), ("controlnet", "sd1"), ("encoder", "clip vision"), ("checkpoint", "encoder")],
)
def test_a_file_for_another_node_is_wrong_only_under_the_name_of_ours(models, kind, what):
    own = {"adapter": "srlab/unet", "controlnet": "srlab/controlnet"}.get(kind)
    place = models({f"x/{what}.safetensors": what}) / "x" / f"{what}.safetensors"
    found = look(kind, "theirs.safetensors", place)
    assert found.state == (WRONG if what == "encoder" else OTHER)  # ours, in a folder that doesn't read it
    if own:
        assert look(kind, own, place).state == WRONG


def test_a_damaged_file_of_nobody_is_to_be_deleted(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"<!DOCTYPE html><html>")
    found = look("encoder", "x.safetensors", tmp_path / "x.safetensors")
    assert (found.state, found.why.partition(",")[0]) == (WRONG, "'x.safetensors' is a web page")
    assert found.repair == f"Delete {found.path}, and get it again from where it came from."


def test_no_home_and_no_name_stays(monkeypatch):
    monkeypatch.setenv("HOME", "/srv/people/maria")
    monkeypatch.setenv("LOGNAME", "maria")
    shown = hidden(
        {
            "a": "/srv/people/maria/ComfyUI and /srv/people/mariana",
            "b": ["/home/jan/x", r"C:\Users\Jan\ComfyUI", "/Users/jan"],
            "/home/jan/y": "/media/maria/disk",
            "n": 1.5,
        }
    )
    assert shown == {
        "a": "~/ComfyUI and /srv/people/mariana",
        "b": ["~/x", r"~\ComfyUI", "~"],
        "~/y": "/media/USER/disk",
        "n": 1.5,
    }


def test_what_cannot_be_seen_counts_by_its_own_name_alone():
    listed = [
        ("checkpoint", "512-base-ema.safetensors", None),
        ("encoder", "sam2.1_hiera_tiny.safetensors", None),
        ("adapter", r"srlab\unet", None),
        ("controlnet", "mine.safetensors", None),
    ]
    assert ready(judged(listed)) == ["nano"]
    listed[-1] = ("controlnet", "srlab/controlnet", None)
    found = judged(listed)
    assert ready(found) == ["nano", "wild", "synthetic"]
    assert "    512-base-ema.safetensors: not visible from here\n" in text(found)


@pytest.mark.parametrize(
    ("kind", "name", "state"),
    [
        ("controlnet", "control_v11p_sd15_canny.pth", OTHER),
        ("controlnet", "srlab_controlnet.pt", WRONG),
        ("encoder", "yolo.pt", OTHER),
        ("encoder", "sam2.1_hiera_tiny.pt", WRONG),
        ("adapter", "mine.bin", WRONG),
    ],
)
def test_only_a_pickle_that_may_be_ours_is_to_be_converted(tmp_path, kind, name, state):
    (tmp_path / name).touch()
    found = look(kind, name, tmp_path / name)
    assert found.state == state
    if state == WRONG:
        target = (tmp_path / name).with_suffix(".safetensors")
        assert found.repair == f'python -m ugc_sr.models convert "{tmp_path / name}" "{target}"'


@pytest.mark.parametrize(
    ("place", "mend"),
    [
        (None, "Move {0} to {1}, which Load Semantic Adapter reads."),
        ("controlnet", "Swap {0} and {1}."),
        ("adapter", "Move {0} away: {1} is there already."),
    ],
)
def test_a_network_in_the_folder_of_another_is_told_its_place(models, place, mend):
    files = {"controlnet/mine/controlnet.safetensors": "adapter"}
    files |= {"model_patches/mine/controlnet.safetensors": place} if place else {}
    folder = models(files)
    here, there = (
        folder / home / "mine" / "controlnet.safetensors" for home in ("controlnet", "model_patches")
    )
    found = look("controlnet", "mine/controlnet.safetensors", here)
    assert found.state == WRONG
    assert found.repair == mend.format(here, there)
