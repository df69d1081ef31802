"""The editor in a headless Chromium, by the frontend that ComfyUI brings and by the newest one there is."""

import io
import re
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import find_host, running_host

PACKAGE = "comfyui-frontend-package"
READY = "() => Boolean(window.app?.graph && window.LiteGraph?.registered_node_types?.UGCSR_FinishImage)"
# No newcomer: those are shown templates and a tour first.
SETTINGS = {"Comfy.TutorialCompleted": "true", "Comfy.OnboardingCoachmarks.Seen": '["appMode"]'}

OTHERS = re.compile(
    r"/templates/.*\.(webp|mp4|mp3|png)"
)  # what ComfyUI's own templates look like: many pictures


@pytest.fixture(scope="session")
def chromium(browser):
    with browser() as running:
        yield running


@pytest.fixture(scope="session", params=["bundled", pytest.param("newest", marks=pytest.mark.deep)])
def editor_host(request, host_server, tmp_path_factory):
    """A host whose editor is one of both; it has the photo which the files name."""
    if request.param == "bundled":
        yield _with_photo(host_server)
        return
    root = _fetched(tmp_path_factory.mktemp("frontend"))
    base = tmp_path_factory.mktemp("newest") / "base"
    with running_host(find_host(), base, cpu=True, flags=("--front-end-root", str(root))) as host:
        yield _with_photo(host)


def _fetched(folder):
    """The newest frontend of the registry; skips where there is no way to it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"the newest {PACKAGE} could not be fetched: {done.stderr.strip()[-200:]}")
    (wheel,) = folder.glob("*.whl")
    print(f"the newest frontend is {wheel.name}")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "comfyui_frontend_package" / "static"


def _with_photo(host):
    assert Client(host.address).upload_as("example.png", _png()) == "example.png"
    return host


def _png():
    picture = Image.linear_gradient("L").resize((40, 24)).convert("RGB")
    picture.paste((200, 40, 30), (8, 6, 20, 18))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def client(editor_host):
    return Client(editor_host.address)


@pytest.fixture(scope="module")
def page(chromium, editor_host):
    page = chromium.new_page(viewport={"width": 1600, "height": 900})
    page.set_default_timeout(300_000)
    for name, value in SETTINGS.items():
        page.request.post(f"{editor_host.address}/settings/{name}", data=value)
    page.route(OTHERS, lambda route: route.fulfill(body=_png(), content_type="image/png"))
    page.goto(editor_host.address)
    page.wait_for_function(READY)
    yield page
    page.close()
