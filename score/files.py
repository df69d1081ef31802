"""Scores of picture files, matched by name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from .extras import EXTRAS, Extras
from .metrics import CHALLENGE, METRICS, challenge_score, evaluate
from .picture import BROKEN, from_picture, known_formats
from .seams import Borders, tile_borders

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
AGAINST = {"gt": "the original", "lr": "the small photo", "borders": "its tiles", "nothing": "nothing"}


def report(
    sr: Path,
    gt: Path | None = None,
    lr: Path | None = None,
    *,
    tiles: tuple[int, int] | None = None,
    extras: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores of a file, or of every picture of a folder; shows its progress on a terminal.

    Args:
        sr: the result, or a folder of them.
        gt: the original, or a folder of originals named like the results.
        lr: the small photo, or a folder of them named like the results.
        tiles: size and overlap in pixels of the tiles that the results were made in, to measure seams.
        extras: names of EXTRAS to measure too.

    Returns:
        What `summary` returns, and {"unscored": names of originals without a result}.

    Raises:
        ValueError: if a result has no partner, they don't belong together, or a file can't be scored.
        FileNotFoundError: if a path does not exist.
        RuntimeError: if the package of an extra is missing.
    """
    pairs = matched(sr, gt, lr)
    needy = [name for name in extras if EXTRAS[name].reference == "gt"]
    if needy and gt is None:
        raise ValueError(f"{', '.join(needy)} compares with the original; give it, or leave it out.")
    networks = Extras(extras)
    if tiles:
        width, height = max(map(_size, pairs), key=max)
        tile_borders(height, width, *tiles)  # raises if even the largest is one tile
    images = []
    for result, files in tqdm(pairs.items(), unit=" photos", disable=None if len(pairs) > 1 else True):
        try:
            picture = load(result)
            references = {role: load(file) for role, file in files.items()}
            scores = evaluate(picture, **references, borders=_borders(picture, tiles))
            scores |= networks.measure(picture, gt=references.get("gt"))
        except ValueError as error:
            against = "".join(f" against '{file}'" for file in files.values())
            raise ValueError(f"'{result.name}'{against}: {error}") from error
        images.append({"name": _name(result), **scores})
    used = {files["gt"] for files in pairs.values() if "gt" in files}
    unscored = [] if gt is None else [_name(file) for file in pictures(gt) if file not in used]
    return {**summary(images), "unscored": unscored}


def summary(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The scores of pictures, {"name", metric: value, ...} each, with what they say together.

    Returns:
        {"images": the same, "mean": {metric: value}, "interval": {metric: [low, high]}, "no_mean": metrics
        that some pictures have no value of, "challenge": {"score", "missing"} of the means, its score None
        where nothing of it was measured, "protocol": {metric: how it is measured}}. A PSNR of equal pictures
        is infinite, and so is a mean over it; such a mean and that of one picture have no interval.
    """
    known = {**METRICS, **EXTRAS}
    values = {name: [row[name] for row in images if name in row] for name in known}
    complete = {name: column for name, column in values.items() if column and len(column) == len(images)}
    mean = {name: math.fsum(column) / len(column) for name, column in complete.items()}
    intervals = {name: interval(column) for name, column in complete.items()}
    score, missing = challenge_score(mean)
    return {
        "images": list(images),
        "mean": mean,
        "interval": {name: found for name, found in intervals.items() if found},
        "no_mean": [name for name, column in values.items() if 0 < len(column) < len(images)],
        "challenge": {"score": score if len(missing) < len(CHALLENGE) else None, "missing": list(missing)},
        "protocol": {name: _protocol(known[name]) for name, column in values.items() if column},
    }


def interval(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval [low, high] of a mean: percentiles of 10,000 bootstrap resamples, always the same.

    None for fewer than two values, and where one is infinite. Of a handful of values it is too narrow.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    column, generator = np.asarray(values), np.random.default_rng(0)
    # In batches: all at once would need a gigabyte for some thousand pictures.
    picks = (generator.integers(len(column), size=(100, len(column))) for _ in range(100))
    low, high = np.quantile([column[pick].mean(axis=1) for pick in picks], (0.025, 0.975))
    return [float(low), float(high)]


def table(scores: dict[str, Any]) -> str:
    """A report as text: a line a picture where there are several, a line a metric, and the challenge."""
    images, mean, protocol = scores["images"], scores["mean"], scores["protocol"]
    rows = [("", *protocol)] + [
        (row["name"], *(_figure(row.get(name)) for name in protocol)) for row in images
    ]
    over = f"mean of {len(images)}" if len(images) > 1 else images[0]["name"]
    figures = [(over, "value", "95 % interval", "better", "compared with")]
    for name, how in protocol.items():
        low_high = " to ".join(map(_figure, scores["interval"].get(name, ()))) or "-"
        figures.append((name, _figure(mean.get(name)), low_high, how["better"], AGAINST[how["reference"]]))
    text = (_columns(rows) + "\n" if len(images) > 1 else "") + _columns(figures)
    challenge = scores["challenge"]
    if challenge["score"] is not None:
        without = ", ".join(challenge["missing"])
        text += f"\nchallenge score {_figure(challenge['score'])}"
        text += f", without {without}; the command takes --gt and --extra\n" if without else "\n"
    if scores.get("unscored"):
        text += f"\noriginals without a result: {', '.join(scores['unscored'])}\n"
    return text


def json_safe(scores: Any) -> Any:
    """The same lists, dicts and values with "inf" for infinite numbers, which JSON can't say."""
    if isinstance(scores, dict):
        return {name: json_safe(value) for name, value in scores.items()}
    if isinstance(scores, list | tuple):
        return [json_safe(value) for value in scores]
    return str(scores) if isinstance(scores, float) and math.isinf(scores) else scores


def load(file: Path) -> Tensor:
    """A picture as (1, 3, H, W) RGB in [0, 1], upright.

    Raises:
        ValueError: if it can't be read.
        UnsuitedError: if it is partly transparent, or has more than 8 bits a channel: the metrics are defined
            on 8-bit images.
    """
    with _opened(file) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.has_transparency_data and upright.convert("RGBA").getchannel("A").getextrema() != (
            255,
            255,
        ):
            raise UnsuitedError(
                f"'{file}' is partly transparent; metrics compare opaque pictures. "
                "Flatten it onto a background first, and its partners onto the same."
            )
        return from_picture(upright)


def pictures(path: Path) -> list[Path]:
    """A picture, or those of a folder by name.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"There is no file or folder '{path}'.")
    files = (file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    found = sorted(file for file in files if not file.name.startswith("."))
    if not found:
        raise ValueError(f"No pictures in '{path}'; expected {', '.join(sorted(SUFFIXES))}.")
    return found


def partners(results: Path, references: Path) -> dict[Path, Path]:
    """The picture of `references` for each of `results`: of the same name, else of the same stem.

    Both are files or folders; two files belong together whatever their names.

    Raises:
        ValueError: if a result has none, or more than one.
        FileNotFoundError: if a path does not exist.
    """
    files = pictures(references)
    if results.is_file() and references.is_file():
        return {results: references}
    found = {}
    for result in pictures(results):
        same = [file for file in files if file.name == result.name]
        found[result] = same or [file for file in files if file.stem == result.stem]
    if not any(found.values()):
        raise ValueError(
            f"No picture of '{results}' is named like one of '{references}'; expected pairs of the same name."
        )
    for result, matches in found.items():
        if len(matches) != 1:
            raise ValueError(
                f"'{result.name}' has {len(matches)} partners named '{result.stem}' in '{references}'; "
                "expected one."
            )
    return {result: match for result, (match,) in found.items()}


def matched(sr: Path, gt: Path | None = None, lr: Path | None = None) -> dict[Path, dict[str, Path]]:
    """What each result is compared with, {result: {"gt": file, "lr": file}}; only headers are read.

    Raises:
        ValueError: if a result has no partner, an original has another size, or a file is no picture.
        FileNotFoundError: if a path does not exist.
    """
    found = {role: partners(sr, path) for role, path in (("gt", gt), ("lr", lr)) if path is not None}
    pairs = {result: {role: files[result] for role, files in found.items()} for result in pictures(sr)}
    for result, files in pairs.items():
        for role, file in files.items():
            # As stored: which side is up, `evaluate` sees.
            size, other = _size(result), _size(file)
            if role == "gt" and sorted(size) != sorted(other):
                raise ValueError(
                    f"'{result.name}' is {size[0]}x{size[1]} px and '{file}' {other[0]}x{other[1]}; expected "
                    "equal sizes. Score a result against its own original, and don't resize either."
                )
    return pairs


def _size(file: Path) -> tuple[int, int]:
    with _opened(file) as picture:
        return picture.size


class UnsuitedError(ValueError):
    """The picture can be read, but not be measured."""


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """A picture of which only the header is read yet.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it can't be read, now or by the caller.
        UnsuitedError: if it has more than 8 bits a channel.
    """
    try:
        with Image.open(file, formats=known_formats()) as picture:
            if picture.mode not in EIGHT_BIT:
                raise UnsuitedError(
                    f"'{file}' is stored as {picture.mode}; expected 8 bits a channel. Convert it first."
                )
            yield picture
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no picture '{file}'.") from None
    except UnidentifiedImageError:
        raise ValueError(f"'{file}' is no picture that can be read.") from None
    except UnsuitedError:
        raise
    except (*BROKEN, Image.DecompressionBombError) as error:
        raise ValueError(f"'{file}' can't be read: {error}.") from error


def _name(file: Path) -> str:
    """A file's name as text that can be printed: a name may hold bytes that are no text."""
    return os.fsencode(file.name).decode("utf-8", "replace")


def _borders(sr: Tensor, tiles: tuple[int, int] | None) -> tuple[Borders, ...] | None:
    if tiles:
        with suppress(ValueError):  # this one is one tile
            return tile_borders(sr.shape[-2], sr.shape[-1], *tiles)
    return None


def _protocol(metric: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(metric).items() if not callable(value)}


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) + "\n"
        for cells in rows
    )
