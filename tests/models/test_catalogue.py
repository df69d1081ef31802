"""The table of published weights, and the page that shows it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ugc_sr.models import catalogue
from ugc_sr.models.catalogue import PRESETS, UNKNOWN, WEIGHTS, WORKFLOWS, find, recognise, table
from ugc_sr.sample.presets import NAMES, load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "weights.md"
LOADERS = ("ckpt_name", "encoder_name", "adapter_name", "control_net_name", "clip_name")


@pytest.mark.parametrize("entry", WEIGHTS, ids=lambda entry: entry.name)
def test_an_entry_is_complete_and_its_sources_lead_to_files_or_folders_of_google_drive(entry):
    assert entry.sha256 == UNKNOWN or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.size is None or entry.size > 10**8
    assert entry.size or entry.estimate > 10**9
    assert entry.licence
    assert entry.purpose
    assert entry.sha256 != UNKNOWN or entry.sources[0].note, "an unverified address must say what it rests on"
    for address in (entry.page, *(source.url for source in entry.sources)):
        parts = urlsplit(address)
        assert (parts.scheme, bool(parts.netloc), parts.query) == ("https", True, "")
    assert len({source.url for source in entry.sources}) == len(entry.sources)
    for source in entry.sources:
        assert bool(source.file) != bool(source.inside)
        assert not source.file or Path(source.file).suffix in (".safetensors", ".pt")
    if entry.download is None:
        assert entry.kind in ("adapter", "controlnet")
    else:  # what the host's dialog accepts
        assert entry.download.keys() == {"name", "url", "directory"}
        assert entry.download["name"].endswith(".safetensors")
        assert entry.download["url"].startswith("https://huggingface.co/")


@pytest.mark.comfy
@pytest.mark.parametrize("entry", WEIGHTS, ids=lambda entry: entry.name)
def test_an_entry_goes_into_a_folder_of_the_host(entry):
    import folder_paths

    assert entry.folder in folder_paths.folder_names_and_paths


def test_no_two_entries_are_one_file():
    assert len({(entry.name, entry.folder) for entry in WEIGHTS}) == len(WEIGHTS)
    assert len({entry.target for entry in WEIGHTS}) == len(WEIGHTS)
    known = [entry.sha256 for entry in WEIGHTS if entry.sha256 != UNKNOWN]
    assert len(set(known)) == len(known)


def test_a_checksum_finds_its_entry_and_unknown_finds_none():
    assert recognise(WEIGHTS[1].sha256) is WEIGHTS[1]
    assert recognise("0" * 64) is recognise(UNKNOWN) is None


def test_the_page_shows_the_table_as_it_is():
    assert table() in PAGE.read_text()


@pytest.mark.parametrize("graph", sorted((ROOT / "restore").glob("*.api.json")), ids=lambda graph: graph.stem)
def test_a_workflow_needs_the_files_that_its_loaders_name(graph):
    inputs = [node["inputs"] for node in json.loads(graph.read_text()).values()]
    named = {
        value for node in inputs for key, value in node.items() if key in LOADERS and isinstance(value, str)
    }
    workflow = graph.name.removesuffix(".api.json")
    needed = find([workflow]) if workflow in WORKFLOWS else []
    assert {entry.saved for entry in needed} == named


def test_every_preset_that_needs_more_than_the_bundled_model_is_known():
    assert set(PRESETS) == {name for name in NAMES if load(name).base != "nano"}
    for name in PRESETS:
        base = "sd_turbo.safetensors" if load(name).base == "sd_turbo" else "512-base-ema.safetensors"
        assert base in [entry.saved for entry in find([name])], load(name).base


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sam2", ["detection/sam2.1_hiera_tiny.safetensors"]),
        ("sam2.1_hiera_large.pt", ["detection/sam2.1_hiera_large.safetensors"]),
        ("sam2.1_hiera_large", ["detection/sam2.1_hiera_large.safetensors"]),
        ("srlab/unet", ["model_patches/srlab/unet/diffusion_pytorch_model.safetensors"]),
        ("checkpoint-90000/controlnet", ["controlnet/srlab/controlnet/diffusion_pytorch_model.safetensors"]),
        (
            "wild",
            [
                "checkpoints/512-base-ema.safetensors",
                "detection/sam2.1_hiera_tiny.safetensors",
                "model_patches/srlab/unet/diffusion_pytorch_model.safetensors",
                "controlnet/srlab/controlnet/diffusion_pytorch_model.safetensors",
            ],
        ),
    ],
)
def test_a_name_finds_its_files(name, found):
    assert [entry.target for entry in find([name])] == found


def test_names_that_overlap_give_each_file_once():
    assert len(find(["srlab", "turbo", "sam2", "ugc_wild"])) == 5


@pytest.mark.parametrize(
    ("place", "named"),
    [("custom_nodes/ugc-super-resolution", "ugc-super-resolution"), ("src/checkout", "ugc_sr")],
)
def test_the_command_names_the_folder_in_custom_nodes(tmp_path, place, named):
    package = tmp_path / place
    package.parent.mkdir(parents=True)
    package.symlink_to(Path(catalogue.__file__).parents[1], target_is_directory=True)
    program = "from importlib import import_module as load; import sys; "
    program += "print(load(sys.argv[1] + '.models.catalogue').command('turbo'))"
    said = subprocess.run(
        [sys.executable, "-c", program, package.name],
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == f"python -m {named}.models fetch turbo\n"
