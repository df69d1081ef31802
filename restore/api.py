"""A client of ComfyUI's HTTP API: it uploads photos, queues and follows graphs, and downloads pictures."""

from __future__ import annotations

import asyncio
import copy
import json
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from .connection import AnswerError, Connection, ServerLostError, finish

Graph = dict[str, dict[str, Any]]  # API format: node id -> class_type, inputs, _meta
Progress = Callable[[str, float], None]  # title of the running node, its progress in [0, 1]

SILENCE_LIMIT_S = 1800  # limit between two messages; one node may take minutes on two cores


class RefusedError(RuntimeError):
    """The host did not queue a graph: a node or a file of weights is missing, or a value is wrong."""


class Client:
    """A client of one host.

    Its methods raise ServerLostError, AccessError and AnswerError as `Connection` does.

    Args:
        address: address of the host.
        token: as for `Connection`.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self._connection = Connection(address, token)
        self.address = self._connection.address  # without name and password

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
            told = str(error) if isinstance(error, AnswerError) else "It answers something else."
            raise ValueError(f"{self.address} is no ComfyUI. {told} Look at the port.") from None

    def run(self, graph: Graph, progress: Progress | None = None) -> dict[str, dict[str, Any]]:
        """Queue a graph and follow it to its end.

        Returns:
            Node id -> output, for each node that saved or displayed something.

        Raises:
            RuntimeError: if the host refuses the graph, a node fails (with its message), or the connection is
                lost.
        """
        return finish(self._run(graph, progress))

    def fetch(self, picture: dict[str, str]) -> bytes:
        """Download a picture that `run` returned; return the file's content."""
        return self._connection.request("/view?" + urllib.parse.urlencode(picture))

    def saved(self, outputs: dict[str, dict[str, Any]]) -> bytes:
        """Download the only picture among the outputs of `run`."""
        (picture,) = (picture for node in outputs.values() for picture in node.get("images", ()))
        return self.fetch(picture)

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
                raise RefusedError(_refusal(json.loads(error.content), graph)) from error
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

    def cancel(self, prompt: str) -> None:
        """Cancel a queued graph, running or waiting."""
        self._connection.request(f"/api/jobs/{prompt}/cancel", b"")

    async def _run(self, graph: Graph, progress: Progress | None) -> dict[str, dict[str, Any]]:
        client, prompt = uuid.uuid4().hex, str(uuid.uuid4())
        channel = f"{self.address}/ws?clientId={client}"
        try:
            async with (
                self._connection.session() as session,
                session.ws_connect(channel, max_msg_size=0) as socket,
            ):
                # Queued after the websocket is open, so that no event of this graph is missed.
                await asyncio.to_thread(self.queue, graph, prompt, client)
                await self._follow(socket, graph, prompt, progress)
        except aiohttp.ClientError as error:
            self._connection.fail(error)
        history = await asyncio.to_thread(self._connection.json, f"/history/{prompt}")
        return history[prompt]["outputs"]

    async def _follow(
        self,
        socket: aiohttp.ClientWebSocketResponse[bool],
        graph: Graph,
        prompt: str,
        progress: Progress | None,
    ) -> None:
        async for event, data in _events(socket):
            if event == "progress_state" and progress:
                _report(data, graph, progress)
            if data.get("prompt_id") == prompt:
                _raise_failure(event, data, graph)
                # The host reports "no node runs" after the outputs are in its history.
                if event == "executing" and data["node"] is None:
                    return
        raise RuntimeError("ComfyUI ended before the graph was done. Its log tells why.")


def anew(graph: Graph, node: str) -> Graph:
    """Return the graph with a change that only invalidates the host's cache of that node.

    The cache doesn't notice that a saved file was deleted.
    """
    changed = copy.deepcopy(graph)
    changed[node]["inputs"]["anew"] = uuid.uuid4().hex  # not an input of any node, so the host ignores it
    return changed


async def _events(socket: aiohttp.ClientWebSocketResponse[bool]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    while True:
        try:
            message = await socket.receive(timeout=SILENCE_LIMIT_S)
        except asyncio.TimeoutError:  # another class than TimeoutError in Python 3.10
            raise RuntimeError(
                f"ComfyUI has said nothing for {SILENCE_LIMIT_S // 60} minutes. Look at its log."
            ) from None
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            return
        if message.type == aiohttp.WSMsgType.TEXT:  # binary messages are previews
            content = json.loads(message.data)
            yield content["type"], content["data"]


def _report(data: dict[str, Any], graph: Graph, progress: Progress) -> None:
    for node, state in data["nodes"].items():
        if state["state"] == "running":
            progress(_title(graph, node), state["value"] / max(state["max"], 1))


def _raise_failure(event: str, data: dict[str, Any], graph: Graph) -> None:
    if event == "execution_interrupted":
        raise RuntimeError(f"{_title(graph, data['node_id'])}: interrupted.")
    if event == "execution_error":
        raise RuntimeError(failure(data, graph))


def failure(data: dict[str, Any], graph: Graph) -> str:
    """Return the message of a failed node, with the node's title in front."""
    title, message = _title(graph, data["node_id"]), data["exception_message"].strip()
    if not message:
        kind = data.get("exception_type") or "an error"
        return f"{title}: failed with {kind} and no message. ComfyUI's log tells where."
    return message if message.startswith(title) else f"{title}: {message}"


def _refusal(answer: dict[str, Any], graph: Graph) -> str:
    """Return every reason for which the host did not queue the graph."""
    reasons = [
        f"{_title(graph, node)}: {problem['message']}: {problem['details']}"
        for node, problems in answer["node_errors"].items()
        for problem in problems["errors"]
    ]
    if reasons:
        return "\n".join(reasons)
    error = answer["error"]
    told = f"{error['message']} {error['details']}".strip()
    if error["type"] == "missing_node_type" and str(error["extra_info"]["class_type"]).startswith("UGCSR_"):
        told += " Install UGC Super-Resolution, or its newest version, in that ComfyUI."
    return told


def _title(graph: Graph, node: str) -> str:
    entry = graph.get(node.split(".")[0], {})
    return entry.get("_meta", {}).get("title") or entry.get("class_type", node)
