"""Files that are whole or not there, names for them, and texts and JSON that come from others."""

import codecs
import json
import re
import secrets
import unicodedata
from pathlib import Path
from typing import Any

_SHOWN = 200  # letters of a value in a message
_LONGEST = 200  # bytes; file systems allow 255, less our suffixes
_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9])\s*(\..*)?", re.IGNORECASE
)  # of Windows
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # on Windows, where ':' leads to other drives and streams


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a link of that name is replaced, what it leads to stays."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_link(path: Path) -> None:
    """Refuse to write where a stranger's folder may lead out of itself.

    Raises:
        ValueError: if it is a link.
    """
    if path.is_symlink():
        raise ValueError(f"{path}: a link, which could lead anywhere. Put the real one there.")


def portable(part: str) -> bool:
    """Whether every system takes it as the name of one file, and one in the folder that it is put into."""
    plain = unicodedata.normalize("NFKC", part)  # some systems compare names so: COM¹ is COM1
    return not (
        len(part.encode("utf-8", "surrogatepass")) > _LONGEST
        or plain.endswith((".", " "))
        or _FORBIDDEN.search(plain)
        or _DEVICE.fullmatch(plain)
        or any(mark in plain for mark in "/\\")
        or any(unicodedata.category(letter)[0] == "C" for letter in part)  # unseen, or no letter
    )


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file that people edit: UTF-8, or what its byte order mark says, as Windows writes it.

    Args:
        path: of the file.
        errors: as of `bytes.decode`.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is in another encoding.
    """
    content = path.read_bytes()
    coding = next((coding for mark, coding in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding, errors)
        known = errors != "strict" or "\0" not in text  # which UTF-16 without a mark is full of
    except UnicodeDecodeError:
        text, known = "", False
    if not known:
        raise ValueError(f"'{path.name}' is no text in UTF-8. Save it as UTF-8.")
    return text


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: if it isn't JSON, is too deeply nested to be read, or holds half a character (a lone
            surrogate), which could be neither saved nor told of.
    """
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half a character, {brief(error.object[error.start])}") from None
    return found


def brief(value: object) -> str:
    """A value for a message; one of any length stays readable."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} ..."
