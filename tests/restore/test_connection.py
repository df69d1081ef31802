"""Servers behind logins, proxies and limits, and servers that are none: what a person reads of them."""

import asyncio
import base64
import pickle
import socket
import ssl
import threading

import aiohttp
import pytest
from PIL import Image

from ugc_sr.restore.__main__ import main
from ugc_sr.restore.api import Client, RefusedError
from ugc_sr.restore.connection import AccessError, AnswerError, Connection, ServerLostError
from ugc_sr.restore.messages import outputs_of

SECRET = "pa:ss/w@rd"  # as it is; in an address it is written as below
WRITTEN = "pa%3Ass%2Fw%40rd"
STATS = b'{"system": {"comfyui_version": "0.30.0"}}'


@pytest.fixture
def serve(web_server):
    """Starts a server that gives one answer to all; its host and port, and the headers it got."""

    def start(status=200, content=STATS, headers=()):
        address = web_server(lambda path, body: (status, content), headers)
        return address.removeprefix("http://"), web_server.received[address]

    return start


@pytest.fixture
def client_of(serve):
    """A client of such a server."""
    return lambda login="", **answer: Client(f"http://{login}{serve(**answer)[0]}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(serve, monkeypatch, host):
    port = serve()[0].rpartition(":")[2]
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Client(f"http://{host}:{port}").version() == "0.30.0"


def test_a_server_elsewhere_is_asked_through_the_proxy(serve, monkeypatch):
    place, got = serve()
    monkeypatch.setenv("http_proxy", f"http://{place}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Client("http://comfyui.example:8188").version() == "0.30.0"
    assert got[0]["Host"] == "comfyui.example:8188"


def test_a_proxy_that_is_not_there_is_told_of_without_its_login(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(AccessError, match=r"The proxy on the way to .* says Connection refused") as error:
        Connection("http://a.example").request("/")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("login", "token", "header"),
    [
        (f"me:{WRITTEN}@", None, "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()),
        ("me@", None, "Basic bWU6"),
        ("", "abc.def\n", "Bearer abc.def"),
        (f"me:{WRITTEN}@", "abc", "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()),
        ("", None, None),
    ],
)
def test_a_login_travels_in_a_header_and_is_in_no_address(serve, login, token, header):
    place, got = serve()
    client = Client(f"http://{login}{place}/", token)
    assert client.version() == "0.30.0"
    assert got[0].get("Authorization") == header
    assert client.address == f"http://{place}"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("login", "told"),
    [
        ("", r"A login goes into the address, http://user:password@host, or a token into COMFYUI_TOKEN"),
        (f"me:{WRITTEN}@", r"The login that was sent is not taken: look at user and password, or at COM"),
    ],
)
def test_a_closed_door_says_how_to_log_in(client_of, status, login, told):
    with pytest.raises(AccessError, match=rf"lets nobody in without a login \({status} .*\)\. {told}"):
        client_of(login, status=status, content=b"").version()


@pytest.fixture
def restore(tmp_path, capsys):
    """Runs the command on one small photo; the status and all that it printed."""
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")

    def run(server):
        status = main([*f"{tmp_path}/photo.png {tmp_path}/out --patience 1 --server".split(), server])
        return status, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize(
    "address",
    [
        "http://me:{secret}@127.0.0.1:9",
        "me:{secret}@127.0.0.1:9",
        "http://me:{secret}@127.0.0.1:port",
        "http://me:{secret}@",
        "ftp://me:{secret}@127.0.0.1",
        "http://me:sl/{secret}@127.0.0.1:9",
        "http://me:qu?{secret}@127.0.0.1:9",
        "http://me:ha#{secret}@127.0.0.1:9",
        "http://me:sp ace{secret}@127.0.0.1:9",
        "http://127.0.0.1:9/?token={secret}",
    ],
)
def test_a_password_is_never_printed(restore, address):
    status, printed = restore(address.format(secret="s3cr3t"))
    assert status == 2
    assert "s3cr3t" not in printed
    assert "127.0.0.1" in printed or "--server must be an address such as" in printed


def test_a_password_is_in_no_repr(serve):
    client = Client(f"http://me:{WRITTEN}@{serve()[0]}", "t0ken")
    for thing in (client, client._connection):
        assert SECRET not in repr(thing)
        assert WRITTEN not in repr(thing)


def test_the_command_sends_the_token_of_the_environment(serve, restore, monkeypatch):
    place, got = serve(status=401, content=b"")
    monkeypatch.setenv("COMFYUI_TOKEN", "t0ken")
    status, printed = restore(place)
    assert (status, got[0]["Authorization"]) == (2, "Bearer t0ken")
    assert "t0ken" not in printed
    assert "look at user and password, or at COMFYUI_TOKEN" in printed


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_told_of_and_the_login_does_not_follow_it(serve, client_of, status):
    other, got = serve()
    headers = [("Location", f"http://{other}/login?next=secret")]
    with pytest.raises(AccessError, match=rf"on to http://127.0.0.1/login \({status}") as error:
        client_of("me:pw@", status=status, content=b"", headers=headers).version()
    assert got == []
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "content", "error", "told"),
    [
        (
            200,
            b"\n<!DOCTYPE html><title>Log in</title>",
            AccessError,
            r"answers with a web page, as a login p",
        ),
        (200, b"hello", ValueError, r"is no ComfyUI. .* answers with something that is no JSON"),
        (200, b"[]", ValueError, r"is no ComfyUI. It answers something else. Look at the port"),
        (200, b"", ValueError, r"answers with something that is no JSON"),
        (404, b"<html>", ValueError, r"is no ComfyUI. .* answers 404 Not Found"),
        (500, b"<html>", ValueError, r"ComfyUI failed: 500 Internal Server Error. Its log tells why"),
        (
            502,
            b"<html>",
            ServerLostError,
            r"No ComfyUI answers at .*: 502 Bad Gateway. Start it, or look",
        ),
    ],
)
def test_an_answer_that_is_none_of_a_comfyui_is_told_of(client_of, status, content, error, told):
    with pytest.raises(error, match=told):
        client_of(status=status, content=content).version()


def test_something_that_speaks_no_http_is_told_of():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            one, _ = listening.accept()
            with one:
                one.recv(1000)
                one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ValueError, match=r"something that is no HTTP. Look at the port, or try"):
            Client(f"http://127.0.0.1:{listening.getsockname()[1]}").version()


def test_a_server_without_tls_is_told_of(serve):
    with pytest.raises(AccessError, match=r"speaks no TLS. Try http:// in front of it"):
        Client(f"https://{serve()[0]}").version()


def test_a_certificate_that_nobody_vouches_for_is_told_of():
    unknown = ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate")
    error = aiohttp.ClientConnectorCertificateError(None, unknown)
    with pytest.raises(AccessError, match=r"can't be verified: .*self-signed .* SSL_CERT_FILE names"):
        Connection("https://127.0.0.1").fail(error)


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (b"Maximum request body size 1048576 exceeded, actual body size 1050000", r"at most 1 MB at once"),
        (b"<html>nginx", r"at most an amount that it does not tell \(ComfyUI: 100 MB\) at once"),
    ],
)
def test_a_photo_that_is_too_large_is_told_of_with_size_limit_and_flag(client_of, content, limit):
    words = rf"was sent 3(\.\d+)? MB, but takes {limit} \(413\)\. .* with --max-upload-size 5, and"
    with pytest.raises(AnswerError, match=words):
        client_of(status=413, content=content).upload_as("a.png", bytes(3 * 2**20 + 1000))


@pytest.mark.comfy
def test_a_host_of_ours_takes_what_another_refuses(client, host_server):
    """One that was started without our flag refuses what is larger than 100 MB."""
    told = Connection(host_server.address).json("/system_stats")["system"]["argv"]
    assert float(told[told.index("--max-upload-size") + 1]) >= 3 * 256
    assert client.upload_as("large.png", bytes(110 * 2**20)).startswith("large")


@pytest.mark.parametrize("progress", [None, print])
def test_a_channel_that_is_closed_to_strangers_is_told_of(client_of, progress):
    with pytest.raises(AccessError, match=r"lets nobody in without a login \(401"):
        client_of(status=401, content=b"").run({}, progress)


def test_a_node_that_fails_without_a_word_is_told_of():
    graph = {"9": {"class_type": "KSampler", "inputs": {}}}
    error = {"node_id": "9", "exception_message": "\n", "exception_type": "AssertionError"}
    with pytest.raises(RuntimeError, match=r"^KSampler: failed with AssertionError and no message\."):
        outputs_of({"status": "failed", "execution_error": error}, graph)


def test_an_order_that_a_proxy_refuses_is_not_taken_for_a_wrong_workflow(client_of):
    with pytest.raises(AnswerError, match=r"answers 400 Bad Request") as error:
        client_of(status=400, content=b"<html>bad request").queue({}, "1")
    assert not isinstance(error.value, RefusedError)


def test_a_comfyui_without_jobs_is_told_to_be_too_old(client_of):
    with pytest.raises(AnswerError, match=r"knows nothing of jobs \(404\). ComfyUI must be 0.30.0 or newer"):
        client_of(status=404, content=b"404: Not Found").job("1")


@pytest.mark.parametrize(
    "error", [ServerLostError("lost", "why"), AnswerError("no", 404, b"x"), AccessError("in")]
)
def test_errors_survive_the_way_from_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_client_works_beside_an_event_loop(client_of):
    async def notebook():
        return client_of().version()

    assert asyncio.run(notebook()) == "0.30.0"
