"""What a client needs of ComfyUI's HTTP interface: upload, queue and follow a graph, fetch its pictures."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

Graph = dict[str, dict[str, Any]]  # API format: node id -> class_type, inputs, _meta
Progress = Callable[[str, float], None]  # title of the node that runs, share of it that is done

REQUEST_LIMIT_S = 60
SILENCE_LIMIT_S = 1800  # between two messages of the host; one node may work long on two cores


class RefusedError(RuntimeError):
    """The host did not queue a graph: a node or a file of weights is missing, or a value is wrong."""


class Client:
    """Talks to one host."""

    def __init__(self, address: str) -> None:
        self.address = address

    def upload(self, photo: Path) -> str:
        """Put a picture into the host's input folder; gives the name for Load Image."""
        return self.upload_as(photo.name, photo.read_bytes())

    def upload_as(self, name: str, content: bytes) -> str:
        """The same for a file's content; if another file has that name, it gets a number behind it."""
        boundary = uuid.uuid4().hex
        quoted = name.translate({ord(letter): f"%{ord(letter):02X}" for letter in '"\r\n'})
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{quoted}"'
        body = f"{head}\r\n\r\n".encode() + content + f"\r\n--{boundary}--\r\n".encode()
        form = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self._request("/upload/image", body, form))["name"]

    def node_definitions(self) -> dict[str, Any]:
        """Every node that the host knows, by id."""
        return json.loads(self._request("/object_info"))

    def version(self) -> str:
        """The host's version."""
        return json.loads(self._request("/system_stats"))["system"]["comfyui_version"]

    def run(self, graph: Graph, progress: Progress | None = None) -> dict[str, dict[str, Any]]:
        """Queue a graph and follow it to its end.

        Returns:
            What its output nodes saved or showed, by node id.

        Raises:
            RuntimeError: if the host refuses the graph, a node fails, or the host goes away; in the words of
                the node.
        """
        return asyncio.run(self._run(graph, progress))

    def fetch(self, picture: dict[str, str]) -> bytes:
        """A picture that `run` told of, as a file's content."""
        return self._request("/view?" + urllib.parse.urlencode(picture))

    def queue(
        self, graph: Graph, prompt: str, client: str | None = None, editor: dict[str, Any] | None = None
    ) -> None:
        """Queue a graph.

        Args:
            graph: what to run.
            prompt: the id to find it by, a UUID.
            client: id of the channel that is told of its progress.
            editor: the graph in the editor's format, which pictures that it saves then carry.

        Raises:
            RefusedError: if the host does not take it.
            HTTPError: if it fails otherwise.
        """
        order: dict[str, Any] = {"prompt": graph, "prompt_id": prompt}
        if client:
            order["client_id"] = client
        if editor:
            order["extra_data"] = {"extra_pnginfo": {"workflow": editor}}
        try:
            self._request("/prompt", json.dumps(order).encode(), {"Content-Type": "application/json"})
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.BAD_REQUEST:
                raise
            raise RefusedError(_refusal(json.loads(error.read()), graph)) from error

    def job(self, prompt: str) -> dict[str, Any] | None:
        """What became of a queued graph; None if the host knows nothing of it, as after a restart.

        Returns:
            `status`: pending, in_progress, completed, failed or cancelled; `outputs` by node id;
            `execution_error`.

        Raises:
            HTTPError: if the host fails.
        """
        try:
            return json.loads(self._request(f"/api/jobs/{prompt}"))
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def cancel(self, prompt: str) -> None:
        """End a queued graph, whether it runs or waits."""
        self._request(f"/api/jobs/{prompt}/cancel", b"")

    async def _run(self, graph: Graph, progress: Progress | None) -> dict[str, dict[str, Any]]:
        client, prompt = uuid.uuid4().hex, str(uuid.uuid4())
        channel = f"{self.address}/ws?clientId={client}"
        async with aiohttp.ClientSession() as session, session.ws_connect(channel, max_msg_size=0) as socket:
            # Queued while we listen already: no event of this graph is missed.
            await asyncio.to_thread(self.queue, graph, prompt, client)
            async for event, data in _events(socket):
                if event == "progress_state" and progress:
                    _report(data, graph, progress)
                if data.get("prompt_id") == prompt:
                    _raise_failure(event, data, graph)
                    # The host says that no node runs once the outputs are in its history.
                    if event == "executing" and data["node"] is None:
                        break
            else:
                raise RuntimeError("ComfyUI ended before the graph was done. Its log tells why.")
        return json.loads(await asyncio.to_thread(self._request, f"/history/{prompt}"))[prompt]["outputs"]

    def _request(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        request = urllib.request.Request(self.address + path, data=body, headers=headers or {})
        with urllib.request.urlopen(request, timeout=REQUEST_LIMIT_S) as answer:
            return answer.read()


async def _events(socket: aiohttp.ClientWebSocketResponse[bool]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    while True:
        message = await socket.receive(timeout=SILENCE_LIMIT_S)
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
    """What a node that failed said, with its title in front."""
    title, message = _title(graph, data["node_id"]), data["exception_message"].strip()
    return message if message.startswith(title) else f"{title}: {message}"


def _refusal(answer: dict[str, Any], graph: Graph) -> str:
    """Every reason why the host did not queue the graph."""
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
