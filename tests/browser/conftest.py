"""The editor in a headless Chromium, by the frontend that ComfyUI brings and by the newest one there is."""

import os
import re
import subprocess
import sys
import zipfile
from contextlib import ExitStack

import pytest

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import find_host, running_host

PACKAGE = "comfyui-frontend-package"
READY = "() => Boolean(window.app?.graph && window.LiteGraph?.registered_node_types?.UGCSR_FinishImage)"
# No newcomer: those are shown templates and a tour first.
SETTINGS = {"Comfy.TutorialCompleted": "true", "Comfy.OnboardingCoachmarks.Seen": '["appMode"]'}
SETTINGS |= {"LiteGraph.Canvas.MaximumFps": "20"}  # the processor draws
# What ComfyUI's own templates look like: many pictures.
OTHERS = re.compile(r"/templates/.*\.(webp|mp4|mp3|png)")
WAIT_S = 60  # for anything; the longest takes 5 s on an idle machine


# Of one file: while Playwright runs, its event loop is in the way of tests that start another.
@pytest.fixture(scope="module")
def chromium(browser):
    with browser() as running:
        yield running


@pytest.fixture(scope="session", params=["bundled", pytest.param("newest", marks=pytest.mark.deep)])
def editor_host(request, host_server, photo, tmp_path_factory):
    """A host whose editor is one of both; it has the photo which the files name."""
    with ExitStack() as running:
        host = host_server
        if request.param == "newest":
            root = _fetched(tmp_path_factory.mktemp("frontend"))
            base = tmp_path_factory.mktemp("newest") / "base"
            flags = ("--front-end-root", str(root))
            host = running.enter_context(running_host(find_host(), base, cpu=True, flags=flags))
        assert Client(host.address).upload_as("example.png", photo.read_bytes()) == "example.png"
        yield host


def _fetched(folder):
    """The newest frontend of the registry; skips where there is no way to it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip  # as for the browser itself
        missing(f"the newest {PACKAGE} could not be fetched: {done.stderr.strip()[-200:]}")
    (wheel,) = folder.glob("*.whl")
    print(f"the newest frontend is {wheel.name}")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "comfyui_frontend_package" / "static"


@pytest.fixture
def client(editor_host):
    return Client(editor_host.address)


@pytest.fixture(scope="module")
def page(chromium, editor_host, photo):
    page = chromium.new_page(viewport={"width": 1600, "height": 900})
    page.set_default_timeout(WAIT_S * 1000)
    for name, value in SETTINGS.items():
        page.request.post(f"{editor_host.address}/settings/{name}", data=value)
    page.route(OTHERS, lambda route: route.fulfill(path=photo))
    page.goto(editor_host.address)
    page.wait_for_function(READY)
    yield page
    page.close()
