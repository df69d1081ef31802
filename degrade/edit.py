"""Edits of a recipe as lines of text: `steps[3].parameters.quality = {"uniform": [30, 60]}`."""

import json
import re
from typing import Any

from ..files import brief, parse_json
from .recipe import Recipe

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*|\[\d+\])*")


def edit(recipe: Recipe, changes: str, name: str = "") -> Recipe:
    """Return a recipe with some fields of its JSON form changed.

    Args:
        recipe: the recipe, which is not modified.
        changes: one `path = JSON value` per line, applied from top to bottom. An index one past the end of a
            list appends an entry; the value null removes the field or entry. Empty lines and lines that
            begin with # are skipped.
        name: name of the result. Default: the old name, with ' (edited)' appended if anything changed. A line
            `name = "..."` takes precedence.

    Raises:
        ValueError: naming the line that can't be parsed or the field that does not exist, or the error in
            the resulting recipe.
    """
    data = recipe.to_data()
    before = json.dumps(data)
    for number, line in enumerate(changes.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            _change(data, line.strip(), f"changes, line {number}")
    changed = json.dumps(data) != before
    if data.get("name") == recipe.name:
        data["name"] = name or (f"{recipe.name} (edited)" if changed else recipe.name)
    return Recipe.from_data(data)


def _change(data: dict[str, Any], line: str, where: str) -> None:
    path, equals, text = (part.strip() for part in line.partition("="))
    if not equals or not _PATH.fullmatch(path):
        raise ValueError(
            f"{where}: expected 'path = JSON value', such as 'steps[0].probability = 0.5'; got {brief(line)}."
        )
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(
            f"{where}: {brief(text)} is not a JSON value ({error}). Put texts in double quotes; "
            "true, false and null are small."
        ) from None
    *parents, last = [int(i) if i else name for name, i in re.findall(r"([A-Za-z_]\w*)|\[(\d+)\]", path)]
    place: Any = data
    for key in parents:
        place = place[_there(place, key, where, path)]
    if value is None:
        del place[_there(place, last, where, path)]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    elif isinstance(place, dict) and isinstance(last, str):
        place[last] = value  # a field that a recipe doesn't know is refused with the recipe
    else:
        place[_there(place, last, where, path)] = value


def _there(place: Any, key: str | int, where: str, path: str) -> Any:
    """Return `key`, which must be a field or an entry of `place`.

    Raises:
        ValueError: saying what there is instead.
    """
    if isinstance(place, list) and isinstance(key, int):
        if key < len(place):
            return key
        has = f"the list has {len(place)} entries, counted from 0"
    elif isinstance(place, dict) and isinstance(key, str):
        if key in place:
            return key
        has = "there is " + (", ".join(place) or "nothing")
    else:
        has = {dict: "it is no list but has names", list: "it is a list; give a number"}.get(
            type(place), "it is a plain value"
        )
    shown = f"[{key}]" if isinstance(key, int) else brief(key)
    raise ValueError(f"{where}: {brief(path)} leads nowhere: no {shown}, {has}.")
