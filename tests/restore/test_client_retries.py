"""A host that is busy, goes away, forgets or is something else: what the client does then."""

import io
import json
import threading

import pytest
from PIL import Image

from ugc_sr.restore.api import ATTEMPTS, Client, RefusedError, StoppedError
from ugc_sr.restore.connection import AccessError, ServerLostError
from ugc_sr.restore.workflow import find

PICTURE = {"filename": "a.png", "subfolder": "", "type": "output"}


class Host:
    """The few addresses of ComfyUI that the client asks, with faults."""

    def __init__(self):
        self.faults = []  # status codes of the next answers, before any right one; 0 breaks the connection
        self.forgets = 0  # how many queued jobs it forgets, as a host that was started again
        self.queued, self.cancelled = [], []  # ids of jobs
        self.job = {"status": "completed", "outputs": {"3": {"images": [PICTURE]}}}

    def answer(self, path, body):
        if path == "/upload/image":
            return {"name": "a.png"}
        if path == "/prompt":
            self.queued.append(json.loads(body)["prompt_id"])
            return {}
        if path.endswith("/cancel"):
            self.cancelled.append(path.split("/")[-2])
            return {"cancelled": True}
        if path.startswith("/api/jobs/"):
            known = path.split("/")[-1] in self.queued[self.forgets :]
            return self.job if known else None
        return {"image": "fetched"}


@pytest.fixture
def host(web_server):
    """Such a host, running; `address` tells where."""
    state = Host()

    def answer(path, body):
        status = state.faults.pop(0) if state.faults else 200
        content = state.answer(path, body) if status == 200 else {}
        return 404 if content is None else status, json.dumps(content).encode()

    state.address = web_server(answer)
    return state


@pytest.fixture
def asking(host):
    """A client of it; `reports` are the lines of the client."""
    reports = []
    made = Client(host.address, patience_s=5, report=reports.append)
    made.reports = reports
    return made


def restore(client):
    return client.restore("a.png", b"png", find("quickstart"))


@pytest.mark.parametrize("fault", [0, 429, 502, 503, 504])
def test_a_host_that_is_busy_or_away_is_asked_again_and_gets_the_photo_once(host, asking, fault):
    host.faults = [200, 200, fault]  # the answer to the order is lost
    assert b"fetched" in restore(asking)
    assert len(host.queued) == 1
    assert len(asking.reports) == 2
    assert "does not answer" in asking.reports[0]
    assert asking.reports[1] == f"{host.address} answers again."


def test_an_order_that_arrived_although_its_answer_was_lost_is_not_given_again(host, asking):
    answer = host.answer

    def lose(path, body):
        told = answer(path, body)
        if path == "/prompt":
            host.faults = [0]  # the next question, which is what became of it
        return told

    host.answer = lose
    assert b"fetched" in restore(asking)
    assert len(host.queued) == 1


def test_a_host_that_was_started_again_gets_the_photo_again(host, asking):
    host.forgets = 1
    assert b"fetched" in restore(asking)
    assert len(set(host.queued)) == 2


def test_a_photo_that_ends_its_host_every_time_is_given_up(host, asking):
    host.forgets = 100
    with pytest.raises(RuntimeError, match=r"ComfyUI ended 3 times over this photo"):
        restore(asking)
    assert len(host.queued) == ATTEMPTS


def test_a_host_that_stays_away_is_given_up_in_time(host, asking):
    asking.patience_s = 0.6
    host.faults = [503] * 100
    with pytest.raises(ServerLostError, match=r"did not answer for 0.6 s \(503 Service Unavailable\)"):
        restore(asking)


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (
            {
                "status": "failed",
                "execution_error": {"node_id": "2:108", "exception_message": "out of memory"},
            },
            r"^KSampler: out of memory$",
        ),
        ({"status": "cancelled"}, r"^cancelled in ComfyUI\.$"),
        ({"status": "completed", "outputs": {}}, r"saved 0 pictures of this photo; expected one"),
        (
            {"status": "completed", "outputs": {"3": {"images": [PICTURE, PICTURE]}}},
            r"saved 2 pictures of this photo; expected one",
        ),
    ],
)
def test_a_job_without_one_picture_is_told_of_in_the_words_of_the_graph(host, asking, job, problem):
    host.job = job
    with pytest.raises(RuntimeError, match=problem):
        restore(asking)


def test_a_fault_of_the_host_is_no_reason_to_wait(host, asking):
    host.faults = [500]
    with pytest.raises(RuntimeError, match=r"ComfyUI failed: 500 Internal Server Error. Its log tells why"):
        restore(asking)
    assert asking.reports == []


def test_a_picture_that_was_deleted_is_made_again(host, asking):
    """The host remembers that it saved it, and would not do so again for the same order."""
    orders, missing = [], [True, False]
    answer = host.answer

    def lose(path, body):
        if path == "/prompt":
            orders.append(json.loads(body)["prompt"])
        if path.startswith("/view") and missing.pop(0):
            return None
        return answer(path, body)

    host.answer = lose
    assert b"fetched" in restore(asking)
    assert len(orders) == 2
    changed = {key for key in orders[0] if orders[0][key] != orders[1][key]}
    assert changed == {"3"}  # Save Image; the sampler's work is kept
    assert orders[0]["3"]["inputs"].items() < orders[1]["3"]["inputs"].items()


def test_a_picture_that_is_deleted_every_time_is_given_up(host, asking):
    answer = host.answer
    host.answer = lambda path, body: None if path.startswith("/view") else answer(path, body)
    with pytest.raises(RuntimeError, match=r"ComfyUI lost the result 3 times over this photo"):
        restore(asking)


@pytest.mark.comfy
def test_a_real_host_makes_a_picture_again_that_was_deleted(host_server, photo):
    """Its cache knows the whole graph."""
    output = host_server.log.parent / "output"
    real = Client(host_server.address)
    before = set(output.glob("*.png"))
    first = real.restore("gone.png", photo.read_bytes(), find("quickstart"))
    for file in set(output.glob("*.png")) - before:
        file.unlink()
    again = real.restore("gone.png", photo.read_bytes(), find("quickstart"))
    pixels = [Image.open(io.BytesIO(made)).tobytes() for made in (first, again)]
    assert pixels[0] == pixels[1]


def test_a_login_that_ends_meanwhile_ends_the_run(host, asking):
    host.faults = [200, 200, 200, 401]
    with pytest.raises(AccessError, match=r"lets nobody in without a login \(401"):
        restore(asking)


def test_what_is_at_work_is_cancelled_when_a_person_stops(host, asking):
    host.job = {"status": "in_progress"}
    threading.Timer(0.3, asking.stop.set).start()
    with pytest.raises(StoppedError):
        restore(asking)
    assert host.cancelled == host.queued != []


def test_a_host_of_ours_is_asked_where_it_is_after_it_ended(host):
    client = Client("http://127.0.0.1:9", patience_s=5, restart=lambda: host.address)
    assert b"fetched" in restore(client)


@pytest.mark.comfy
def test_a_real_host_refuses_nodes_that_it_does_not_know_with_what_to_do(client):
    graph = {"1": {"class_type": "UGCSR_FromTheFuture", "inputs": {}}}
    with pytest.raises(RefusedError, match=r"'UGCSR_FromTheFuture' not found.* Install UGC Super-Resolution"):
        client.queue(graph, "6e3f2c1a-8d0b-4c5e-9f21-5b7d0a64c3e2")


@pytest.mark.parametrize("path", ["/upload/image", "/api/jobs/"])
@pytest.mark.parametrize(
    "garbage",
    [*([], {}, 5, "text"), *({"status": "completed", "outputs": {"3": x}} for x in ([1], {"images": [{}]}))],
)
def test_an_answer_that_no_comfyui_gives_is_told_of_in_words(host, asking, path, garbage):
    answer = host.answer
    host.answer = lambda asked, body: garbage if asked.startswith(path) else answer(asked, body)
    with pytest.raises(RuntimeError, match=r"answers something else than a ComfyUI does \(\w+: .* the port"):
        restore(asking)
