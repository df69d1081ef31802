"""A client of ComfyUI's HTTP API: it uploads photos, runs graphs, and downloads pictures."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from ..files import brief
from ..sample.presets import Graph
from .connection import AccessError, AnswerError, Connection, ServerLostError, finish
from .messages import outputs_of, refusal
from .progress import Progress, with_progress
from .workflow import Workflow, anew

Answer = TypeVar("Answer")

ATTEMPTS = 3  # so that a photo that crashes its host is given up
POLL_S = (0.05, 1.0, 1.1)  # first pause, longest pause, growth
RETRY_S = (0.5, 10.0, 2.0)


class RefusedError(RuntimeError):
    """The host did not queue a graph: a node or a file of weights is missing, or a value is wrong."""


class StoppedError(Exception):
    """The user stopped the work."""


class Client:
    """A client of one host.

    Its methods raise ServerLostError, AccessError and AnswerError as `Connection` does.

    Args:
        address: address of the host.
        token: as for `Connection`.
        patience_s: seconds for which `run` and `restore` repeat requests while the host does not answer.
        report: called with a line when the connection is lost, and when it is restored.
        stop: once it is set, `run` and `restore` cancel their work and raise StoppedError.
        restart: restarts the host if it has ended, and returns its address; None if others run the host.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        patience_s: float = 0,
        report: Callable[[str], None] = lambda _: None,
        stop: threading.Event | None = None,
        restart: Callable[[], str] | None = None,
    ) -> None:
        self._connection = Connection(address, token)
        self.patience_s, self.report, self.restart = patience_s, report, restart
        self.stop = stop or threading.Event()

    @property
    def address(self) -> str:
        """The address without name and password."""
        return self._connection.address

    def upload(self, photo: Path) -> str:
        """Upload a picture to the host's input folder; return its name for Load Image."""
        return self.upload_as(photo.name, photo.read_bytes())

    def upload_as(self, name: str, content: bytes) -> str:
        """Upload a file's content; return its name, with a number added if another file has that name."""
        boundary = uuid.uuid4().hex
        quoted = name.translate({ord(letter): f"%{ord(letter):02X}" for letter in '"\r\n'})
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{quoted}"'
        body = f"{head}\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        form = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._connection.json("/upload/image", body, form)["name"]

    def node_definitions(self) -> dict[str, Any]:
        """Return node id -> definition, for every node of the host."""
        return self._connection.json("/object_info")

    def version(self) -> str:
        """Return the version of ComfyUI; this also checks the address.

        Raises:
            ServerLostError: if it does not answer.
            ValueError: if another kind of server answers.
        """
        try:
            return self._connection.json("/system_stats")["system"]["comfyui_version"]
        except ServerLostError as error:
            raise ServerLostError(
                f"No ComfyUI answers at {self.address}: {error.reason}. "
                "Start it, or look at the address and port; without --server one is started here.",
                error.reason,
            ) from None
        except (AnswerError, LookupError, TypeError) as error:
            why = str(error) if isinstance(error, AnswerError) else "It answers something else."
            raise ValueError(f"{self.address} is no ComfyUI. {why} Look at the port.") from None

    def run(self, graph: Graph, progress: Progress | None = None) -> dict[str, dict[str, Any]]:
        """Run a graph to its end.

        Returns:
            Node id -> output, for each node that saved or displayed something.

        Raises:
            RefusedError: if the host refuses the graph.
            RuntimeError: if a node fails, with its message, or the host forgets the graph.
        """
        job = self._run(graph, progress)
        if job is None:
            raise RuntimeError("ComfyUI ended before the graph was done. Its log tells why.")
        return outputs_of(job, graph)

    def restore(self, name: str, png: bytes, workflow: Workflow, progress: Progress | None = None) -> bytes:
        """Return the content of the file that a workflow saves for a photo.

        The workflow runs again if the host has ended meanwhile, or has cached a file that was deleted.

        Args:
            name: the host stores the photo under this name.
            png: the photo.
            workflow: loads one photo and saves one.
            progress: called while nodes run.

        Raises:
            RefusedError: if the host refuses the workflow.
            RuntimeError: if a node fails, or the host ends or loses the result three times.
            StoppedError: if `stop` was set.
        """
        try:
            return self._restore(name, png, workflow, progress)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RuntimeError(
                f"{self.address} answers something else than a ComfyUI does "
                f"({type(error).__name__}: {brief(str(error))}). Look at the address and the port."
            ) from error

    def fetch(self, picture: dict[str, str]) -> bytes:
        """Download a picture that `run` returned; return the file's content."""
        return self._connection.request("/view?" + urllib.parse.urlencode(picture))

    def queue(
        self, graph: Graph, prompt: str, client: str | None = None, editor: dict[str, Any] | None = None
    ) -> None:
        """Queue a graph.

        Args:
            graph: what to run.
            prompt: the id to find it by, a UUID.
            client: id of the websocket that receives the progress.
            editor: the graph in the editor's format, which is stored in the saved pictures.

        Raises:
            RefusedError: if the host refuses it.
            AnswerError: if the request fails otherwise.
        """
        order: dict[str, Any] = {"prompt": graph, "prompt_id": prompt}
        if client:
            order["client_id"] = client
        if editor:
            order["extra_data"] = {"extra_pnginfo": {"workflow": editor}}
        try:
            self._connection.json("/prompt", json.dumps(order).encode(), {"Content-Type": "application/json"})
        except AnswerError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
            with suppress(ValueError):  # the answer isn't ComfyUI's own
                raise RefusedError(refusal(json.loads(error.content), graph)) from error
            raise

    def job(self, prompt: str) -> dict[str, Any] | None:
        """Return the state of a queued graph; None if the host doesn't know it, as after a restart.

        Returns:
            `status`: pending, in_progress, completed, failed or cancelled; `outputs` by node id;
            `execution_error`.

        Raises:
            AnswerError: if the host fails, or is too old to have this API.
        """
        try:
            return self._connection.json(f"/api/jobs/{prompt}")
        except AnswerError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            try:
                json.loads(error.content)  # "Job not found"
            except ValueError:
                raise AnswerError(
                    f"{self.address} knows nothing of jobs (404). ComfyUI must be 0.30.0 or newer."
                ) from error
            return None

    def _restore(self, name: str, png: bytes, workflow: Workflow, progress: Progress | None) -> bytes:
        problem = "ended"
        for _ in range(ATTEMPTS):
            graph, editor = workflow.for_photo(self._retry(self.upload_as, name, png))
            if problem != "ended":
                graph = anew(graph, workflow.end)
            job = self._run(graph, progress, editor)
            if job is None:
                continue
            pictures = outputs_of(job, graph).get(workflow.end, {}).get("images", ())
            if len(pictures) != 1:
                raise RuntimeError(
                    f"the workflow saved {len(pictures)} pictures of this photo; expected one."
                )
            picture = {key: pictures[0][key] for key in ("filename", "subfolder", "type")}
            try:
                return self._retry(self.fetch, picture)
            except AnswerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                problem = "lost the result"
        raise RuntimeError(f"ComfyUI {problem} {ATTEMPTS} times over this photo. Its log tells why.")

    def cancel(self, prompt: str) -> None:
        """Cancel a queued graph, running or waiting."""
        self._connection.request(f"/api/jobs/{prompt}/cancel", b"")

    def _run(
        self, graph: Graph, progress: Progress | None, editor: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Return the job of a graph once it has ended; None if the host no longer knows it."""
        prompt = str(uuid.uuid4())

        def work(client: str | None = None) -> dict[str, Any] | None:
            self._retry(self._queue_once, graph, prompt, client, editor)
            for pause in _pauses(*POLL_S):
                job = self._retry(self.job, prompt)
                if job is None or job["status"] not in ("pending", "in_progress"):
                    return job
                if self.stop.wait(pause):
                    with suppress(ServerLostError, AccessError, AnswerError):
                        self.cancel(prompt)
                    raise StoppedError
            return None

        if not progress:
            return work()
        return finish(with_progress(self._connection, work, self.stop, graph, progress))

    def _queue_once(self, graph: Graph, prompt: str, *details: Any) -> None:
        if self.job(prompt) is None:  # the host may have queued it before the connection was lost
            self.queue(graph, prompt, *details)

    def _retry(self, request: Callable[..., Answer], *details: Any) -> Answer:
        """Return the answer to a request that can be repeated safely.

        Raises:
            ServerLostError: if the host does not answer for `patience_s`.
            StoppedError: if `stop` was set meanwhile.
        """
        if not self.patience_s:
            return request(*details)
        lost_at: float | None = None
        for pause in _pauses(*RETRY_S):
            try:
                answer = request(*details)
            except ServerLostError as error:
                lost_at = self._report_lost(error, lost_at)
            else:
                if lost_at is not None:
                    self.report(f"{self.address} answers again.")
                return answer
            if self.stop.wait(pause):
                break
            if self.restart:
                self._connection = Connection(self.restart())
        raise StoppedError

    def _report_lost(self, error: ServerLostError, lost_at: float | None) -> float:
        """Return the time since which the host does not answer.

        Raises:
            ServerLostError: if that is longer ago than `patience_s`.
        """
        now = time.monotonic()
        if lost_at is None:
            self.report(f"{self.address} does not answer ({error.reason}); trying again.")
            return now
        if now - lost_at > self.patience_s:
            reason = f"{self.address} did not answer for {self.patience_s:g} s ({error.reason})"
            raise ServerLostError(reason, error.reason) from error
        return lost_at


def _pauses(first: float, longest: float, growth: float) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(pause * growth, longest)
