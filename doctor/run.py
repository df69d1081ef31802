"""Test restorations: the sample photo with every preset whose files are there, with checks of the result."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..image import from_levels
from ..photos.reader import open_photo
from ..restore.api import Client
from ..restore.connection import Connection
from ..restore.demo import SAMPLE
from ..restore.workflow import Workflow, adjust, anew, find, only
from .machine import NODES
from .needs import BUNDLED, Need
from .picture import checks

INTERVAL_S = 0.5  # between two memory readings
SEED = 0
_WORKFLOWS = {BUNDLED: "quickstart", "turbo": "turbo"}  # of a preset; else:
_USUAL = "ugc_wild"

Tell = Callable[[str], None]


@contextmanager
def _watched(connection: Connection, process: int | None) -> Iterator[dict[str, int | None]]:
    """Yield the peak memory use of a host inside the `with` block, in bytes; complete when it ends.

    `device` is memory of the device used by all programs, None on a CPU. `process` is memory of the host's
    process, None if the system doesn't state it, as for a server. `machine` is memory of the machine used by
    all programs.
    """
    peaks: dict[str, int | None] = {"device": None, "process": None, "machine": 0}
    with suppress(OSError):  # another operating system, or a process of another user
        Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")  # the peak so far, proc(5)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(connection, peaks, done), daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()
        with suppress(OSError):
            status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
            if peak := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
                peaks["process"] = int(peak[1]) * 1024


def _watch(connection: Connection, peaks: dict[str, int | None], done: threading.Event) -> None:
    while True:
        with suppress(OSError, RuntimeError):  # the host is busy, or has ended, which the run itself reports
            stats = connection.json("/system_stats")
            system, device = stats["system"], stats["devices"][0]
            peaks["machine"] = max(peaks["machine"] or 0, system["ram_total"] - system["ram_free"])
            if device["type"] != "cpu":
                peaks["device"] = max(peaks["device"] or 0, device["vram_total"] - device["vram_free"])
        if done.wait(INTERVAL_S):
            return


def restore(
    needs: Sequence[Need], address: str, tell: Tell, *, token: str | None = None, process: int | None = None
) -> list[dict[str, Any]]:
    """Restore the sample photo with each preset.

    Args:
        needs: presets that are ready.
        address: address of a host that has their files.
        tell: called with a line before each preset.
        token: as for `Client`.
        process: process id of a host that was started for this; it then unloads its models between presets.

    Returns:
        One dict per preset: `preset`, `size`, `seconds`, `memory`, `checks`, or `error`, the host's message.

    Raises:
        FileNotFoundError: if the sample photo is missing.
        OSError: if the connection to the host is lost.
    """
    if not SAMPLE.is_file():
        raise FileNotFoundError(f"The sample photo {SAMPLE} is missing. Install the extension again.")
    client, connection = Client(address, token), Connection(address, token)
    photo = Image.fromarray(open_photo(SAMPLE).rgb(deep=False))
    runs = []
    for need in needs:
        workflow = _workflow(need).for_size(*photo.size)
        tell(f"{need.name}: restoring the sample photo, {photo.width}x{photo.height} px ...")
        if process:
            connection.request("/free", b'{"unload_models": true, "free_memory": true}')
        runs.append({"preset": need.name, **_one(client, workflow, photo, _watched(connection, process))})
    return runs


def _workflow(need: Need) -> Workflow:
    """Return the shipped workflow of that preset, with the names of the files that are there."""
    preset = None if need.name == BUNDLED else need.name
    workflow = adjust(find(_WORKFLOWS.get(need.name, _USUAL)), preset=preset, scale=None, seed=SEED)
    for kind, found in need.uses.items():
        loader, socket = NODES[kind]
        for node in workflow.graph.values():
            if node["class_type"] == loader:
                node["inputs"][socket] = found.name
    return workflow


def _one(
    client: Client,
    workflow: Workflow,
    photo: Image.Image,
    watched: AbstractContextManager[dict[str, int | None]],
) -> dict[str, Any]:
    workflow = replace(workflow, graph=anew(workflow.graph, only(workflow.graph, "LoadImage")))
    try:
        with watched as memory:
            started = time.monotonic()
            picture = _picture(client, workflow)
            seconds = time.monotonic() - started
        anchor = _picture(client, _without_sampler(workflow))
    except RuntimeError as error:
        return {"error": str(error)}
    bicubic = photo.resize(picture.size, Image.Resampling.BICUBIC)
    versions = (from_levels(np.asarray(image)) for image in (picture, photo, bicubic, anchor))
    return {
        "size": list(picture.size),
        "seconds": round(seconds, 1),
        "memory": memory,
        "checks": [asdict(check) for check in checks(*versions)],
    }


def _picture(client: Client, workflow: Workflow) -> Image.Image:
    saved = client.restore("ugc_sr_doctor.png", SAMPLE.read_bytes(), workflow)
    return Image.fromarray(open_photo(Path("result.png"), saved).rgb(deep=False))


def _without_sampler(workflow: Workflow) -> Workflow:
    """Return the workflow without its sampler: the encoded photo is decoded."""
    graph = copy.deepcopy(workflow.graph)
    graph[only(graph, "VAEDecode")]["inputs"]["samples"] = [only(graph, "VAEEncode"), 0]
    return replace(workflow, graph=graph)
