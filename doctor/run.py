"""Test restorations: the sample photo with every preset whose files are there, with checks of the result."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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


class Memory:
    """The peak memory use of a host during its work, in bytes.

    Attributes:
        device: memory of the device used by all programs; None on a CPU.
        process: memory of the host's process; None if the system doesn't state it, as for a server.
        machine: memory of the machine used by all programs.
    """

    def __init__(self, connection: Connection, process: int | None) -> None:
        self.device: int | None = None
        self.process: int | None = None
        self.machine = 0
        self._connection, self._status = connection, Path(f"/proc/{process}/status")
        self._forget = Path(f"/proc/{process}/clear_refs")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Record the peaks inside the `with` block."""
        self.device, self.process, self.machine = None, None, 0
        done = threading.Event()
        with suppress(OSError):  # another operating system, or a process of another user
            self._forget.write_text("5", encoding="ascii")  # the peak so far, proc(5)
        watcher = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            self.process = self._peak()

    def _watch(self, done: threading.Event) -> None:
        while True:
            try:
                stats = self._connection.json("/system_stats")
            except (OSError, RuntimeError):  # the host is busy, or has ended, which the run itself reports
                stats = None
            if stats:
                system, device = stats["system"], stats["devices"][0]
                self.machine = max(self.machine, system["ram_total"] - system["ram_free"])
                if device["type"] != "cpu":
                    used = device["vram_total"] - device["vram_free"]
                    self.device = max(self.device or 0, used)
            if done.wait(INTERVAL_S):
                return

    def _peak(self) -> int | None:
        try:
            lines = self._status.read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


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
    memory = Memory(connection, process)
    runs = []
    for need in needs:
        workflow = _workflow(need).for_size(*photo.size)
        tell(f"{need.name}: restoring the sample photo, {photo.width}x{photo.height} px ...")
        if process:
            connection.request("/free", b'{"unload_models": true, "free_memory": true}')
        runs.append({"preset": need.name, **_one(client, workflow, photo, memory)})
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


def _one(client: Client, workflow: Workflow, photo: Image.Image, memory: Memory) -> dict[str, Any]:
    workflow = replace(workflow, graph=anew(workflow.graph, only(workflow.graph, "LoadImage")))
    try:
        with memory.watched():
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
        "memory": {"device": memory.device, "process": memory.process, "machine": memory.machine},
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
