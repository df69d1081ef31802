"""Files that are whole or not there, and JSON that comes from others."""

import json
import secrets
from pathlib import Path
from typing import Any

_SHOWN = 200  # letters of a value in a message


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


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: if it isn't JSON, or too deeply nested to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def brief(value: object) -> str:
    """A value for a message; one of any length stays readable."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} ..."
