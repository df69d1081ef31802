"""Starting a host process, and what is told when that fails."""

import time
from pathlib import Path

import pytest
import torch

from ugc_sr.restore.server import OwnHost, accelerator, find_host, running_host

# The beginning of a ComfyUI that answers, whatever it is asked.
ANSWERS = """
import http.server, sys
address = "127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
"""


def test_a_folder_without_comfyui_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"There is no ComfyUI in .* Run make setup, or set COM"):
        find_host()


def test_a_host_that_dies_at_its_start_is_told_with_its_last_words(tmp_path):
    (tmp_path / "main.py").write_text("raise SystemExit('no such flag')")
    with (
        pytest.raises(RuntimeError, match=r"ended with status 1 at its start:\nno such flag"),
        running_host(tmp_path, tmp_path / "base", cpu=True),
    ):
        pass


@pytest.mark.parametrize("own", [False, True])
def test_work_that_fails_because_the_host_died_is_told_with_its_last_words(tmp_path, own):
    one = "http.server.HTTPServer(address, Answer).handle_request()\nsys.exit('out of memory')\n"
    (tmp_path / "main.py").write_text(ANSWERS + one)
    (tmp_path / "models").mkdir()

    def fail_beside_it():
        with OwnHost(tmp_path) if own else running_host(tmp_path, tmp_path / "base", cpu=True) as running:
            (running.host if own else running).process.wait(timeout=10)
            raise ConnectionError("refused")

    with pytest.raises(RuntimeError, match=r"ComfyUI ended with status 1:\n(.*\n)?out of memory"):
        fail_beside_it()


def test_work_that_fails_beside_a_host_that_runs_keeps_its_own_words(tmp_path):
    (tmp_path / "main.py").write_text(ANSWERS + "http.server.HTTPServer(address, Answer).serve_forever()\n")
    with pytest.raises(RuntimeError, match="my own"), running_host(tmp_path, tmp_path / "base", cpu=True):
        raise RuntimeError("my own")


def test_a_host_ends_with_everything_that_it_started(tmp_path):
    child = (
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    )
    child += "open('child', 'w').write(str(child.pid))\n"
    serve = "http.server.HTTPServer(address, Answer).serve_forever()\n"
    (tmp_path / "main.py").write_text(ANSWERS + child + serve)
    with running_host(tmp_path, tmp_path / "base", cpu=True) as host:
        assert host.process.poll() is None
    assert host.process.poll() is not None
    child = tmp_path / "child"
    deadline = time.monotonic() + 5
    while _runs(child.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child.read_text())


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", ["cuda", "xpu", "npu", "backends.mps", None])
def test_a_host_of_ours_computes_on_the_cpu_only_where_there_is_no_accelerator(monkeypatch, tmp_path, kind):
    class Device:
        @staticmethod
        def is_available():
            return True

        @staticmethod
        def get_device_name():
            return "a card"

    for name in ("cuda", "xpu", "backends.mps"):
        monkeypatch.setattr(f"torch.{name}.is_available", lambda: False)
    if kind:
        owner, _, name = f"torch.{kind}".rpartition(".")
        monkeypatch.setattr(torch.backends if "backends" in owner else torch, name, Device, raising=False)
    assert accelerator() == {None: None, "backends.mps": "Apple GPU"}.get(kind, "a card")
    (tmp_path / "main.py").write_text("import sys; raise SystemExit(' '.join(sys.argv))")
    with (
        pytest.raises(RuntimeError, match="ended with status 1") as told,
        running_host(tmp_path, tmp_path / "base"),
    ):
        pass
    assert ("--cpu" in str(told.value).split()) == (kind is None)
