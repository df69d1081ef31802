"""The start and the end of every command: output streams, stop signals, and versions of packages."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = "ugc-super-resolution"


def keep_printing() -> None:
    """Make stdout and stderr accept any text, and ignore a reader that has closed the pipe, such as `head`.

    Characters that the console's encoding lacks are printed as escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):  # None under pythonw
            continue
        stream.reconfigure(errors="backslashreplace")
        buffered = hasattr(stream.buffer, "raw")  # not with PYTHONUNBUFFERED
        if type(stream.buffer.raw if buffered else stream.buffer) is io.FileIO:
            stream.flush()
            raw = _PipeThatMayClose(stream.fileno(), "wb", closefd=False)
            wrapped = io.TextIOWrapper(
                io.BufferedWriter(raw) if buffered else raw,  # type: ignore[arg-type]
                stream.encoding,
                "backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, wrapped)


class _PipeThatMayClose(io.FileIO):
    def write(self, content: Any, /) -> int | None:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # the latter on Windows
                raise
            return memoryview(content).nbytes


class StopSignals:
    """Records SIGINT and SIGTERM during a `with` statement in the main thread, instead of ending the program.

    A second signal raises KeyboardInterrupt.

    Attributes:
        number: number of the first signal, None before it.
    """

    def __init__(self, notice: str = "", echo_s: float = 0.0) -> None:
        """Set what happens at the first signal.

        Args:
            notice: text for stderr.
            echo_s: seconds during which further signals count as the same one: launchers of several
                processes pass signals on, so one Ctrl-C arrives twice.
        """
        self.number: int | None = None
        self._notice, self._echo_s, self._at = notice, echo_s, 0.0

    def __enter__(self) -> StopSignals:
        self._before = {
            number: signal.signal(number, self._record) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.number is not None

    def _record(self, number: int, _: FrameType | None) -> None:
        if self.number is None:
            self.number, self._at = number, time.monotonic()
            os.write(2, self._notice.encode())
        elif time.monotonic() - self._at >= self._echo_s:
            raise KeyboardInterrupt


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text: the first column is aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "".join("  ".join(cells) + "\n" for cells in lines)


def version() -> str:
    """Return this package's version: of the checkout if this is one, else of the installed package."""
    project = Path(__file__).with_name("pyproject.toml")
    if project.is_file():
        found = re.search(r'^version = "(.+)"$', project.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return metadata.version(PACKAGE)


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None if it isn't installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
