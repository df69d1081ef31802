"""The settings of a run, saved in its folder as config.json."""

import json
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..files import parse_json, refuse_link, replace_file
from .presets import TrainingPreset, from_json, to_json

CONFIG = "config.json"
PACKAGES = ("torch", "accelerate", "diffusers", "safetensors", "numpy")


@dataclass(frozen=True)
class Config:
    """All settings of a run.

    Attributes:
        name: name of the preset.
        preset: the preset, with the changes and the data paths of the command line.
        base: file or folder of pretrained weights.
        validate: folder of pairs to score on; None uses the photos that the data holds out.
        workers: processes that make batches, for each process that trains.
    """

    name: str
    preset: TrainingPreset
    base: str | None = None
    validate: str | None = None
    workers: int = 2

    def write(self, folder: Path, changes: tuple[str, ...] = ()) -> None:
        """Write config.json with the versions of the code, and `changes` appended to the earlier ones."""
        file = folder / CONFIG
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_links(folder)
        before = parse_json(file.read_bytes())["changes"] if file.exists() else []
        content = {**asdict(self), "preset": to_json(self.preset)}
        content |= {"changes": [*before, *changes], "made_by": made_by()}
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
            fields = {name: content[name] for name in ("name", "base", "validate", "workers")}
            return cls(preset=from_json(content["preset"]), **fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = error if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ValueError(f"'{folder / CONFIG}' is not the configuration of a run. {why}") from error


def made_by() -> dict[str, Any]:
    """Return the code's git revision, with a + if files were changed since, and versions of packages."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"revision": _revision(), "python": platform.python_version(), **versions}


def _refuse_links(folder: Path) -> None:
    for path in folder.rglob("*"):
        refuse_link(path)


def _revision() -> str | None:
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
