"""Makes this checkout importable as `ugc_sr`, whatever its folder is called, and brings the real host."""

import copy
import gc
import importlib.util
import io
import json
import os
import shutil
import sys
import threading
import uuid
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
NO_BROWSER = "needs Chromium, which `make setup` could not bring"
BRINGS_BROWSER = "sudo apt-get install chromium"  # on Debian and what comes of it
# As root in a container; nothing is looked up online.
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def _load_package():
    # `python -m pytest` puts the checkout on the path, where our `nodes` would hide the host's.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    spec = importlib.util.spec_from_file_location(
        "ugc_sr", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["ugc_sr"] = module
    spec.loader.exec_module(module)


_load_package()

from ugc_sr.restore.api import Client  # noqa: E402
from ugc_sr.restore.server import find_host, running_host  # noqa: E402


def pytest_collection_modifyitems(items):
    """Tests marked `comfy` get the host, on the CPU; where there is none they fail, they are not skipped."""
    if not any(item.get_closest_marker("comfy") for item in items):
        return
    try:
        sys.path.insert(0, str(find_host()))
    except FileNotFoundError as error:
        pytest.exit(str(error), returncode=3)
    import comfy.cli_args

    comfy.cli_args.args.cpu = True


def pytest_collection_finish():
    """Set aside what was imported, so that a garbage collection by a test or by the host takes no time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """The last words are what did not run for want of a browser, and what brings one."""
    skipped = terminalreporter.stats.get("skipped", ())
    if left := [report.nodeid for report in skipped if NO_BROWSER in str(report.longrepr)]:
        terminalreporter.section(f"{len(left)} tests did not run: they need Chromium")
        for name in left:
            terminalreporter.write_line(name)
        terminalreporter.write_line(f"They will after  {BRINGS_BROWSER}")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def host_server(tmp_path_factory):
    """A real host process with this checkout, and nodes of the tests: odd images, parts that lack memory."""
    base = tmp_path_factory.mktemp("host") / "base"
    extensions = {"ugc_sr": ROOT} | {
        name: ROOT / "tests" / "data" / name for name in ("odd_images", "short_memory")
    }
    with running_host(find_host(), base, cpu=True, extensions=extensions) as host:
        yield host


@pytest.fixture(scope="session")
def browser():
    """`with browser() as running` has a headless Chromium: that of `make setup`, else an installed one."""
    own = ROOT / ".host" / "chromium" / "chromium"
    names = (str(own), "chromium", "chromium-browser", "google-chrome")
    path = next((found for found in map(shutil.which, names) if found), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_BROWSER)
    needs = {"LD_LIBRARY_PATH": str(own.parent / "lib"), "FONTCONFIG_PATH": str(own.parent)}

    @contextmanager
    def start():
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            environment = os.environ | needs if path == str(own) else None
            running = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS, env=environment)
            yield running
            running.close()

    return start


@pytest.fixture
def client(host_server):
    return Client(host_server.address)


@pytest.fixture
def pictures(client):
    """Gives the pictures that an output node made."""
    return lambda output: [Image.open(io.BytesIO(client.fetch(made))) for made in output["images"]]


@pytest.fixture
def upload_anew(client):
    """Uploads a file under a new name, so that the host has no result to reuse; gives the name."""
    return lambda file: client.upload_as(f"{uuid.uuid4()}.png", file.read_bytes())


@pytest.fixture
def web_server():
    """Starts a server that answers requests by answer(path, body) -> (status, content); gives its address.

    A status of 0 breaks the connection. `received` has the headers of all requests, by address.
    """
    with ExitStack() as running:

        def start(answer, headers=()):
            class Answers(BaseHTTPRequestHandler):
                def do_GET(self):
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    start.received[address].append(dict(self.headers))
                    status, content = answer(self.path, body)
                    if not status:
                        self.close_connection = True
                        return
                    self.send_response(status)
                    for name, value in (*headers, ("Content-Length", str(len(content)))):
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)

                do_POST = do_GET

                def log_message(self, *_):
                    pass

            server = running.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Answers))
            address = f"http://127.0.0.1:{server.server_port}"
            start.received[address] = []
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            running.callback(server.shutdown)
            return address

        start.received = {}
        yield start


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """A 40x24 photo with smooth and sharp parts."""
    picture = Image.linear_gradient("L").resize((40, 24)).convert("RGB")
    picture.paste((200, 40, 30), (8, 6, 20, 18))
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    picture.save(file)
    return file


@pytest.fixture(scope="session")
def wide_photo(tmp_path_factory):
    """A photo whose result is cut by the host's tiled VAE and by tiles of half its size."""
    picture = Image.radial_gradient("L").resize((170, 60)).convert("RGB")
    picture.paste((200, 40, 30), (20, 10, 60, 40))
    file = tmp_path_factory.mktemp("photo") / "wide.png"
    picture.save(file)
    return file


def _for_a_photo(workflow):
    graph = json.loads((ROOT / "restore" / f"{workflow}.api.json").read_text())

    def make(name):
        made = copy.deepcopy(graph)
        made["1"]["inputs"]["image"] = name
        return made

    return make


@pytest.fixture(scope="session")
def quickstart():
    """Makes the shipped quick-start graph, in API format, for an uploaded photo."""
    return _for_a_photo("quickstart")


@pytest.fixture(scope="session")
def anatomy():
    """The same laid open: its nodes have numbers of their own, which tests change it by."""
    return _for_a_photo("anatomy")
