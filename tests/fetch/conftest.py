"""A proxy that plays the internet: the hub, Meta's host and Google Drive, at their true addresses."""

import hashlib
import html
import json
import ssl
import subprocess
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import torch
from safetensors.torch import save

from ugc_sr.models.__main__ import main

SPEC = Path(__file__).parents[1] / "data" / "seesr_parity" / "spec.json"
HUB, META, DRIVE = "https://huggingface.co", "https://dl.fbaipublicfiles.com", "https://drive.google.com"
CDN, DRIVE_FILES = "https://cdn-lfs.hf.co", "https://drive.usercontent.google.com"
MIRROR = "https://hub.mirror.example"
HOSTS = tuple(urlsplit(address).hostname for address in (HUB, META, DRIVE, CDN, DRIVE_FILES, MIRROR))
COMMIT = "c0ffee" * 6 + "beef"
PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "HF_ENDPOINT")
ASKED_TWICE_S = 0.01  # between two tries


class Server(ThreadingHTTPServer):
    """A server that prints no traceback when a client closes the connection, as one with a full disk does."""

    def handle_error(self, *details):
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(*details)


class Internet:
    """Hosts with files and folders, rules by which they misbehave, and a list of what they were asked."""

    def __init__(self, certificate):
        self.files = {}  # address without query -> content
        self.hub = {}  # address without revision -> address of the content
        self.folders = {}  # id on Drive -> name, [(name, id, whether it is a folder)]
        self.rules = defaultdict(list)  # address -> what the next answers are in place of the file
        self.asked = []  # method, address, Range
        self.tokens = []  # host, login
        self.stalled, self.go_on = threading.Event(), threading.Event()
        self.ranges = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

        class Answers(_Answers):
            world, tls = self, context

        self.server = Server(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def on_hub(self, repository, path, content):
        """Put a file there; return its address."""
        stored = f"{CDN}/{hashlib.sha256(content).hexdigest()}"
        self.files[stored] = content
        address = f"{HUB}/{repository}/resolve/main/{path}"
        self.hub[address] = stored
        return address

    def on_drive(self, folder_id, tree, name="shared"):
        """Put a folder there: {name: content, or such a folder}."""
        entries = []
        for part, content in tree.items():
            made = hashlib.sha256(f"{folder_id}/{part}".encode()).hexdigest()[:33]
            entries.append((part, made, isinstance(content, dict)))
            if isinstance(content, dict):
                self.on_drive(made, content, part)
            else:
                self.files[f"{DRIVE_FILES}/{made}"] = content
        self.folders[folder_id] = (name, entries)

    def answer(self, address, *rules):
        """Set what the next requests for the address get in place of the file, one rule each."""
        self.rules[address].extend(rules)

    @staticmethod
    def status(code, body=b"no", **headers):
        """Return a rule that answers with this status, body and headers."""
        return lambda answers, content: answers.tell(code, body, **headers)

    @staticmethod
    def cut(after):
        """Return a rule that breaks the connection after so many bytes."""

        def answer(answers, content):
            answers.send(content, count=after)
            answers.close_connection = True

        return answer

    @staticmethod
    def stall(after):
        """Return a rule that sends so many bytes, waits for `go_on`, and breaks the connection."""

        def answer(answers, content):
            def wait():
                answers.world.stalled.set()
                answers.world.go_on.wait(60)
                answers.close_connection = True

            answers.send(content, count=after, then=wait)

        return answer

    def ranges_of(self, address):
        """Return the ranges that GETs of the address asked for, None for the whole file."""
        return [asked for method, url, asked in self.asked if (method, url) == ("GET", address)]


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host = ""

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        self.host = self.path.partition(":")[0]
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_GET(self):
        parts = urlsplit(self.path)
        address = f"https://{self.host}{parts.path}"
        query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.world.asked.append((self.command, address, self.headers.get("Range")))
        if token := self.headers.get("Authorization"):
            self.world.tokens.append((self.host, token))
        if self.host == "drive.google.com":
            self._drive(parts.path, query)
            return
        address = address.replace(f"/resolve/{COMMIT}/", "/resolve/main/").replace(MIRROR, HUB)
        if self.host == "drive.usercontent.google.com":
            address = f"{DRIVE_FILES}/{query['id']}"
        if self.world.rules[address]:
            self.world.rules[address].pop(0)(self, self.world.files.get(address, b""))
        elif stored := self.world.hub.get(address):
            content = self.world.files[stored]
            self.tell(
                302,
                Location=f"{stored}?signed=1",
                X_Repo_Commit=COMMIT,
                X_Linked_Size=len(content),
                X_Linked_Etag=f'"{stored.rsplit("/", 1)[1]}"',
            )
        elif address in self.world.files:
            self.send(self.world.files[address])
        else:
            self.tell(404, b"not here")

    do_HEAD = do_GET

    def _drive(self, path, query):
        world = self.world
        if path == "/embeddedfolderview" and query["id"] in world.folders:
            name, entries = world.folders[query["id"]]
            links = [
                f'<a href="{DRIVE}/drive/folders/{made}">{html.escape(part)}</a>'
                if folder
                else f'<a href="{DRIVE}/file/d/{made}/view">{html.escape(part)}</a>'
                for part, made, folder in entries
            ]
            self.tell(200, f"<title>{name}</title>{''.join(links)}".encode(), Content_Type="text/html")
        elif path == "/uc" and world.rules[f"{DRIVE}/uc"]:
            world.rules[f"{DRIVE}/uc"].pop(0)(self, b"")
        elif path == "/uc":  # too large to look for viruses in
            form = f'<form id="download-form" action="{DRIVE_FILES}/download"><input type="hidden" name="id"'
            page = f'{form} value="{query["id"]}"><input type="hidden" name="confirm" value="t"></form>'
            self.tell(200, page.encode(), Content_Type="text/html")
        else:
            self.tell(404, b"<p>nothing</p>", Content_Type="text/html")

    def tell(self, status, body=b"", **headers):
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send(self, content, count=None, then=None):
        """Send a file or its requested range, at most `count` bytes of that; then call `then`."""
        start = 0
        asked = self.headers.get("Range") if self.world.ranges else None
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        if asked and self.headers.get("If-Range") in (None, etag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.tell(416, Content_Range=f"bytes */{len(content)}")
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.world.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", 'attachment; filename="file"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[start:][:count])
            if then:
                then()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """One that all those hosts may show, which signs itself; with its key."""
    file = tmp_path_factory.mktemp("tls") / "all.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"]
    subprocess.run([*command, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    with file.open("a") as whole:
        whole.write(Path(f"{file}.crt").read_text())
    return file


@pytest.fixture
def internet(certificate, monkeypatch):
    """All there is of it for this process and those that it starts."""
    import huggingface_hub

    from ugc_sr.fetch import http

    world = Internet(certificate)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, world.address)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, f"{certificate}.crt")
    monkeypatch.setattr(http, "PAUSE_S", ASKED_TWICE_S)
    huggingface_hub.close_session()
    yield world
    world.go_on.set()
    huggingface_hub.close_session()
    world.server.shutdown()
    world.server.server_close()


@pytest.fixture
def models(tmp_path):
    """An empty models folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def fetch(models, capsys):
    """Run the command; its status and what it says."""

    def run(*arguments, answer="--yes"):
        code = main(["fetch", *arguments, "--models", str(models), *([answer] if answer else [])])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def stored(models):
    """Every file that a node would list, by path; parts of files are none."""

    def find():
        found = (path for path in models.rglob("*.safetensors") if ".ugc_sr_fetch" not in path.parts)
        return {path.relative_to(models).as_posix(): path for path in found}

    return find


@pytest.fixture(scope="session")
def published():
    """Small networks in the layouts of the published files, as bytes of .safetensors."""
    from ugc_sr.models.segmenter import nano_encoder

    generator = torch.Generator().manual_seed(7)
    shapes = json.loads(SPEC.read_text())["keys"]

    def network(name):
        return save(
            {key: 0.1 * torch.randn(shape, generator=generator) for key, shape in shapes[name].items()}
        )

    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    base = {key: torch.ones(8, 1024), "first_stage_model.x": torch.ones(1)}
    return {
        "unet": network("unet"),
        "controlnet": network("controlnet"),
        "encoder": save({key: value.contiguous() for key, value in nano_encoder().state_dict().items()}),
        "base": save(base),
    }
