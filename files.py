"""Atomic writing, portable file names, and reading of text and JSON from untrusted sources."""

import codecs
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".*.part"  # matches the files that an interrupted `atomic_write` leaves behind
_SHOWN = 200  # characters of a value in a message
_LONGEST = 200  # bytes of a name; file systems allow 255, less the suffixes that are added
# Names that Windows reserves for devices.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9])\s*(\..*)?", re.IGNORECASE)
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # on Windows, where ':' leads to other drives and streams


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; the file written there replaces `path` when the block ends.

    If the block raises, the temporary file is deleted and `path` keeps its content. If `path` is a symbolic
    link, the link is replaced and its target is not touched.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, as `atomic_write` does."""
    with atomic_write(path) as temporary, temporary.open("xb") as file:
        file.write(content)


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link, through which a write could leave the folder that was given.

    Raises:
        ValueError: if `path` is a symbolic link.
    """
    if path.is_symlink():
        raise ValueError(
            f"{path}: a symbolic link, which could lead to another folder. Put the real one there."
        )


def portable(part: str) -> bool:
    """Return whether `part` is a valid file name on every system, without a path separator."""
    plain = unicodedata.normalize("NFKC", part)  # as some systems compare names: COM¹ equals COM1
    return not (
        len(part.encode("utf-8", "surrogatepass")) > _LONGEST
        or plain.endswith((".", " "))
        or _FORBIDDEN.search(plain)
        or _DEVICE.fullmatch(plain)
        or any(mark in plain for mark in "/\\")
        or any(unicodedata.category(letter)[0] == "C" for letter in part)  # control and unassigned characters
    )


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a file in UTF-8, or in the encoding that its byte order mark names.

    Windows programs write such marks.

    Args:
        path: the file.
        errors: the error handler of `bytes.decode`.

    Raises:
        OSError: if the file can't be read.
        ValueError: if the file has another encoding.
    """
    content = path.read_bytes()
    coding = next((coding for mark, coding in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding, errors)
        known = errors != "strict" or "\0" not in text  # UTF-16 without a mark is full of zeros
    except UnicodeDecodeError:
        text, known = "", False
    if not known:
        raise ValueError(f"'{path.name}' is not UTF-8 text. Save it as UTF-8.")
    return text


def printable(name: str | Path) -> str:
    """Return a file name as one line of text, with undecodable bytes and control characters escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if the text is not JSON, is nested too deeply for Python, or holds a lone surrogate,
            which can be neither saved nor printed.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half a character, {brief(error.object[error.start])}") from None
    return value


def brief(value: object) -> str:
    """Return the `repr` of a value, cut to 200 characters for a message."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} ..."


def demand(holds: object, where: str, wanted: str, got: object) -> None:
    """Check what others wrote.

    Raises:
        ValueError: unless `holds`, with the place, the expectation and the actual value.
    """
    if not holds:
        raise ValueError(f"{where} {wanted}, got {brief(got)}.")
