"""The settings of a run, changed on the command line and saved in its folder as config.json."""

import ast
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import GenericAlias
from typing import Any, get_origin

from ..console import version_of
from ..files import parse_json, refuse_link, replace_file
from .data import Data
from .stages import Stage, TrainingPreset

CONFIG = "config.json"
PACKAGES = ("torch", "accelerate", "diffusers", "safetensors", "numpy")


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    name: str  # of the preset
    preset: TrainingPreset  # with the changes and the data paths of the command line
    base: str | None = None  # file or folder of pretrained weights
    validate: str | None = None  # folder of pairs to score on; None uses the photos that the data holds out
    workers: int = 2  # processes that make batches, for each process that trains

    def write(self, folder: Path, changes: Sequence[str] = ()) -> None:
        """Write config.json with the versions of the code, and `changes` appended to the earlier ones."""
        file = folder / CONFIG
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_links(folder)
        before = parse_json(file.read_bytes())["changes"] if file.exists() else []
        versions = {package: version_of(package) for package in PACKAGES}
        made_by = {"revision": _revision(), "python": platform.python_version(), **versions}
        content = {**asdict(self), "changes": [*before, *changes], "made_by": made_by}
        replace_file(file, (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "Config":
        """Return the settings of the run in a folder.

        Raises:
            FileNotFoundError: if the folder holds no run.
            ValueError: if its config.json is invalid, or there are symbolic links in the folder.
        """
        if not (folder / CONFIG).is_file():
            raise FileNotFoundError(
                f"There is no run in '{folder}': it has no {CONFIG}. --resume takes the folder of --out."
            )
        _refuse_links(folder)
        try:
            content = parse_json((folder / CONFIG).read_bytes())
            preset = content["preset"]
            stages = tuple(Stage(**{**stage, "betas": tuple(stage["betas"])}) for stage in preset["stages"])
            preset = TrainingPreset(**{**preset, "data": Data.from_data(preset["data"]), "stages": stages})
            return cls(
                preset=preset, **{key: content[key] for key in ("name", "base", "validate", "workers")}
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = error if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ValueError(f"'{folder / CONFIG}' is not the configuration of a run. {why}") from error


def changed(preset: TrainingPreset, assignments: Sequence[str]) -> TrainingPreset:
    """Return the preset with changed settings, such as "adapter.steps=100" or "seed=3".

    Raises:
        ValueError: naming the unknown setting and the known ones, or the expected type.
    """
    for assignment in assignments:
        path, given, value = assignment.partition("=")
        if not given:
            raise ValueError(
                f"--set wants NAME=VALUE, such as {preset.stages[0].name}.steps=100; got '{assignment}'."
            )
        preset = _changed(preset, path.split("."), value, path)
    return preset


def _changed(holder: Any, names: Sequence[str], text: str, path: str) -> Any:
    """Return `holder`, a dataclass or a mapping of options, with one setting replaced.

    Raises:
        ValueError: if there is no such setting.
    """
    name, *rest = names
    stages = {stage.name: stage for stage in getattr(holder, "stages", ())}
    if name in stages:
        stages[name] = _changed(stages[name], rest or [""], text, path)
        return replace(holder, stages=tuple(stages.values()))
    types = {} if isinstance(holder, Mapping) else {field.name: field.type for field in fields(holder)}
    values = {name: getattr(holder, name) for name in types} or holder
    if name not in values or bool(rest) != isinstance(values[name], (Data, Mapping)):
        known = [*values, *(f"{stage}.…" for stage in stages)]
        raise ValueError(f"There is no setting '{path}'. At '{name}' there are {', '.join(known)}.")
    if rest:
        value = _changed(values[name], rest, text, path)
    else:
        value = _parsed(types.get(name, type(values[name])), values[name], text, path)
    return {**holder, name: value} if isinstance(holder, Mapping) else replace(holder, **{name: value})


def _parsed(kind: Any, present: Any, text: str, path: str) -> Any:
    kind = get_origin(kind) if isinstance(kind, GenericAlias) else kind
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if type(value) is int and not isinstance(value, kind) and isinstance(0.0, kind):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{path} takes {getattr(kind, '__name__', kind)}, such as {present!r}; got '{text}'."
        )
    return value


def _refuse_links(folder: Path) -> None:
    for path in folder.rglob("*"):
        refuse_link(path)


def _revision() -> str | None:
    """Return the code's git revision, with a + if files were changed since; None without git."""
    here = Path(__file__).resolve().parent
    try:
        answers = [
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20
            ).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return answers[0].strip() + ("+" if answers[1].strip() else "")
