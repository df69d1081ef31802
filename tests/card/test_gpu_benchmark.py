"""The benchmark for cards, at small sizes: on the CPU, on a pretended card, and on one that is too small."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.comfy

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "data" / "seesr_parity"
SMALL = [(128, 128)]


@pytest.fixture
def models():
    """Makes what the loaders give: the bundled model, and networks of Stable Diffusion 2's kind in small."""
    from comfy.taesd.taesd import TAESD

    from benchmarks import graphs, loaded, networks, parity
    from ugc_sr.models.segmenter import nano_encoder
    from ugc_sr.models.semantics import Semantics

    def make():
        spec = json.loads((FIXTURE / "spec.json").read_text())
        unet, controlnet = (parity.random_weights(spec, name) for name in ("unet", "controlnet"))
        vae = TAESD(latent_channels=4).state_dict()  # the smallest that the host knows
        vae = {name: networks.fill(name, list(like.shape)) for name, like in vae.items()}
        small = loaded.random_sd2(unet, controlnet, nano_encoder().state_dict(), vae, text_dim=96)
        # Of 256 channels, which no small encoder has.
        small.outputs["2:106"] = (Semantics(torch.rand(1, 64, 256), (8, 8), (64, 64), encoder="small"),)
        return {"nano": loaded.load("nano", graphs.node_classes()), "sd2": small}

    return make


@pytest.fixture
def gpu(monkeypatch):
    """The benchmark with few presets of two steps each, and no time to compile anything."""
    from benchmarks import gpu

    monkeypatch.setattr(gpu, "NAMES", ("wild", "turbo", "nano"))
    monkeypatch.setattr(gpu, "WARM_UP", (64, 64))
    monkeypatch.setattr(gpu, "COMPILE_S", 1e9)
    monkeypatch.setattr(gpu.Job, "steps", 2)
    return gpu


@pytest.fixture
def report_memory(monkeypatch, gpu):
    """The card's own count as PyTorch would tell it."""

    import comfy.model_management as management

    def tell(card, total):
        monkeypatch.setattr(gpu, "NAMES", ("wild", "nano"))  # enough for a card that is slow
        monkeypatch.setattr(management, "get_torch_device_name", lambda _: "a pretended card")
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: setattr(card, "peak", card.now))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: card.peak)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (total - card.now, total))

    return tell


def test_every_preset_is_measured_and_the_table_shows_it(gpu, models):
    rows = list(gpu.run(minutes=20, fixture=str(FIXTURE), sizes=SMALL, models=models()))
    by_name = {row["name"]: row for row in rows}
    names = [f"gpu-{preset}-128x128" for preset in ("nano", "wild", "turbo")]
    assert by_name.keys() >= {"gpu", "unet", "controlnet", *names, "gpu-nano-128x128-compiled"}
    assert by_name["gpu-turbo-128x128-compiled"]["skipped"].startswith("it would take about 10000000")
    for row in (by_name[name] for name in names):
        assert "error" not in row, row
        assert row["seconds"] > 0
        assert row["s_per_mp"] == pytest.approx(row["seconds"] / 0.016384, rel=0.3)
    assert by_name["gpu-wild-128x128"]["tiles"] == "1 of 128x128, 1 at once"
    assert by_name["gpu-wild-128x128"]["weights"] == "float32, random"
    table = gpu.table(rows)
    assert "| wild | 128x128 |" in table
    assert "from the original networks, within the limit of 1e-05" in table


@pytest.mark.deep
@pytest.mark.parametrize("mode", ["plain", "streamed"])
def test_a_card_is_measured_with_its_memory(gpu, models, card, report_memory, mode):
    active = card(mode)
    report_memory(active, 24 * 2**30)
    rows = {
        row["name"]: row for row in gpu.run(minutes=20, fixture=str(FIXTURE), sizes=SMALL, models=models())
    }
    for name in ("gpu-nano-128x128", "gpu-wild-128x128"):
        assert "error" not in rows[name], rows[name]
        assert 0 < rows[name]["peak_gb"] < 1
    assert rows["gpu-wild-128x128"]["weights"] == "float16, random"
    assert rows["unet"]["passed"]
    assert rows["controlnet"]["passed"]


def test_a_card_that_is_too_small_for_anything_is_reported_and_nothing_hangs(
    gpu, models, card, report_memory
):
    active = card("plain", total=2**20, limit=2**20)
    report_memory(active, 2**20)
    rows = {row["name"]: row for row in gpu.run(minutes=20, sizes=SMALL, models=models())}
    for name in ("gpu-nano-128x128", "gpu-wild-128x128"):
        assert rows[name]["error"].startswith("the card has too little memory (CUDA out of memory")
    assert "- gpu-wild-128x128: the card has too little memory" in gpu.table(list(rows.values()))


@pytest.mark.parametrize("preset", ["nano", "turbo"])
def test_a_compiled_run_has_the_hosts_node_in_front_of_the_sampler(gpu, preset):
    plain, compiled = (gpu.Job(preset, (512, 512), flag).graph(steps=2) for flag in (False, True))
    (sampler,) = [node["inputs"] for node in compiled.values() if node["class_type"] == "KSampler"]
    (before,) = [node["inputs"] for node in plain.values() if node["class_type"] == "KSampler"]
    node = compiled[sampler["model"][0]]
    assert node == {
        "class_type": "TorchCompileModel",
        "inputs": {"model": before["model"], "backend": "inductor"},
    }
    assert {**sampler, "model": before["model"]} == before


def test_seconds_are_reckoned_from_the_cells_and_pixels_that_are_worked_on(gpu):
    wild = gpu.Job("wild", (512, 512))
    assert wild.work(50) == 100 * 64 * 64  # both halves of CFG
    assert gpu.Job("turbo", (1080, 1920)).work(2) == 12 * 96 * 96
    assert gpu.Speed(cell=1e-5, megapixel=2.0).expect(wild, 50) == pytest.approx(4.096 + 0.524, abs=1e-3)


def test_no_time_leaves_everything_out_and_says_so(gpu):
    rows = list(gpu.run(minutes=0, sizes=SMALL, models={}))
    assert {row.get("skipped") for row in rows[1:]} == {"the time was over"}
    assert "- gpu-wild-128x128: the time was over" in gpu.table(rows)


@pytest.mark.parametrize("lacking", ["package", "driver"])
def test_a_host_without_a_working_comfy_aimdo_is_measured_without_dynamic_vram(card, monkeypatch, lacking):
    import comfy.cli_args

    from benchmarks import machine

    card("plain")
    monkeypatch.setattr(comfy.cli_args, "enables_dynamic_vram", lambda: True)
    if lacking == "package":
        monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
        assert machine.dynamic_vram() == "off: the package comfy_aimdo is missing"
    else:
        assert machine.dynamic_vram().startswith("off: comfy_aimdo ")


@pytest.mark.deep
def test_ctrl_c_prints_what_is_done_so_far():
    command = [sys.executable, "-m", "benchmarks", "gpu", "--device", "cpu", "--sizes", "64x64"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = json.loads(process.stdout.readline())
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert (first["name"], first["device"]) == ("gpu", "cpu")
    assert "| preset | result | seconds | s/MP |" in rest
