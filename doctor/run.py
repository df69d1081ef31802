"""The sample photo, restored with every preset whose files are there, and what that shows."""

from __future__ import annotations

import copy
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..image import from_levels
from ..photos.reader import open_photo
from ..restore.api import Client, Graph, anew
from ..restore.connection import Connection
from ..restore.demo import SAMPLE
from ..restore.workflow import Workflow, adjust, find
from .machine import NODES
from .needs import BUNDLED, Need
from .picture import checks

INTERVAL_S = 0.5  # between two looks at the memory
SEED = 0
_WORKFLOWS = {BUNDLED: "quickstart", "turbo": "turbo"}  # of a preset; else:
_USUAL = "ugc_wild"

Tell = Callable[[str], None]


class Memory:
    """What a host uses while it works, at the most, in bytes.

    Attributes:
        device: of all the device's memory, whoever has it; None on a CPU.
        process: of the host itself; None where the system doesn't tell, as for a server.
        machine: of all the machine's memory, whoever has it.
    """

    def __init__(self, connection: Connection, process: int | None) -> None:
        self.device: int | None = None
        self.process: int | None = None
        self.machine = 0
        self._connection, self._status = connection, Path(f"/proc/{process}/status")
        self._forget = Path(f"/proc/{process}/clear_refs")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While the host works."""
        self.device, self.process, self.machine = None, None, 0
        done = threading.Event()
        with suppress(OSError):  # another system, or another's process
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
            except (OSError, RuntimeError):  # it is busy, or gone, which the run itself tells
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
        address: of a host that has their files.
        tell: gets a line before each.
        token: as of `Client`.
        process: the host's id, where it is ours: it then forgets between two presets what it loaded.

    Returns:
        One a preset: `preset`, `size`, `seconds`, `memory`, `checks`, or `error` in the words of the host.

    Raises:
        FileNotFoundError: if the sample photo is not there.
        OSError: if the host goes away.
    """
    if not SAMPLE.is_file():
        raise FileNotFoundError(f"The sample photo {SAMPLE} is missing. Install the extension again.")
    client, connection = Client(address, token), Connection(address, token)
    photo = Image.fromarray(open_photo(SAMPLE).rgb(deep=False))
    uploaded = client.upload_as("ugc_sr_doctor.png", SAMPLE.read_bytes())
    memory = Memory(connection, process)
    runs = []
    for need in needs:
        workflow = _workflow(need).for_size(*photo.size)
        tell(f"{need.name}: restoring the sample photo, {photo.width}x{photo.height} px ...")
        if process:
            connection.request("/free", b'{"unload_models": true, "free_memory": true}')
        runs.append({"preset": need.name, **_one(client, workflow, uploaded, photo, memory)})
    return runs


def _workflow(need: Need) -> Workflow:
    """The shipped one of that preset, with the files that are there."""
    preset = None if need.name == BUNDLED else need.name
    workflow = adjust(find(_WORKFLOWS.get(need.name, _USUAL)), preset=preset, scale=None, seed=SEED)
    for kind, found in need.uses.items():
        loader, socket = NODES[kind]
        for node in workflow.graph.values():
            if node["class_type"] == loader:
                node["inputs"][socket] = found.name
    return workflow


def _one(
    client: Client, workflow: Workflow, uploaded: str, photo: Image.Image, memory: Memory
) -> dict[str, Any]:
    graph, _ = workflow.for_photo(uploaded)
    graph = anew(graph, _node(graph, "LoadImage"))
    try:
        with memory.watched():
            started = time.monotonic()
            picture = _picture(client, graph)
            seconds = time.monotonic() - started
        anchor = _picture(client, _without_sampler(graph))
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


def _picture(client: Client, graph: Graph) -> Image.Image:
    outputs = client.run(graph)
    (saved,) = (picture for node in outputs.values() for picture in node.get("images", ()))
    return Image.open(io.BytesIO(client.fetch(saved)), formats=("PNG",)).convert("RGB")


def _without_sampler(graph: Graph) -> Graph:
    """The same with the encoded photo decoded as it is."""
    changed = copy.deepcopy(graph)
    changed[_node(graph, "VAEDecode")]["inputs"]["samples"] = [_node(graph, "VAEEncode"), 0]
    return changed


def _node(graph: Graph, kind: str) -> str:
    """The id of the only node of that class."""
    (found,) = (node for node, entry in graph.items() if entry["class_type"] == kind)
    return found
