"""Restoration of one photo by one ComfyUI, with retries if the connection or the process ends."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from ..files import brief
from .api import Client, Graph, anew, failure
from .connection import AccessError, AnswerError, ServerLostError
from .workflow import Workflow

ATTEMPTS = 3  # attempts, so that a photo that crashes its host is given up
FIRST_POLL_S, LAST_POLL_S = 0.05, 1.0
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 10.0
Answer = TypeVar("Answer")


class Restorer(Protocol):
    """The interface of an object that restores photos."""

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """Return the result of a photo, a PNG; the host stores the photo under `name`."""
        ...


class StoppedError(Exception):
    """The user stopped the work."""


class Server:
    """A ComfyUI whose connection may be lost and restored.

    Args:
        address: address of the server.
        token: as for `Client`.
        patience_s: seconds for which requests are repeated if it does not answer.
        tell: called with a line when the connection is lost, and when it is restored.
        stop: once it is set, work in progress is cancelled.
        revive: restarts the server and returns its address before each retry; None if others run the server.
    """

    def __init__(
        self,
        address: str,
        *,
        patience_s: float,
        tell: Callable[[str], None],
        stop: threading.Event,
        token: str | None = None,
        revive: Callable[[], str] | None = None,
    ) -> None:
        self.client = Client(address, token)
        self.patience_s = patience_s
        self.tell = tell
        self.stop = stop
        self.revive = revive

    def version(self) -> str:
        """Return the version of ComfyUI, without retries.

        Raises:
            ServerLostError: if it does not answer.
            ValueError: if another kind of server answers.
        """
        return self.client.version()

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """Return the content of the file that the workflow saves for a photo.

        Raises:
            RefusedError: if the host refuses the workflow.
            RuntimeError: if a node fails, or the host ends or loses the result three times.
            AccessError: if it refuses access.
            ServerLostError: if the host does not answer for `patience_s`.
            StoppedError: if `stop` was set.
        """
        try:
            return self._restore(name, png, workflow)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise RuntimeError(
                f"{self.client.address} answers something else than a ComfyUI does "
                f"({type(error).__name__}: {brief(str(error))}). Look at the address and the port."
            ) from error

    def _restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        forgotten = "ended"
        deleted = None  # the node whose file was missing
        for _ in range(ATTEMPTS):
            uploaded = self._ask(Client.upload_as, name, png)
            graph, editor = workflow.for_photo(uploaded)
            if deleted:
                graph = anew(graph, deleted)
            prompt = str(uuid.uuid4())
            self._ask(_queue_once, graph, prompt, editor)
            job = self._follow(prompt)
            if job is None:
                continue
            node, saved = _saved(job, graph)
            try:
                return self._ask(Client.fetch, saved)
            except AnswerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                deleted, forgotten = node, "lost the result"
        raise RuntimeError(f"ComfyUI {forgotten} {ATTEMPTS} times over this photo. Its log tells why.")

    def _follow(self, prompt: str) -> dict[str, Any] | None:
        # Returns the job once it has ended; None if the host no longer knows it.
        pause = FIRST_POLL_S
        while True:
            job = self._ask(Client.job, prompt)
            if job is None or job["status"] not in ("pending", "in_progress"):
                return job
            if self.stop.wait(pause):
                with suppress(ServerLostError, AccessError, AnswerError):
                    self.client.cancel(prompt)
                raise StoppedError
            pause = min(pause * 1.3, LAST_POLL_S)

    def _ask(self, request: Callable[..., Answer], *details: Any) -> Answer:
        # Only for requests that can be repeated safely.
        since: float | None = None
        for pause in _pauses():
            try:
                answer = request(self.client, *details)
            except ServerLostError as error:
                since = self._note(error, since)
            else:
                if since is not None:
                    self.tell(f"{self.client.address} answers again.")
                return answer
            if self.stop.wait(pause):
                raise StoppedError
            if self.revive:
                self.client = Client(self.revive())
        raise AssertionError("the pauses never end")

    def _note(self, error: ServerLostError, since: float | None) -> float:
        # Returns the time since which the server doesn't answer; raises after patience_s.
        now = time.monotonic()
        if since is None:
            self.tell(f"{self.client.address} does not answer ({error.reason}); trying again.")
            return now
        if now - since > self.patience_s:
            raise ServerLostError(
                f"{self.client.address} did not answer for {self.patience_s:g} s ({error.reason})",
                error.reason,
            ) from error
        return since


def _pauses() -> Iterator[float]:
    pause = FIRST_WAIT_S
    while True:
        yield pause
        pause = min(2 * pause, LAST_WAIT_S)


def _queue_once(client: Client, graph: Graph, prompt: str, editor: dict[str, Any] | None) -> None:
    # The host may have queued it before the connection was lost.
    if client.job(prompt) is None:
        client.queue(graph, prompt, editor=editor)


def _saved(job: dict[str, Any], graph: Graph) -> tuple[str, dict[str, str]]:
    # Returns the node that saved, and the only picture of the job.
    if job["status"] == "failed":
        raise RuntimeError(failure(job["execution_error"], graph))
    if job["status"] != "completed":
        raise RuntimeError("cancelled in ComfyUI.")
    pictures = [
        (node, picture)
        for node, outputs in job["outputs"].items()
        for picture in outputs.get("images", ())
        if picture["type"] == "output"
    ]
    if len(pictures) != 1:
        raise RuntimeError(f"the workflow saved {len(pictures)} pictures of this photo; expected one.")
    node, picture = pictures[0]
    return node, {key: picture[key] for key in ("filename", "subfolder", "type")}
