"""What commands print, which must not change how they end."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any


def keep_printing() -> None:
    """Let stdout and stderr take any text, and go on when nobody reads it any more, as behind `| head`.

    Letters that a console doesn't know are shown as escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):  # there may be none
            continue
        stream.reconfigure(errors="backslashreplace")
        buffered = hasattr(stream.buffer, "raw")  # not with PYTHONUNBUFFERED
        if type(stream.buffer.raw if buffered else stream.buffer) is io.FileIO:
            stream.flush()
            outlet = _Outlet(stream.fileno(), "wb", closefd=False)
            kept = io.TextIOWrapper(
                io.BufferedWriter(outlet) if buffered else outlet,  # type: ignore[arg-type]
                stream.encoding,
                "backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, kept)


class _Outlet(io.FileIO):
    """A file whose reader may go."""

    def write(self, content: Any, /) -> int | None:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # the latter on Windows
                raise
            return memoryview(content).nbytes
