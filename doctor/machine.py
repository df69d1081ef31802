"""The machine: facts and file lists of ComfyUI, from its folder on this machine or over its API."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..console import version_of
from ..restore.connection import AnswerError, Connection
from ..restore.server import accelerator
from .findings import LOADERS

ASK_LIMIT_S = 300  # limit for importing torch from a slow disk
PACKAGE = __name__.partition(".")[0]
# Loader node and its input, by the kind of weights.
NODES = {
    "checkpoint": ("CheckpointLoaderSimple", "ckpt_name"),
    "encoder": ("UGCSR_LoadSAM2Encoder", "encoder_name"),
    "adapter": ("UGCSR_LoadSemanticAdapter", "adapter_name"),
    "controlnet": ("UGCSR_LoadSemanticControlNet", "control_net_name"),
    "clip vision": ("CLIPVisionLoader", "clip_name"),
}
FOLDERS = {
    "checkpoint": ("checkpoints",),
    "encoder": ("detection", "sam2"),
    "adapter": ("model_patches",),
    "controlnet": ("controlnet",),
    "clip vision": ("clip_vision",),
}
_MODES = {
    "DISABLED": "everything is computed on the CPU; ComfyUI is started with --cpu",
    "DYNAMIC": "DynamicVRAM: weights come to the card when a layer needs them",
    "NORMAL_VRAM": "normal: what does not fit on the card stays in main memory",
    "LOW_VRAM": "--lowvram: text encoders are computed on the CPU",
    "NO_VRAM": "--novram: weights stay in main memory and pass through the card",
    "HIGH_VRAM": "--highvram or --gpu-only: weights stay on the card",
    "SHARED": "device and main memory are one",
}
_OPTIONS = {
    "--cpu": "DISABLED",
    "--novram": "NO_VRAM",
    "--lowvram": "LOW_VRAM",
    "--highvram": "HIGH_VRAM",
    "--gpu-only": "HIGH_VRAM",
}


class Problem(NamedTuple):
    """A fault and the steps that repair it."""

    what: str
    repair: str


@dataclass
class Machine:
    """The software and the files that are installed.

    Attributes:
        facts: versions, device and folders, for the report.
        files: (kind, name, path) of each file that a loader lists, and of each pickle, which it doesn't list;
            the path is None if it isn't visible.
        problems: faults of the installation.
    """

    facts: dict[str, Any]
    files: list[tuple[str, str, Path | None]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def knows_files(self) -> bool:
        """True if there is a ComfyUI whose file lists are known."""
        return "device" in self.facts


def here(comfyui: Path | None, models: Path | None = None) -> Machine:
    """Return the software and files of this machine.

    Args:
        comfyui: ComfyUI's folder; None if there is none.
        models: the models folder, if it isn't ComfyUI's models/.
    """
    machine = Machine(
        {
            "comfyui": None,
            "python": f"{platform.python_version()}, {sys.executable}",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "torch": version_of("torch"),
            "sam2": version_of("sam2"),
        }
    )
    facts = machine.facts
    if facts["sam2"] is None:
        python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
        what = "The package sam2 is not installed in this Python, so no photo can be read."
        machine.problems.append(Problem(what, f"{python} -m pip install sam2"))
    if comfyui is None:
        return machine
    try:
        survey = _survey(comfyui, models)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        facts["comfyui"] = {"version": None, "path": str(comfyui)}
        repair = "Run this command with the Python that runs ComfyUI, where ComfyUI starts without errors."
        machine.problems.append(Problem(f"ComfyUI in {comfyui} could not be asked: {error}", repair))
        return machine
    facts |= {key: survey[key] for key in ("torch", "device", "memory", "folders")}
    facts["comfyui"] = {"version": survey["comfyui"], "path": str(comfyui)}
    facts["mode"] = _MODES.get(survey["mode"], survey["mode"])
    folder = models or comfyui / "models"
    place = next(place for place in (folder, *folder.parents) if place.exists())
    facts["disk"] = {"path": str(folder), "free": shutil.disk_usage(place).free}
    for listed in (survey["files"], survey["pickles"]):
        machine.files += [
            (kind, one["name"], Path(one["path"])) for kind in LOADERS for one in listed.get(kind, ())
        ]
    return machine


def there(connection: Connection) -> Machine:
    """Return the software and files of a running ComfyUI, as far as its API states them.

    Raises:
        OSError: if it doesn't answer, or refuses access.
        AnswerError: if another kind of server answers.
    """
    stats = connection.json("/system_stats")
    system, device = stats["system"], stats["devices"][0]
    options = [word for word in system.get("argv", []) if word.startswith("--")]
    mode = "DISABLED" if device["type"] == "cpu" else None
    mode = mode or next((mode for option, mode in _OPTIONS.items() if option in options), None)
    machine = Machine(
        {
            "comfyui": {"version": system["comfyui_version"], "path": connection.address},
            "python": system["python_version"].split()[0],
            "system": system["os"],
            "torch": system["pytorch_version"],
            "device": {
                "name": device["name"],
                "type": device["type"],
                "total": device["vram_total"],
                "free": device["vram_free"],
            },
            "memory": {"total": system["ram_total"], "free": system["ram_free"]},
            "mode": _MODES[mode] if mode else "ComfyUI's own choice, which its API does not tell",
            "options": options,
        }
    )
    places = _places(connection)
    for kind, (node, socket) in NODES.items():
        names = _offered(connection, node, socket)
        if names is None:
            machine.problems.append(_no_node(node))
            continue
        machine.files += [(kind, name, _find(places, kind, name)) for name in names]
    return machine


def _survey(comfyui: Path, models: Path | None) -> dict[str, Any]:
    """Return the facts that ComfyUI's own code gives in a separate process.

    Raises:
        ValueError: if that process fails; the message has the last line of its output.
    """
    command = [sys.executable, "-m", f"{PACKAGE}.host.survey"]
    command += [] if accelerator() else ["--cpu"]
    command += ["--models-directory", str(models.resolve())] if models else []
    before = os.environ.get("PYTHONPATH")
    search = os.pathsep.join([str(comfyui), *([before] if before else [])])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": search},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=ASK_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _places(connection: Connection) -> dict[str, list[Path]]:
    """Return folders by kind if the server runs on this machine; empty if it doesn't."""
    if not connection.is_here:
        return {}
    try:
        answer = connection.json("/experiment/models")
    except AnswerError:  # this part of the API may be removed
        return {}
    return {one["name"]: [Path(folder) for folder in one["folders"]] for one in answer}


def _find(places: dict[str, list[Path]], kind: str, name: str) -> Path | None:
    roots = [root for folder in FOLDERS[kind] for root in places.get(folder, ())]
    return next((root / name for root in roots if (root / name).exists()), None)


def _offered(connection: Connection, node: str, socket: str) -> list[str] | None:
    """Return the entries of a loader's list; None if the server has no such node."""
    try:
        definitions = connection.json(f"/object_info/{node}")
    except AnswerError:
        definitions = {}
    if node not in definitions:
        return None
    kind, *options = definitions[node]["input"]["required"][socket]
    return list(kind) if isinstance(kind, list) else list(options[0]["options"])


def _no_node(node: str) -> Problem:
    if node.startswith("UGCSR_"):
        repair = "Install UGC Super-Resolution, or its newest version, in that ComfyUI, and start it again."
        return Problem(f"That ComfyUI has no node {node}. Its log tells whether loading it failed.", repair)
    return Problem(f"That ComfyUI has no node {node}.", "Update ComfyUI to 0.30 or newer.")
