"""`python -m ugc_sr.models doctor` as a person calls it, on machines with and without files."""

import hashlib
import json
import re
import shutil

import pytest
import torch

from ugc_sr.models.__main__ import main
from ugc_sr.restore.server import find_host, running_host

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

BASE = "checkpoints/512-base-ema.safetensors"
UNET = "model_patches/srlab/unet/diffusion_pytorch_model.safetensors"
CONTROLNET = "controlnet/srlab/controlnet/diffusion_pytorch_model.safetensors"
ENCODER = "detection/sam2.1_hiera_tiny.safetensors"
PRESETS = ("nano", "wild", "synthetic", "seesr", "balanced", "fast", "turbo")
FREE = (
    *("anatomy", "degrade_restore_score", "design_degradation", "keep_regions", "make_training_pairs"),
    "quickstart",
)


@pytest.fixture
def doctor(capsys):
    """Runs the command; gives its status and what it says."""

    def run(*arguments):
        status = main(["doctor", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def one_line(text):
    return " ".join(text.split())


def test_a_machine_without_a_comfyui_is_told_how_to_name_it(doctor, monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "gone"))
    status, said, _ = doctor()
    assert status == 1
    assert "ComfyUI      not found" in said
    assert f"There is no ComfyUI in '{tmp_path}/gone', which COMFYUI_PATH names." in one_line(said)
    assert "-> Say where it is: --comfyui DIR, or COMFYUI_PATH in the environment." in said
    assert "nano.safetensors: ugc_sr nano v2" in said
    assert "ready" not in said


def test_the_bundled_model_alone_is_fine_and_the_rest_is_one_command_away(doctor, models):
    folder = models({})
    status, said, _ = doctor("--models", folder)
    assert status == 0
    assert said.endswith("\n\nNothing is wrong.\n")
    assert re.search(r"^  ComfyUI      \d+\.\d+\.\d+, ", said, re.MULTILINE)
    assert re.search(r"^  torch        \d+\.\d+", said, re.MULTILINE)
    assert "memory mode  everything is computed on the CPU" in said
    assert "presets ready: nano\n" in said
    assert one_line(f"workflows ready: {', '.join(FREE)}") in one_line(said)
    assert f'-> python -m ugc_sr.models fetch srlab --models "{folder}"' in said
    assert f'-> python -m ugc_sr.models fetch srlab tags --models "{folder}"' in said
    assert "lacking 512-base-ema.safetensors, sam2.1_hiera_tiny.safetensors" in one_line(said)


def test_all_files_make_everything_ready(doctor, models, everything, record):
    folder = models(everything)
    digest = hashlib.sha256((folder / UNET).read_bytes()).hexdigest()
    record(folder, UNET, digest)
    status, said, _ = doctor(*PRESETS, "ugc_wild", "ugc_synthetic_x4", "--models", folder)
    assert status == 0, said
    assert one_line(f"presets ready: {', '.join(PRESETS)}") in one_line(said)
    assert "lacking" not in said
    assert "choose" not in said
    assert f"sha256 {digest}" in said
    assert "origin fetched 2026-11-01 from https://hub.example/x" in said
    assert "512-base-ema.safetensors: a whole checkpoint of Stable Diffusion 2, " in said
    assert "srlab/unet: a UNet with image attentions" in said
    assert "origin unknown: `fetch` did not bring it, and no published file has its checksum" in said


def test_wrong_files_are_named_with_what_mends_each(doctor, models, everything, weights):
    whole = models({ENCODER: "encoder"}) / ENCODER
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    page = b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>"
    files = everything | {
        BASE: "sd1",
        UNET: "controlnet",
        CONTROLNET: "adapter",
        ENCODER: whole.read_bytes()[:9999],
        "checkpoints/sd_turbo.safetensors": pointer,
        "controlnet/seesr/controlnet/diffusion_pytorch_model.safetensors": page,
    }
    folder = models(files)
    torch.save(weights["adapter"], folder / "model_patches" / "mine.pt")
    status, text, _ = doctor("wild", "--models", folder, "--no-hash")
    said = one_line(text)
    assert status == 1
    fetch = f"-> Move {folder / BASE} away, then: python -m ugc_sr.models fetch"
    assert "'512-base-ema.safetensors' is a whole checkpoint of Stable Diffusion 1; expected the base" in said
    assert f'{fetch} 512-base-ema.safetensors --models "{folder}"' in said
    assert "'srlab/unet' is a ControlNet with image attentions" in said
    assert "'srlab/controlnet' is a UNet with image attentions; Load Semantic ControlNet lists it" in said
    swap = f"-> Swap {folder}/controlnet/srlab/controlnet and {folder}/model_patches/srlab/unet."
    assert said.count(swap) == 1
    assert "'sam2.1_hiera_tiny.safetensors' is cut short or damaged" in said
    assert "'sd_turbo.safetensors' is a note of Git LFS in place of the file" in said
    assert "is a web page, such as a login or a note that a quota is used up" in said
    assert f'python -m ugc_sr.models convert "{folder}/model_patches/mine.pt" "{folder}/' in said
    assert "presets ready: nano " in said
    assert "wild lacks the base model" in said


def test_files_are_found_where_extra_model_paths_says(doctor, models, everything, tmp_path):
    comfyui = tmp_path / "ComfyUI"
    comfyui.mkdir()
    for place in find_host().iterdir():
        if place.name not in ("main.py", "folder_paths.py", "models"):
            (comfyui / place.name).symlink_to(place)
    for name in ("main.py", "folder_paths.py"):  # which look for the others around themselves
        shutil.copy(find_host() / name, comfyui)
    elsewhere = models(everything)
    folders = {path.partition("/")[0] for path in everything}
    config = {"mine": {"base_path": str(elsewhere), **{folder: folder for folder in sorted(folders)}}}
    (comfyui / "extra_model_paths.yaml").write_text(json.dumps(config))
    status, said, _ = doctor(*PRESETS, "--comfyui", comfyui, "--no-hash")
    assert status == 0, said
    assert f", {comfyui}\n" in said
    assert "-> python -m ugc_sr.models fetch" not in said


def test_json_has_the_same_and_nobodys_name(doctor, models, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    status, said, _ = doctor("--models", models({"model_patches/x.safetensors": b"x"}), "--json")
    report = json.loads(said)
    assert status == 1
    assert report["fine"] is False
    assert report["machine"]["disk"]["path"] == "~/models"
    (wrong,) = (one for one in report["files"] if one["state"] == "wrong")
    assert wrong["path"] == "~/models/model_patches/x.safetensors"
    assert str(tmp_path) not in said


@pytest.mark.deep
def test_a_comfyui_that_runs_tells_what_its_api_can(doctor, tmp_path):
    # Into the common host others put files.
    with running_host(find_host(), tmp_path / "host", cpu=True) as host:
        status, said, _ = doctor("--server", host.address)
    assert status == 0
    assert f", {host.address}\n" in said
    assert "presets ready: nano\n" in said
    assert "options      --base-directory" in said
    assert one_line(f"workflows ready: {', '.join(FREE)}") in one_line(said)


def test_a_server_without_the_extension_is_told_of(doctor, tmp_path):
    odd = {"odd_images": find_host().parents[1] / "tests" / "data" / "odd_images"}
    with running_host(find_host(), tmp_path / "host", cpu=True, extensions=odd) as host:
        status, said, _ = doctor("--server", host.address)
    assert status == 1
    assert "That ComfyUI has no node UGCSR_LoadSAM2Encoder" in said
    assert "-> Install UGC Super-Resolution" in said


def test_a_server_that_does_not_answer_is_wrong(doctor):
    status, said, _ = doctor("--server", "http://127.0.0.1:9")
    assert status == 1
    assert "http://127.0.0.1:9 does not answer" in said
    assert "ready" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("wilder",), "There is no preset or workflow 'wilder'. Known: wild, "),
        (("--server", "http://127.0.0.1:9", "--models", "."), "leave out --comfyui and --models"),
        (("--server", "no address"), "--server must be an address"),
        (("--comfyui", "nowhere"), "There is no ComfyUI in "),
        (("--models", "nowhere"), "--models: there is no folder 'nowhere'."),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(doctor, arguments, message):
    status, said, error = doctor(*arguments)
    assert (status, said) == (2, "")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.deep
def test_the_bundled_model_restores_the_sample_photo_soundly(doctor, models):
    status, said, told = doctor("--models", models({}), "--run")
    assert status == 0, said
    assert told == "starting ComfyUI ...\nnano: restoring the sample photo, 256x384 px ...\n"
    assert re.search(
        r"^  nano: 1024x1536 px in [\d.]+ s; ComfyUI took [\d.]+ GiB of memory$", said, re.MULTILINE
    )
    assert said.count("    passed  ") == 6


@pytest.mark.deep
def test_a_preset_that_fails_is_told_in_the_words_of_the_node(doctor, models, everything):
    status, text, _ = doctor("wild", "--models", models(everything), "--run", "--no-hash")
    said = one_line(text)
    assert status == 1
    assert "wild: failed. Load Checkpoint: " in said
    assert "1. wild failed: Load Checkpoint: " in said
    assert "nano: 1024" not in said
