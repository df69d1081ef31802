"""Scores of picture files, matched by name."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from .metrics import METRICS, evaluate

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}


def report(sr: Path, gt: Path | None = None, lr: Path | None = None) -> dict:
    """Scores of a file, or of every picture of a folder, with their means and the protocol.

    Returns:
        {"images": [{"name", metric: value, ...}], "mean": {metric: value}, "no_mean": metrics that some
        results are too small for, "unscored": originals without a result, "protocol": {metric: how it is
        measured}}. A PSNR of equal pictures is infinite, and so is a mean over it.

    Raises:
        ValueError: if a result has no partner, or they don't belong together.
        FileNotFoundError: if a path does not exist.
    """
    results = _pictures(sr)
    partners = {
        role: _partners(results, sr, folder)
        for role, folder in (("gt", gt), ("lr", lr))
        if folder is not None
    }
    images = []
    for result in results:
        files = {role: found[result] for role, found in partners.items()}
        try:
            loaded = {role: load(file) for role, file in files.items()}
            scores = evaluate(load(result), gt=loaded.get("gt"), lr=loaded.get("lr"))
        except ValueError as error:
            raise ValueError(
                f"'{result.name}' against {', '.join(map(repr, map(str, files.values())))}: {error}"
            ) from error
        images.append({"name": result.name, **scores})
    measured = [name for name in METRICS if any(name in scores for scores in images)]
    complete = [name for name in measured if all(name in scores for scores in images)]
    unscored = set(_pictures(gt)) - set(partners["gt"].values()) if gt is not None else set()
    return {
        "images": images,
        "mean": {name: sum(scores[name] for scores in images) / len(images) for name in complete},
        "no_mean": [name for name in measured if name not in complete],
        "unscored": sorted(file.name for file in unscored),
        "protocol": {name: _protocol(name) for name in measured},
    }


def json_safe(scores: Any) -> Any:
    """The same lists, dicts and values with "inf" for infinite numbers, which JSON can't say."""
    if isinstance(scores, dict):
        return {name: json_safe(value) for name, value in scores.items()}
    if isinstance(scores, list | tuple):
        return [json_safe(value) for value in scores]
    return str(scores) if isinstance(scores, float) and math.isinf(scores) else scores


def load(file: Path) -> Tensor:
    """A picture as (1, 3, H, W) RGB in [0, 1], upright, without its transparency.

    Raises:
        ValueError: if it has more than 8 bits a channel: the metrics are defined on 8-bit images.
    """
    with Image.open(file) as picture:
        if picture.mode not in EIGHT_BIT:
            raise ValueError(
                f"'{file}' is stored as {picture.mode}; expected 8 bits a channel. Convert it first."
            )
        rgb = ImageOps.exif_transpose(picture).convert("RGB")
    pixels = torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8).view(rgb.height, rgb.width, 3)
    return pixels.movedim(-1, 0)[None].double() / 255


def _pictures(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"There is no file or folder '{path}'.")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise ValueError(f"No pictures in '{path}'; expected {', '.join(sorted(SUFFIXES))}.")
    return found


def _partners(results: list[Path], sr: Path, references: Path) -> dict[Path, Path]:
    """The file of `references` for each result: of the same name, else of the same stem.

    Raises:
        ValueError: if there is none, or more than one.
    """
    files = _pictures(references)
    if sr.is_file() and references.is_file():
        return {results[0]: files[0]}
    found = {}
    for result in results:
        matches = [f for f in files if f.name == result.name] or [f for f in files if f.stem == result.stem]
        if len(matches) != 1:
            raise ValueError(
                f"'{result.name}' has {len(matches)} partners named '{result.stem}' in '{references}'; "
                "expected one."
            )
        found[result] = matches[0]
    return found


def _protocol(name: str) -> dict[str, object]:
    fields = asdict(METRICS[name])
    del fields["measure"]
    return fields
