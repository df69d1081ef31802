"""The report as text for an issue."""

from __future__ import annotations

import getpass
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

GB, GIB = 1e9, 1 << 30
_HOMES = re.compile(r"(?:[A-Za-z]:)?[\\/](?:home|Users|Benutzer)[\\/][^\\/\s\"']+")
_WIDTH, _INDENT = 110, 13
_ORDER = ("Load Checkpoint", "Load SAM2 Encoder", "Load Semantic Adapter", "Load Semantic ControlNet")
_SHOWN = 3


def hidden(value: Any) -> Any:
    """Return the value with ~ for every home folder, and without the user's name."""
    if isinstance(value, str):
        return _hide(value)
    if isinstance(value, Mapping):
        return {_hide(str(key)): hidden(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(one) for one in value]
    return value


def _hide(text: str) -> str:
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    text = _HOMES.sub("~", text)
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # users in containers may have no name
        return text
    return re.sub(rf"(?<=[\\/]){re.escape(user)}(?=[\\/])", "USER", text)


def text(report: Mapping[str, Any]) -> str:
    """Return a report of `examine` as text."""
    parts = [
        [f"UGC Super-Resolution {report['ugc_sr']}, {report['made']}"],
        ["Machine", *_machine(report["machine"])],
        ["Files", *_files(report)],
    ]
    if report["presets"]:  # empty without a ComfyUI
        parts.append(["What they suffice for", *_needs(report)])
    if "runs" in report:
        parts.append(["Sample photo, restored", *_runs(report["runs"])])
    parts.append(_verdict(report))
    return "\n\n".join("\n".join(part) for part in parts)


def _machine(facts: Mapping[str, Any]) -> Iterator[str]:
    comfyui, device = facts.get("comfyui"), facts.get("device")
    yield _line(
        "ComfyUI", f"{comfyui['version'] or 'unknown'}, {comfyui['path']}" if comfyui else "not found"
    )
    yield _line("Python", facts.get("python"))
    yield _line("torch", facts.get("torch"))
    yield _line("system", facts.get("system"))
    if "sam2" in facts:
        yield _line("sam2", facts["sam2"] or "not installed")
    if device:
        memory = "" if device["type"] == "cpu" else f", {_of(device)}"
        yield _line("device", f"{device['name']}{memory}")
        yield _line("memory mode", facts["mode"])
        yield _line("memory", _of(facts["memory"]))
    if facts.get("options"):
        yield _line("options", " ".join(facts["options"]))
    if disk := facts.get("disk"):
        yield _line("disk", f"{disk['free'] / GB:.1f} GB free for {disk['path']}")


def _files(report: Mapping[str, Any]) -> Iterator[str]:
    bundled = report["bundled"]
    yield "  Load Nano Model"
    if bundled:
        yield f"    nano.safetensors: {bundled['model']}, {_size(bundled['size'])}, comes with the extension"
        yield f"      sha256 {bundled['sha256']}"
    else:
        yield "    none that can be used"
    loaders = dict.fromkeys((*_ORDER, *(one["loader"] for one in report["files"])))
    for loader in loaders:
        yield f"  {loader}"
        of_it = [one for one in report["files"] if one["loader"] == loader]
        ours = [one for one in of_it if one["state"] != "other"]
        for one in ours:
            yield from _file(one)
        if not ours:
            yield "    none"
        yield from _others([one for one in of_it if one["state"] == "other"])


def _file(one: Mapping[str, Any]) -> Iterator[str]:
    size = f", {_size(one['size'])}" if one["size"] else ""
    mark = "WRONG: " if one["state"] == "wrong" else ""
    yield f"    {one['name']}: {mark}{one['what']}{size}"
    for digest in one.get("sha256", {}).values():
        yield f"      sha256 {digest}"
    if one.get("origin"):
        yield f"      origin {one['origin']}"


def _others(others: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not others:
        return
    shown = "; ".join(f"{one['name']} is {one['what']}" for one in others[:_SHOWN])
    more = f"; {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    yield from _wrapped(f"    not for this extension: {shown}{more}", 6)


def _needs(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines: the names that are ready, then the others, grouped by the files that they lack."""
    sorts = ("presets", "workflows")
    for sort in sorts:
        ready = [
            f"{need['name']} (choose {' and '.join(need['choose'])})" if need["choose"] else need["name"]
            for need in report[sort]
            if need["ready"]
        ]
        yield from _wrapped(f"  {sort} ready: {', '.join(ready) or 'none'}", 4)
    groups: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    for sort in sorts:
        for need in report[sort]:
            if not need["ready"]:
                key = (need["command"], tuple(need["lacks"]), need["bytes"])
                groups.setdefault(key, {}).setdefault(sort, []).append(need["name"])
    for (command, lacks, size), who in groups.items():
        names = "; ".join(f"{sort} {', '.join(names)}" for sort, names in who.items())
        yield from _wrapped(f"  {names}: lacking {', '.join(lacks)}; about {size / GB:.1f} GB to fetch", 4)
        yield f"    -> {command}"


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not runs:
        yield "  nothing was run"
    for run in runs:
        if "error" in run:
            yield from _wrapped(f"  {run['preset']}: failed. {run['error']}", 4)
            continue
        width, height = run["size"]
        yield f"  {run['preset']}: {width}x{height} px in {run['seconds']:.1f} s; {_memory(run['memory'])}"
        for check in run["checks"]:
            verdict = "passed" if check["passed"] else "FAILED"
            yield from _wrapped(
                f"    {verdict}  {check['name']}: {round(check['value'], 2):g}, {check['bound']}", 12
            )


def _memory(memory: Mapping[str, Any]) -> str:
    parts = []
    if memory["device"] is not None:
        parts.append(f"at most {memory['device'] / GIB:.1f} GiB of the device in use")
    if memory["process"]:
        parts.append(f"ComfyUI took {memory['process'] / GIB:.1f} GiB of memory")
    elif memory["machine"]:
        parts.append(f"at most {memory['machine'] / GIB:.1f} GiB of the machine's memory in use")
    return ", ".join(parts)


def _verdict(report: Mapping[str, Any]) -> list[str]:
    problems = report["problems"]
    if not problems:
        return ["Nothing is wrong."]
    several = f"{len(problems)} things are wrong; mend them in this order"
    lines = [several if len(problems) > 1 else "1 thing is wrong"]
    for number, problem in enumerate(problems, 1):
        lines += _wrapped(f"  {number}. {problem['what']}", 5)
        lines += [f"     -> {problem['mend']}"]
    return lines


def _line(label: str, value: object) -> str:
    return f"  {label:<{_INDENT}}{value}"


def _wrapped(line: str, indent: int) -> list[str]:
    return textwrap.wrap(
        line,
        _WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _of(memory: Mapping[str, int]) -> str:
    return f"{memory['total'] / GIB:.1f} GiB, {memory['free'] / GIB:.1f} free"


def _size(number: int) -> str:
    if number < 1e5:
        return f"{number:,} bytes"
    return f"{number / GB:.2f} GB" if number >= GB else f"{number / 1e6:.1f} MB"
