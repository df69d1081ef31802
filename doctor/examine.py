"""The whole examination; its result is one report of plain values."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from safetensors import safe_open
from tqdm import tqdm

from ..console import version
from ..models import catalogue, files
from ..models.nano import MODEL
from ..models.weights import UnsupportedWeightsError
from ..restore.connection import LOGIN_VARIABLE, AnswerError, Connection
from ..restore.server import OwnHost, find_host
from ..restore.weights import BUNDLED
from ..restore.workflow import SHIPPED
from ..sample.presets import NAMES
from . import findings, machine, origin, run
from .findings import FITS, WRONG, Finding
from .machine import Machine, Problem
from .needs import Need, entries, incomplete, needs, unmet

_LOG = "Look at the message and, with --server, at the log of that ComfyUI."
_REINSTALL = (
    "Install the extension again, which brings its file along; with git: git lfs pull, or a new clone."
)


def examine(options: Namespace) -> dict[str, Any]:
    """Return the report, made of values that JSON can hold; the options are those of the command line.

    Raises:
        ValueError: if the options contradict each other, or name something unknown.
        FileNotFoundError: if a given folder of ComfyUI or of models doesn't exist.
    """
    known = dict.fromkeys((*NAMES, *SHIPPED))
    for name in options.names:
        if name not in known:
            raise ValueError(f"There is no preset or workflow {name!r}. Known: {', '.join(known)}.")
    if options.server and (options.comfyui or options.models):
        raise ValueError("--server asks the ComfyUI that runs; leave out --comfyui and --models.")
    if options.models and not options.models.is_dir():
        raise FileNotFoundError(f"--models: there is no folder '{options.models}'.")
    if options.server:
        return judge(_there(options.server), options)
    comfyui = None
    try:
        comfyui = find_host(options.comfyui)
    except FileNotFoundError:
        if options.comfyui:
            raise
    return judge(_here(comfyui, options.models), options, comfyui)


def judge(seen: Machine, options: Namespace, comfyui: Path | None = None) -> dict[str, Any]:
    """Return the report on a machine, as `examine` does.

    Args:
        seen: the software and the files that are installed.
        options: those of the command line.
        comfyui: ComfyUI's folder, needed to restore a photo.
    """
    problems = [*seen.problems]
    bundled = None
    try:
        bundled = _bundled()
    except UnsupportedWeightsError as error:
        problems.append(Problem(f"The bundled model: {error}", _REINSTALL))
    found = _files(seen, problems, hashed=options.hashed)
    every = needs(found) if seen.knows_files else []
    every = [need for need in every if bundled or entries(need.name)]  # the others need the bundled model
    presets = [need for need in every if need.sort == "preset"]
    lacking = {need.name: need for need in every if need.name in options.names and not need.ready}
    problems += [unmet(need, found) for need in lacking.values()] or incomplete(presets, found)
    report: dict[str, Any] = {
        "ugc_sr": version(),
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "asked": list(options.names),
        "machine": seen.facts,
        "bundled": bundled,
        "files": [_file(one) for one in found],
    }
    folder = options.models or (options.comfyui / "models" if options.comfyui else None)
    where = f' --models "{folder}"' if folder else ""  # the option that makes `fetch` use the given folder
    for sort in ("preset", "workflow"):
        report[f"{sort}s"] = [_need(need, where) for need in every if need.sort == sort]
    if options.restore and seen.knows_files:
        ready = [need for need in presets if need.ready]
        named = [need for need in ready if need.name in options.names]
        report["runs"] = _restore(named or ready, options, comfyui, problems)
    report["problems"] = [{"what": what, "mend": _completed(repair, where)} for what, repair in problems]
    report["fine"] = not problems
    return report


def _here(comfyui: Path | None, models: Path | None) -> Machine:
    seen = machine.here(comfyui, models)
    if comfyui is None:
        named = os.environ.get("COMFYUI_PATH")
        where = f"in '{named}', which COMFYUI_PATH names" if named else "around this extension"
        repair = "Say where it is: --comfyui DIR, or COMFYUI_PATH in the environment."
        seen.problems.append(Problem(f"There is no ComfyUI {where}.", repair))
    return seen


def _there(address: str) -> Machine:
    """Return what a server states; a server that doesn't answer is reported as a problem."""
    connection = Connection(address, os.environ.get(LOGIN_VARIABLE))
    try:
        return machine.there(connection)
    except (OSError, AnswerError, LookupError, TypeError) as error:
        what = str(error) if isinstance(error, OSError | AnswerError) else "It answers as no ComfyUI does."
        problem = Problem(what, "Start that ComfyUI, or look at the address and port.")
        return Machine({"comfyui": {"version": None, "path": connection.address}}, problems=[problem])


def _bundled() -> dict[str, Any]:
    """Return the report's entry on the bundled model's file.

    Raises:
        UnsupportedWeightsError: if the file is unusable.
    """
    if not BUNDLED.is_file():
        raise UnsupportedWeightsError(f"{BUNDLED} is missing.")
    files.check(BUNDLED)
    with safe_open(BUNDLED, framework="pt") as file:
        model = (file.metadata() or {}).get("model", "another model")
    if model != MODEL:
        raise UnsupportedWeightsError(
            f"'{BUNDLED.name}' holds {model}; this version of the extension reads {MODEL}."
        )
    return {"model": model, "size": BUNDLED.stat().st_size, "sha256": origin.checksum(BUNDLED)}


def _files(seen: Machine, problems: list[Problem], *, hashed: bool) -> list[Finding]:
    """Return the finding on each file; their faults are added to `problems`."""
    found, unreadable = [], {}
    for listed in seen.files:
        one = findings.look(*listed)
        if one.state == FITS:
            one, record = origin.trace(one, hashed=hashed)
            unreadable |= {record: None} if record else {}
        found.append(one)
    wrong = [one for one in found if one.state == WRONG]
    # Two files in each other's place need the same steps.
    repairs = dict.fromkeys(one.repair for one in wrong)
    problems += [
        Problem(" ".join(one.why for one in wrong if one.repair == steps), steps) for steps in repairs
    ]
    compare = "Compare the checksums in this report with those of another machine."
    problems += [Problem(record, compare) for record in unreadable]
    return found


def _restore(
    ready: Sequence[Need], options: Namespace, comfyui: Path | None, problems: list[Problem]
) -> list[dict[str, Any]]:
    """Return the test restorations; faults that they show are added to `problems`."""
    try:
        if options.server:
            runs = run.restore(ready, options.server, _print, token=os.environ.get(LOGIN_VARIABLE))
        else:
            _print("starting ComfyUI ...")
            with OwnHost(comfyui, options.models) as own:
                runs = run.restore(ready, own.address(), _print, process=own.host.process.pid)
    except (OSError, RuntimeError) as error:
        problems.append(Problem(f"The sample photo could not be restored: {error}", _LOG))
        return []
    for one in runs:
        if "error" in one:
            problems.append(Problem(f"{one['preset']} failed: {one['error']}", _LOG))
        for check in one.get("checks", ()):
            if not check["passed"]:
                value = f"{check['name']}: {round(check['value'], 2):g}, expected {check['bound']}"
                problems.append(Problem(f"{one['preset']}, {value}.", check["hint"]))
    return runs


def _file(one: Finding) -> dict[str, Any]:
    size = None
    with suppress(OSError, UnsupportedWeightsError):  # a folder may be incomplete
        size = sum(part.stat().st_size for part in one.parts) if one.state in (FITS, WRONG) else None
    known = {"sha256": dict(one.sha256), "origin": one.origin} if one.origin else {}
    return {
        "loader": findings.LOADERS[one.kind],
        "kind": one.kind,
        "name": one.name,
        "path": str(one.path) if one.path else None,
        "state": one.state,
        "what": one.what,
        "size": size,
        **known,
    }


def _need(need: Need, where: str) -> dict[str, Any]:
    return {
        "name": need.name,
        "ready": need.ready,
        "uses": {kind: one.name for kind, one in need.uses.items()},
        "choose": need.choices,
        "lacks": [entry.saved for entry in need.lacks],
        "bytes": sum(entry.size or entry.estimate for entry in need.lacks),
        "command": _completed(need.command, where),
    }


def _completed(command: str, where: str) -> str:
    return command + where if catalogue.command() in command else command


def _print(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
