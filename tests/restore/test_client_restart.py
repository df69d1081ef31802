"""Fifty photos while the host is killed in the middle and started again: every one, once."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from ugc_sr.restore.server import CHECKOUT, FLAGS, find_host

pytestmark = pytest.mark.comfy

COUNT = 50


@pytest.fixture
def photos(tmp_path):
    """Fifty small ones in three folders."""
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        file = tmp_path / "in" / ("", "a", "a/b")[number % 3] / f"photo {number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(file)
    return tmp_path / "in"


@pytest.fixture
def host(tmp_path):
    """Starts the host, always on the same port and folders."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = tmp_path / "base"
    (base / "custom_nodes").mkdir(parents=True)
    (base / "custom_nodes" / "ugc_sr").symlink_to(CHECKOUT)
    options = f"--base-directory {base} --port {port} --cpu".split()
    command = [sys.executable, find_host() / "main.py", *options, *FLAGS]
    running = []

    def start():
        with (tmp_path / "host.log").open("ab") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        return running[-1]

    start.address = f"http://127.0.0.1:{port}"
    start.output = base / "output"
    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(true, seconds=300):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.deep
def test_fifty_photos_survive_a_host_that_is_killed_and_started_again(photos, host, tmp_path):
    out = tmp_path / "out"

    def results():
        return sorted(file for file in out.rglob("*") if file.is_file() and not file.name.startswith("."))

    process = host()
    wait_until(lambda: answers(host.address))
    command = [sys.executable, "-m", "ugc_sr.restore", photos, out, "--server", host.address]
    client = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(results()) >= 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in results()}
    assert 10 <= len(before) < COUNT
    host()
    said, warned = client.communicate(timeout=500)
    assert client.returncode == 0, warned
    assert said.startswith("50 restored. Results are in ")
    assert "does not answer" in warned
    assert "answers again" in warned
    # Every name, once; what was finished before was not touched.
    assert [file.relative_to(out) for file in results()] == sorted(
        file.relative_to(photos) for file in photos.rglob("*.png")
    )
    assert {file: file.stat().st_mtime_ns for file in before} == before
    # The host did no photo twice either, but for the two that it may have had at hand when it was killed.
    assert COUNT <= len(list(host.output.iterdir())) <= COUNT + 2
    for file in results():
        with Image.open(file) as result:
            assert json.loads(result.info["ugc_sr"])["photo"] == file.relative_to(out).as_posix()
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=100, check=False)
    assert (again.returncode, again.stdout) == (0, f"0 restored; 50 were there. Results are in {out}\n")
