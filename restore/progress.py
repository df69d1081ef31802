"""The progress of a graph, which ComfyUI reports over a websocket."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import aiohttp

from ..sample.presets import Graph
from .connection import Connection
from .messages import title_of

Progress = Callable[[str, float], None]  # title of the running node, its progress in [0, 1]
Answer = TypeVar("Answer")


async def with_progress(
    connection: Connection,
    work: Callable[[str], Answer],
    stop: threading.Event,
    graph: Graph,
    progress: Progress,
) -> Answer:
    """Return the result of `work`, which gets the websocket's id and runs in a thread; report meanwhile.

    Raises:
        ServerLostError: if the websocket can't be opened; AccessError and AnswerError as `Connection` does.
        CancelledError: after Ctrl-C or another signal; `stop` is set, since Python waits for the thread.
    """
    client = uuid.uuid4().hex
    channel = f"{connection.address}/ws?clientId={client}"
    try:
        async with (
            connection.session() as session,
            session.ws_connect(channel, max_msg_size=0) as socket,
        ):
            listener = asyncio.create_task(_listen(socket, graph, progress))
            try:
                return await asyncio.to_thread(work, client)
            except asyncio.CancelledError:
                stop.set()
                raise
            finally:
                listener.cancel()
    except aiohttp.ClientError as error:
        connection.fail(error)


async def _listen(socket: aiohttp.ClientWebSocketResponse[bool], graph: Graph, progress: Progress) -> None:
    with suppress(ValueError, LookupError, TypeError):  # of another ComfyUI: no progress, the same result
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:  # binary messages are previews
                continue
            event = json.loads(message.data)
            for node, state in event["data"]["nodes"].items() if event["type"] == "progress_state" else ():
                if state["state"] == "running":
                    progress(title_of(graph, node), state["value"] / max(state["max"], 1))
