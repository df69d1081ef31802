"""The whole examination; its result is one report of plain values."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
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
from ..restore.server import CHECKOUT, OwnHost, find_host
from ..restore.workflow import SHIPPED
from ..sample.presets import NAMES
from . import findings, machine, needs, origin, run
from .findings import FITS, WRONG, Finding
from .machine import Machine, Problem
from .needs import Need

BUNDLED_FILE = CHECKOUT / "models" / "bundled" / "nano.safetensors"
_LOG = "Look at the message and, with --server, at the log of that ComfyUI."
_AGAIN = "Install the extension again, which brings its file along; with git: git lfs pull, or a new clone."


@dataclass(frozen=True)
class Asked:
    """The options of an examination.

    Attributes:
        names: presets and workflows whose files must be there.
        restore: whether to restore the sample photo.
        comfyui: ComfyUI's folder.
        models: the models folder, if it isn't ComfyUI's models/.
        server: address of a running ComfyUI.
        hashed: whether to compute checksums.
    """

    names: tuple[str, ...] = ()
    restore: bool = False
    comfyui: Path | None = None
    models: Path | None = None
    server: str | None = None
    hashed: bool = True


def examine(asked: Asked) -> dict[str, Any]:
    """Return the report, made of values that JSON can hold.

    Raises:
        ValueError: if the options contradict each other, or name something unknown.
        FileNotFoundError: if a given folder of ComfyUI or of models doesn't exist.
    """
    _check(asked)
    connection = Connection(asked.server, os.environ.get(LOGIN_VARIABLE)) if asked.server else None
    comfyui = None if connection else _comfyui(asked.comfyui)
    return judge(_ask(connection, comfyui, asked.models), asked, comfyui)


def judge(seen: Machine, asked: Asked, comfyui: Path | None = None) -> dict[str, Any]:
    """Return the report on a machine, as `examine` does.

    Args:
        seen: the software and the files that are installed.
        asked: the options.
        comfyui: ComfyUI's folder, needed to restore a photo.
    """
    problems = [*seen.problems]
    bundled = _bundled(problems)
    found, origins = _files(seen, hashed=asked.hashed)
    wrong = [one for one in found if one.state == WRONG]
    mends = dict.fromkeys(one.mend for one in wrong)  # two files in each other's place need the same steps
    problems += [Problem(" ".join(one.why for one in wrong if one.mend == mend), mend) for mend in mends]
    unread = dict.fromkeys(one.unread for one in origins.values() if one.unread)
    problems += [
        Problem(what, "Compare the checksums in this report with those of another machine.")
        for what in unread
    ]
    presets, workflows = _needs(found, bundled=bundled is not None) if seen.knows_files else ([], [])
    problems += _unmet(asked.names, [*presets, *workflows], found)
    report = {
        "ugc_sr": version(),
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "asked": list(asked.names),
        "machine": seen.facts,
        "bundled": bundled,
        "files": [_file(one, origins.get(one)) for one in found],
        "presets": [_need(need) for need in presets],
        "workflows": [_need(need) for need in workflows],
    }
    if asked.restore and seen.knows_files:
        ready = [need for need in presets if need.ready]
        named = [need for need in ready if need.name in asked.names]
        report["runs"] = _restore(named or ready, asked, comfyui, problems)
    tail = _where(asked)
    report["problems"] = [asdict(replace(one, mend=_completed(one.mend, tail))) for one in problems]
    for need in report["presets"] + report["workflows"]:
        need["command"] = _completed(need["command"], tail)
    report["fine"] = not problems
    return report


def _check(asked: Asked) -> None:
    known = [*NAMES, *(name for name in SHIPPED if name not in NAMES)]
    for name in asked.names:
        if name not in known:
            raise ValueError(f"There is no preset or workflow {name!r}. Known: {', '.join(known)}.")
    if asked.server and (asked.comfyui or asked.models):
        raise ValueError("--server asks the ComfyUI that runs; leave out --comfyui and --models.")
    if asked.models and not asked.models.is_dir():
        raise FileNotFoundError(f"--models: there is no folder '{asked.models}'.")


def _comfyui(given: Path | None) -> Path | None:
    try:
        return find_host(given)
    except FileNotFoundError:
        if given:
            raise
        return None


def _ask(connection: Connection | None, comfyui: Path | None, models: Path | None) -> Machine:
    """Return the installed software and files; a ComfyUI that doesn't answer is reported as a problem."""
    if connection is None:
        seen = machine.here(comfyui, models)
        if comfyui is None:
            named = os.environ.get("COMFYUI_PATH")
            where = f"in '{named}', which COMFYUI_PATH names" if named else "around this extension"
            mend = "Say where it is: --comfyui DIR, or COMFYUI_PATH in the environment."
            seen.problems.append(Problem(f"There is no ComfyUI {where}.", mend))
        return seen
    try:
        return machine.there(connection)
    except (OSError, AnswerError, LookupError, TypeError) as error:
        told = str(error) if isinstance(error, OSError | AnswerError) else "It answers as no ComfyUI does."
        mend = "Start that ComfyUI, or look at the address and port."
        return Machine(
            {"comfyui": {"version": None, "path": connection.address}}, problems=[Problem(told, mend)]
        )


def _bundled(problems: list[Problem]) -> dict[str, Any] | None:
    """Return the report's entry on the bundled model's file; None if the file is unusable."""
    model, told = "", ""
    if not BUNDLED_FILE.is_file():
        told = f"{BUNDLED_FILE} is missing."
    else:
        try:
            files.check(BUNDLED_FILE)
            with safe_open(BUNDLED_FILE, framework="pt") as file:
                model = (file.metadata() or {}).get("model", "another model")
        except UnsupportedWeightsError as error:
            told = str(error)
        if model and model != MODEL:
            told = f"'{BUNDLED_FILE.name}' holds {model}; this version of the extension reads {MODEL}."
    if told:
        problems.append(Problem(f"The bundled model: {told}", _AGAIN))
        return None
    return {"model": model, "size": BUNDLED_FILE.stat().st_size, "sha256": origin.checksum(BUNDLED_FILE)}


def _files(seen: Machine, *, hashed: bool) -> tuple[list[Finding], dict[Finding, origin.Origin]]:
    """Return the finding on each file, and the origin of each file that fits."""
    found = [findings.look(*one) for one in seen.files] + [findings.pickle(*one) for one in seen.pickles]
    origins: dict[Finding, origin.Origin] = {}
    for index, one in enumerate(found):
        if one.state != FITS:
            continue
        traced = origin.trace(one, hashed=hashed)
        if traced.changed:
            one = replace(one, state=WRONG, why=traced.changed, mend=findings.replacement(one))
        found[index] = one = replace(one, base=traced.base or one.base)
        origins[one] = traced
    return found, origins


def _needs(found: Sequence[Finding], *, bundled: bool) -> tuple[list[Need], list[Need]]:
    """Return the presets and the workflows; without the bundled model those that need it are left out."""
    presets, workflows = needs.presets(found), needs.workflows(found)
    if bundled:
        return presets, workflows
    return [n for n in presets if needs.entries(n.name)], [n for n in workflows if needs.entries(n.name)]


def _unmet(names: Sequence[str], all_needs: Sequence[Need], found: Sequence[Finding]) -> list[Problem]:
    """Return problems: requested names that lack files, and sets that are incomplete."""
    asked = {need.name: need for need in all_needs if need.name in names and not need.ready}
    problems = [needs.unmet(need, found) for need in asked.values()]
    return problems or needs.half_done([need for need in all_needs if need.sort == "preset"], found)


def _restore(
    ready: Sequence[Need], asked: Asked, comfyui: Path | None, problems: list[Problem]
) -> list[dict[str, Any]]:
    """Return the test restorations; faults that they show are added to `problems`."""
    try:
        if asked.server:
            runs = run.restore(ready, asked.server, _tell, token=os.environ.get(LOGIN_VARIABLE))
        else:
            _tell("starting ComfyUI ...")
            with OwnHost(comfyui, asked.models) as own:
                runs = run.restore(ready, own.address(), _tell, process=own.host.process.pid)
    except (OSError, RuntimeError) as error:
        problems.append(Problem(f"The sample photo could not be restored: {error}", _LOG))
        return []
    for one in runs:
        if "error" in one:
            problems.append(Problem(f"{one['preset']} failed: {one['error']}", _LOG))
        for check in one.get("checks", ()):
            if not check["passed"]:
                told = f"{check['name']}: {round(check['value'], 2):g}, expected {check['bound']}"
                problems.append(Problem(f"{one['preset']}, {told}.", check["hint"]))
    return runs


def _file(one: Finding, traced: origin.Origin | None) -> dict[str, Any]:
    size = None
    with suppress(OSError, UnsupportedWeightsError):  # a folder may be incomplete
        size = sum(part.stat().st_size for part in one.parts) if one.state in (FITS, WRONG) else None
    known = {"sha256": dict(traced.sha256), "origin": traced.text} if traced else {}
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


def _need(need: Need) -> dict[str, Any]:
    return {
        "name": need.name,
        "ready": need.ready,
        "uses": {kind: one.name for kind, one in need.uses.items()},
        "choose": need.choices if need.sort == "workflow" else [],
        "lacks": [entry.saved for entry in need.lacks],
        "bytes": sum(entry.size or entry.estimate for entry in need.lacks),
        "command": need.command,
    }


def _where(asked: Asked) -> str:
    """Return the option that makes `fetch` use the given folder; empty if none was given."""
    folder = asked.models or (asked.comfyui / "models" if asked.comfyui else None)
    return f' --models "{folder}"' if folder else ""


def _completed(command: str, tail: str) -> str:
    return command + tail if catalogue.command() in command else command


def _tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
