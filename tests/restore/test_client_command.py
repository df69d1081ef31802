"""`python -m ugc_sr.restore` through the real host: what comes out, what is told, and the exit status."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
import uuid

import pytest
from PIL import Image, ImageCms

from ugc_sr.console import version
from ugc_sr.restore.__main__ import main
from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ANATOMY = CHECKOUT / "restore" / "anatomy.api.json"


@pytest.fixture
def photos(tmp_path):
    """Three photos in two folders, one of them broken, and a note."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.linear_gradient("L").resize((6, 10)).convert("RGB")
    picture.save(tmp_path / "in" / "holiday ü.jpg", exif=exif, icc_profile=SRGB)
    picture.save(tmp_path / "in" / "sub" / "b.webp")
    (tmp_path / "in" / "sub" / "broken.jpg").write_text("no picture")
    (tmp_path / "in" / "notes.txt").write_text("milk")
    return tmp_path / "in"


@pytest.fixture
def restore(host_server, tmp_path, photos, capsys):
    """Runs the command on the real host; gives the exit status and what it said."""

    def run(*arguments, out=tmp_path / "out", server=host_server.address):
        status = main([str(photos), str(out), "--server", server, *map(str, arguments)])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def process(host_server, tmp_path, photos):
    """Starts the command as a process of its own."""

    def start(*arguments, **options):
        command = [sys.executable, "-m", "ugc_sr.restore", photos, tmp_path / "out", "--server"]
        return subprocess.Popen(
            [*command, host_server.address, *arguments], stderr=subprocess.PIPE, text=True, **options
        )

    return start


def files(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_a_folder_comes_out_with_its_names_and_with_what_made_it(restore, photos, tmp_path):
    status, said, warned = restore("--seed", 7, "--scale", 2)
    assert status == 1  # for the broken one
    out = tmp_path / "out"
    assert said.splitlines() == [
        f"2 restored; 1 failed. Results are in {out}",
        "failed: 1 (sub/broken.jpg)",
        "passed over, no photos by their names: 1 (notes.txt)",
    ]
    assert warned.startswith("sub/broken.jpg: not a photo that can be read; expected one of JPEG, PNG")
    assert files(out) == ["holiday ü.png", "sub/b.png"]
    result = Image.open(out / "holiday ü.png")
    assert result.size == (20, 12)  # upright, twice as large
    assert result.info["icc_profile"] == SRGB
    story = json.loads(result.info["ugc_sr"])
    nano = (CHECKOUT / "models" / "bundled" / "nano.safetensors").read_bytes()
    assert story | {"comfyui": "", "graph_sha256": ""} == {
        "version": version(),
        "comfyui": "",
        "workflow": "quickstart",
        "preset": "nano",
        "scale": 2.0,
        "seed": 7,
        "weights": {"nano.safetensors": hashlib.sha256(nano).hexdigest()},
        "graph_sha256": "",
        "photo": "holiday ü.jpg",
        "photo_sha256": hashlib.sha256((photos / "holiday ü.jpg").read_bytes()).hexdigest(),
    }
    # The editor opens what the host saved, with the values that were used.
    assert json.loads(result.info["prompt"])["2:108"]["inputs"]["seed"] == 7
    (restored,) = (node for node in json.loads(result.info["workflow"])["nodes"] if node["id"] == 2)
    assert restored["widgets_values"] == [2.0, 0.75, "wavelet", 1024]

    before = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    status, said, warned = restore("--seed", 7, "--scale", 2)
    assert (status, said) == (2, "")
    assert "is there already, and 1 more. Add --resume to go on" in warned
    (photos / "sub" / "broken.jpg").unlink()
    status, said, warned = restore("--seed", 7, "--scale", 2, "--resume")
    assert (status, warned) == (0, "")
    assert said.startswith(f"0 restored; 2 were there. Results are in {out}\npassed over")
    assert {name: (out / name).stat().st_mtime_ns for name in files(out)} == before


def test_a_node_that_fails_is_told_of_for_its_photo_and_the_rest_goes_on(restore, photos, tmp_path):
    (photos / "sub" / "broken.jpg").unlink()
    graph = json.loads(ANATOMY.read_text())
    graph["20"] = {"class_type": "OddImage", "inputs": {"kind": "NaN"}}
    graph["3"]["inputs"]["image"] = ["20", 0]
    (tmp_path / "odd.json").write_text(json.dumps(graph))
    status, said, warned = restore("--workflow", tmp_path / "odd.json")
    assert (status, warned.count("Prepare Photo: 'image' holds NaN")) == (1, 2)
    assert said.startswith("0 restored; 2 failed. ")
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"class_type": "UGCSR_PreparePhotoV0"}, r"not found"),
        ({"inputs": {"image": ["1", 0]}}, r"Prepare Photo: Required input is missing: scale"),
    ],
)
def test_a_workflow_that_the_host_does_not_take_is_told_of_once(restore, tmp_path, change, problem):
    graph = json.loads(ANATOMY.read_text())
    graph["3"] |= change
    (tmp_path / "old.json").write_text(json.dumps(graph))
    status, said, warned = restore("--workflow", tmp_path / "old.json")
    assert (status, warned.count(problem)) == (2, 1)
    assert said.startswith("0 restored")
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("arguments", "server", "problem"),
    [
        ("--engine ray", None, "--engine ray starts a ComfyUI on each worker; leave out --server"),
        ("--workflow gone", None, "--workflow gone: no such file and no such name"),
        ("--preset wild", None, "--preset: workflow 'quickstart' has no Restoration Preset"),
        ("", "127.0.0.1:9", "No ComfyUI answers at http://127.0.0.1:9: Connection refused. Start it, or"),
        ("", "here there", "--server must be an address such as http://127.0.0.1:8188, got here there."),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(restore, tmp_path, arguments, server, problem):
    status, said, warned = restore(*arguments.split(), **({"server": server} if server else {}))
    assert (status, said) == (2, "")
    assert warned.startswith(problem)
    assert warned.count("\n") == 1
    assert files(tmp_path / "out") == []


def test_an_output_that_cannot_be_written_to_is_told_of_before_the_host_is_asked(restore, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, said, warned = restore(out=tmp_path / "file" / "out", server="127.0.0.1:9")
    assert (status, said) == (2, "")
    assert warned == f"OUT '{tmp_path}/file/out' can't be written to: Not a directory.\n"


def test_ray_that_is_missing_is_named_with_what_installs_it(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python notes a module that isn't there
    assert main([str(photos), str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert 'pip install "ugc-super-resolution[cluster]"' in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_leaves_only_whole_results(process, tmp_path):
    limit = 500  # no file may grow beyond it, as on a full disk; a result is larger

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    client = process(preexec_fn=small_disk)
    warned = client.communicate(timeout=120)[1]
    assert client.returncode == 1
    assert "File too large. Once that is mended, the same command with --resume goes on.\n" in warned
    assert files(tmp_path / "out") == []


@pytest.mark.deep
def test_ctrl_c_leaves_the_queue_of_the_host_empty_and_can_be_resumed(
    process, restore, client, anatomy, photo, tmp_path
):
    graph = anatomy(client.upload(photo))
    for seed in range(200):  # another person's work, which keeps the host busy
        graph["9"]["inputs"]["seed"] = seed
        client.queue(graph, str(uuid.uuid4()))
    ours = process()

    def waiting():
        return "holiday" in urllib.request.urlopen(f"{client.address}/queue").read().decode()

    deadline = time.monotonic() + 60
    while not waiting() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert waiting()
    os.kill(ours.pid, signal.SIGINT)
    warned = ours.communicate(timeout=60)[1]
    assert (ours.returncode, "Stopped. The same command with --resume goes on." in warned) == (130, True)
    assert not waiting()
    urllib.request.urlopen(f"{client.address}/queue", json.dumps({"clear": True}).encode()).close()
    assert files(tmp_path / "out") == []
    assert restore("--resume")[1].startswith("2 restored")
