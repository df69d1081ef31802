"""One photo through one ComfyUI, whatever becomes of the connection or of the process meanwhile."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from ..files import brief
from .api import Client, Graph, failure
from .workflow import Workflow

ATTEMPTS = 3  # a photo that ends its host is not tried for ever
FIRST_POLL_S, LAST_POLL_S = 0.05, 1.0
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 10.0
BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
LOST = (urllib.error.URLError, OSError, http.client.HTTPException)  # what a host that goes away raises
Answer = TypeVar("Answer")


class Restorer(Protocol):
    """What turns a photo into its result."""

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """The result of a photo, called `name` on the host."""
        ...


class ServerLostError(ConnectionError):
    """The host went away and did not come back in time."""


class StoppedError(Exception):
    """A person ended the work."""


class Server:
    """A ComfyUI that may go away and come back.

    Args:
        address: where it answers.
        patience_s: how long to ask again when it does not.
        tell: gets a line when it goes away, and one when it is back.
        stop: once set, what is at work is cancelled.
        revive: asked before each further try for where it answers now; None where others look after it.
    """

    def __init__(
        self,
        address: str,
        *,
        patience_s: float,
        tell: Callable[[str], None],
        stop: threading.Event,
        revive: Callable[[], str] | None = None,
    ) -> None:
        self.client = Client(address)
        self.patience_s = patience_s
        self.tell = tell
        self.stop = stop
        self.revive = revive

    def version(self) -> str:
        """Ask for its version, once.

        Raises:
            ServerLostError: if it does not answer.
            ValueError: if something else answers.
        """
        try:
            return self.client.version()
        except urllib.error.HTTPError as error:
            if error.code in BUSY:
                raise ServerLostError(f"{self.client.address} is busy: {error}.") from None
            raise ValueError(f"{self.client.address} is no ComfyUI: {error}.") from None
        except LOST as error:
            raise ServerLostError(
                f"No ComfyUI answers at {self.client.address}: {_reason(error)}. "
                "Start it, or look at the address and port; without --server one is started here."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{self.client.address} is no ComfyUI: it answers something else. Look at the port."
            ) from None

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """The file that the workflow saves for a photo.

        Raises:
            RefusedError: if the host does not take the workflow.
            RuntimeError: if a node fails, or the host ends three times over this photo.
            ServerLostError: if the host does not come back.
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
        for _ in range(ATTEMPTS):
            uploaded = self._ask(Client.upload_as, name, png)
            graph, editor = workflow.for_photo(uploaded)
            prompt = str(uuid.uuid4())
            self._ask(_queue_once, graph, prompt, editor)
            job = self._follow(prompt)
            if job is not None:
                saved = _saved(job, graph)
                return self._ask(Client.fetch, saved)
        raise RuntimeError(f"ComfyUI ended {ATTEMPTS} times over this photo. Its log tells why.")

    def _follow(self, prompt: str) -> dict[str, Any] | None:
        # The job once it has ended; None if the host has forgotten it.
        pause = FIRST_POLL_S
        while True:
            job = self._ask(Client.job, prompt)
            if job is None or job["status"] not in ("pending", "in_progress"):
                return job
            if self.stop.wait(pause):
                with suppress(*LOST):
                    self.client.cancel(prompt)
                raise StoppedError
            pause = min(pause * 1.3, LAST_POLL_S)

    def _ask(self, request: Callable[..., Answer], *details: Any) -> Answer:
        # For requests that may be made again.
        since: float | None = None
        for pause in _pauses():
            try:
                answer = request(self.client, *details)
            except LOST as error:
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

    def _note(self, error: Exception, since: float | None) -> float:
        # Since when nothing answers; not for ever.
        if isinstance(error, urllib.error.HTTPError) and error.code not in BUSY:
            raise RuntimeError(f"ComfyUI failed: {error}. Its log tells why.") from error
        now = time.monotonic()
        if since is None:
            self.tell(f"{self.client.address} does not answer ({_reason(error)}); trying again.")
            return now
        if now - since > self.patience_s:
            raise ServerLostError(
                f"{self.client.address} did not answer for {self.patience_s:g} s ({_reason(error)})"
            ) from error
        return since


def _pauses() -> Iterator[float]:
    pause = FIRST_WAIT_S
    while True:
        yield pause
        pause = min(2 * pause, LAST_WAIT_S)


def _queue_once(client: Client, graph: Graph, prompt: str, editor: dict[str, Any] | None) -> None:
    # The host may have taken it before the connection broke.
    if client.job(prompt) is None:
        client.queue(graph, prompt, editor=editor)


def _saved(job: dict[str, Any], graph: Graph) -> dict[str, str]:
    # The one picture that a job saved.
    if job["status"] == "failed":
        raise RuntimeError(failure(job["execution_error"], graph))
    if job["status"] != "completed":
        raise RuntimeError("cancelled in ComfyUI.")
    pictures = [
        picture
        for outputs in job["outputs"].values()
        for picture in outputs.get("images", ())
        if picture["type"] == "output"
    ]
    if len(pictures) != 1:
        raise RuntimeError(f"the workflow saved {len(pictures)} pictures of this photo; expected one.")
    return {key: pictures[0][key] for key in ("filename", "subfolder", "type")}


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
