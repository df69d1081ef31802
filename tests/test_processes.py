"""No command leaves a process behind, whatever ends it."""

import ast
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from uuid import uuid4

import numpy as np
import psutil
import pytest
from PIL import Image

from ugc_sr import processes
from ugc_sr.restore.server import CHECKOUT
from ugc_sr.train.photos import TRAINING

START_S = 300  # on a busy machine; seconds on an idle one
END_S = 10  # on an idle machine
LEAST_LOAD = 3  # other tests run beside these
MARK = "UGCSR_TEST_STARTED"  # a variable that all get whom the command starts
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
WORKER, HOST, RAY = "multiprocessing", "--base-directory", "ray::Map"  # in the words of a child's command

WORK = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import sleep
from ugc_sr.processes import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=get_context({method!r}), initializer=end_with_parent) as pool:
        list(pool.map(sleep, [600, 600]))
"""
SERVE = """
import sys
from pathlib import Path
from time import sleep
from ugc_sr.restore.server import running_host
with running_host(Path(sys.argv[1]), Path(sys.argv[2]), cpu=True):
    sleep(600)
"""
SERVER = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
port = int(sys.argv[sys.argv.index("--port") + 1])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@contextmanager
def started(folder, *command):
    """The command as a shell starts it, and what gives all its processes; they are ended afterwards."""
    mark = uuid4().hex
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=CHECKOUT if "benchmarks" in command else folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    seen = set()

    def family():
        """Its children and theirs, and those with the mark, whoever is their parent by now."""
        with suppress(psutil.NoSuchProcess):
            seen.update(psutil.Process(process.pid).children(recursive=True))
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.pid != process.pid and one.environ().get(MARK) == mark:
                    seen.add(one)
        return {one for one in seen if runs(one)}

    try:
        yield process, family
    finally:
        process.kill()
        process.wait()
        for one in family():
            one.kill()


def runs(process):
    """Whether it does anything still; what nobody has asked for its exit status does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def words(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def check(folder, number, kind, count, *command):
    """The command, once it has `count` children of a kind and a second for them, gets the signal."""
    with started(folder, *command) as (process, family):
        assert ended(
            lambda: process.poll() is not None or sum(kind in words(one) for one in family()) >= count,
            START_S,
        )
        time.sleep(1)
        assert family()
        assert process.poll() is None, (folder / "said").read_text()
        process.send_signal(number)
        limit = END_S * max(LEAST_LOAD, os.getloadavg()[0])
        ended(lambda: process.poll() is not None and not family(), limit)
        assert process.poll() is not None
        assert [words(one) for one in family()] == []


@BOTH
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_end_with_the_process_that_started_them(tmp_path, number, method):
    (tmp_path / "work.py").write_text(WORK.format(method=method))
    check(tmp_path, number, "work.py" if method == "fork" else WORKER, 2, tmp_path / "work.py")


@BOTH
def test_a_host_ends_with_all_that_it_started_when_its_client_is_killed(tmp_path, number):
    (tmp_path / "main.py").write_text(SERVER)
    (tmp_path / "serve.py").write_text(SERVE)
    check(tmp_path, number, "sleep(600)", 1, tmp_path / "serve.py", tmp_path, tmp_path / "base")


def test_the_guard_of_a_ray_whose_driver_has_ended_kills_what_is_named_and_nothing_else():
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    named, other, ended = (subprocess.Popen(sleep) for _ in range(3))
    ended.kill()
    ended.wait()
    try:
        numbers = [str(process.pid) for process in (named, ended)]
        guard = [sys.executable, "-c", processes._GUARD, *numbers]
        subprocess.run(guard, stdin=subprocess.DEVNULL, timeout=60, check=True)
        assert named.wait(timeout=10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        named.kill()
        other.kill()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Enough of them that no command is done before it is ended."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for role, side in (("hr", 384), ("lr", 96)):
        (folder / role).mkdir()
        for index in range(60):
            picture = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
            picture.save(folder / role / f"{index}.png")
    for source in TRAINING:
        (folder / source.folder).mkdir(parents=True, exist_ok=True)
        for name in source.names:
            (folder / source.folder / name).symlink_to(folder / "hr" / "0.png")
    return folder


COMMANDS = {
    "degrade": (WORKER, 2, "-m ugc_sr.degrade {photos}/hr {out} --workers 2 --per-image 99"),
    "degrade by Ray": (RAY, 1, "-m ugc_sr.degrade {photos}/hr {out} --engine ray --per-image 99"),
    "training pairs": ("ugc_sr.train.pairs", 2, "-m ugc_sr.train.pairs {photos} {out} --untaught"),
    "benchmarks": (WORKER, 2, "-m benchmarks degrade"),
    "train": (
        WORKER,
        3,  # the server that forks them, and two workers
        "-m ugc_sr.train regression --out {out} --data pairs={photos} --workers 2 --cpu --set"
        " regression.steps=99999 regression.crop=12 regression.options.width=8 regression.options.blocks=2",
    ),
    "restore": (HOST, 1, "-m ugc_sr.restore {photos}/lr {out}"),
    "restore by Ray": (HOST, 1, "-m ugc_sr.restore {photos}/lr {out} --engine ray --workers 1"),
    "demo": (HOST, 1, "-m ugc_sr.restore.demo --photo {photos}/lr/0.png --out {out}"),
    "tune": (HOST, 1, "-m ugc_sr.tune {photos}/lr {photos}/hr --out {out} --perception hf_ratio"),
}


@BOTH
@pytest.mark.comfy
@pytest.mark.deep
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_leaves_no_process_behind(tmp_path, photos, name, number):
    kind, count, command = COMMANDS[name]
    places = {"photos": photos, "out": tmp_path / "out"}
    check(tmp_path, number, kind, count, *(word.format(**places) for word in command.split()))


# What starts processes, and what makes them end with us.
STARTS = {
    "tools/benchmarks/degrade.py": "start_worker",
    "degrade/dataset/local_engine.py": "start_worker",
    "train/data/loader.py": "start_worker",
    "train/pairs.py": "start_worker",
    "restore/server.py": "ENDS_WITH_US",
    "processes.py": "_guards.append",
}
STARTERS = {"ProcessPoolExecutor", "DataLoader", "Popen", "Process", "Pool", "ray.init"}


def test_all_that_starts_processes_is_known():
    found = set()
    for path in (*CHECKOUT.glob("*.py"), *CHECKOUT.glob("[!.]*/**/*.py")):
        name = path.relative_to(CHECKOUT).as_posix()
        if name.startswith("tests/"):
            continue
        source = path.read_text()
        calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        called = {getattr(call, "attr", getattr(call, "id", None)) for call in calls} | set(
            map(ast.unparse, calls)
        )
        if called & STARTERS:
            found.add(name)
            assert STARTS.get(name, "?") in source, name
    assert found == set(STARTS)
