"""Scores of picture files that are matched by name, and their summary."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..console import columns
from ..files import printable
from ..image import from_levels
from ..photos import listing
from ..photos.formats import PhotoError
from ..photos.listing import Listing, list_photos, listed
from ..photos.reader import Photo, open_photo, size_of
from .extras import EXTRAS, Extras
from .metrics import CHALLENGE, METRICS, challenge_score, evaluate
from .seams import Borders, tile_borders

AGAINST = {"gt": "the original", "lr": "the small photo", "borders": "its tiles", "nothing": "nothing"}


def report(
    sr: Path,
    gt: Path | None = None,
    lr: Path | None = None,
    *,
    tiles: tuple[int, int] | None = None,
    extras: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the scores of a file or of every picture of a folder; a terminal gets a progress bar.

    Args:
        sr: the result, or a folder of results.
        gt: the original, or a folder of originals named like the results.
        lr: the small photo, or a folder of small photos named like the results.
        tiles: size and overlap in pixels of the tiles that the results were made in, to measure seams.
        extras: names of EXTRAS to measure too.

    Returns:
        The result of `summary`, and {"unscored": names of originals without a result, "failed": {name of a
        result: reason}, "passed_over": lines about other files}.

    Raises:
        ValueError: if a result has no partner, sizes don't fit, or nothing can be scored.
        FileNotFoundError: if a path does not exist.
        RuntimeError: if the package of an extra is missing.
    """
    pairs = matched(sr, gt, lr)
    needy = [name for name in extras if EXTRAS[name].reference == "gt"]
    if needy and gt is None:
        raise ValueError(f"{', '.join(needy)} compares with the original; give it, or leave it out.")
    networks = Extras(extras)
    places = {"sr": sr, "gt": gt, "lr": lr}
    listings = {role: list_photos(place) for role, place in places.items() if place is not None}
    if tiles:
        width, height = max((size for file in pairs if (size := _size(file))), key=max, default=(0, 0))
        tile_borders(height, width, *tiles)  # raises if even the largest is one tile
    images, failed = [], {}
    names = {file: printable(name) for name, file in listings["sr"].photos.items()}
    for result, files in tqdm(pairs.items(), unit=" photos", disable=None if len(pairs) > 1 else True):
        name = names[result]
        try:
            images.append({"name": name, **_scores(result, files, tiles, networks)})
        except ValueError as error:
            against = "".join(f" against '{printable(file)}'" for file in files.values())
            failed[name] = f"'{name}'{against}: {error}"
    if not images:
        raise ValueError("\n".join(failed.values()))
    return {**summary(images), "failed": failed, **_unused(listings, pairs)}


def _unused(listings: dict[str, Listing], pairs: dict[Path, dict[str, Path]]) -> dict[str, list[str]]:
    """Return the names of originals without a result, and lines about other files that were not used."""
    used = {file for files in pairs.values() for file in files.values()}
    unused = {
        role: [name for name, file in side.photos.items() if file not in used]
        for role, side in listings.items()
    }
    lines = [f"{role}: {line}" for role, side in listings.items() for line in side.passed_over()]
    lines += [f"lr: without a result: {listed(unused['lr'])}"] if unused.get("lr") else []
    return {"unscored": [printable(name) for name in unused.get("gt", ())], "passed_over": lines}


def _scores(
    result: Path, files: dict[str, Path], tiles: tuple[int, int] | None, networks: Extras
) -> dict[str, float]:
    photos = {role: _opaque(file) for role, file in {"sr": result, **files}.items()}
    for photo, file in zip(photos.values(), (result, *files.values()), strict=True):
        if photo.note:
            tqdm.write(f"{printable(file)}: {photo.note}.", file=sys.stderr)
    picture, *_ = pictures = [from_levels(photo.rgb()) for photo in photos.values()]
    references = dict(zip(files, pictures[1:], strict=True))
    scores = evaluate(picture, **references, borders=_borders(picture, tiles))
    return scores | networks.measure(picture, gt=references.get("gt"))


def summary(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return scores of pictures, each {"name", metric: value, ...}, with their statistics.

    Returns:
        {"images": the scores, "mean": {metric: value}, "interval": {metric: [low, high]}, "no_mean": metrics
        that some pictures lack, "challenge": {"score", "missing"} of the means, with score None if none of
        its metrics was measured, "protocol": {metric: its definition}}. The PSNR of equal pictures is
        infinite, and so is a mean over it; such means, and those of one picture, have no interval.
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
        "protocol": {name: known[name].data() for name, column in values.items() if column},
    }


def interval(values: Sequence[float]) -> list[float] | None:
    """Return the 95 % interval [low, high] of a mean, from 10,000 bootstrap resamples with a fixed seed.

    None for fewer than two values or an infinite one. For a handful of values it is too narrow.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    column, generator = np.asarray(values), np.random.default_rng(0)
    # In batches: all at once would need a gigabyte for some thousand pictures.
    picks = (generator.integers(len(column), size=(100, len(column))) for _ in range(100))
    low, high = np.quantile([column[pick].mean(axis=1) for pick in picks], (0.025, 0.975))
    return [float(low), float(high)]


def table(scores: dict[str, Any]) -> str:
    """Return a report as text: a line per picture, a line per metric, and the challenge score."""
    images, mean, protocol = scores["images"], scores["mean"], scores["protocol"]
    rows = [("", *protocol)] + [
        (row["name"], *(_figure(row.get(name)) for name in protocol)) for row in images
    ]
    over = f"mean of {len(images)}" if len(images) > 1 else images[0]["name"]
    figures = [(over, "value", "95 % interval", "better", "compared with")]
    for name, how in protocol.items():
        low_high = " to ".join(map(_figure, scores["interval"].get(name, ()))) or "-"
        figures.append((name, _figure(mean.get(name)), low_high, how["better"], AGAINST[how["reference"]]))
    text = (columns(rows) + "\n" if len(images) > 1 else "") + columns(figures)
    challenge = scores["challenge"]
    if challenge["score"] is not None:
        without = ", ".join(challenge["missing"])
        text += f"\nchallenge score {_figure(challenge['score'])}"
        text += f", without {without}; the command takes --gt and --extra\n" if without else "\n"
    if scores.get("unscored"):
        text += f"\noriginals without a result: {', '.join(scores['unscored'])}\n"
    return text


def left_out(scores: dict[str, Any]) -> list[str]:
    """Return lines about the files of a report that have no scores."""
    failed = scores.get("failed")
    return [*([f"not scored: {listed(list(failed))}"] if failed else []), *scores.get("passed_over", ())]


def json_safe(scores: Any) -> Any:
    """Return the scores with "inf" for infinite numbers, which JSON lacks."""
    if isinstance(scores, dict):
        return {name: json_safe(value) for name, value in scores.items()}
    if isinstance(scores, list | tuple):
        return [json_safe(value) for value in scores]
    return str(scores) if isinstance(scores, float) and math.isinf(scores) else scores


def load(file: Path) -> Tensor:
    """Return a picture as (1, 3, H, W) RGB in [0, 1], upright, in sRGB.

    Raises:
        PhotoError: if it can't be read, or is partly transparent.
    """
    return from_levels(_opaque(file).rgb())


def _opaque(file: Path) -> Photo:
    photo = open_photo(file)
    if photo.alpha:
        raise PhotoError(
            file,
            "partly transparent; metrics compare opaque pictures. "
            "Flatten it onto a background first, and its partners onto the same.",
        )
    return photo


def partners(results: Path, references: Path) -> dict[Path, Path]:
    """Return the picture of `references` for each of `results`, as `photos.listing.partners` finds it.

    Both are files or folders; two files belong together whatever their names.

    Raises:
        ValueError: if a result has no partner or several.
        FileNotFoundError: if a path does not exist.
    """
    if results.is_file() and references.is_file():
        return {results: references}
    left, right = list_photos(results).photos, list_photos(references).photos
    candidates = listing.partners(left, right)
    if not any(candidates.values()):
        raise ValueError(
            f"No picture of '{results}' is named like one of '{references}'; expected pairs of the same name."
        )
    for name, matches in candidates.items():
        if len(matches) != 1:
            several = f": {', '.join(map(printable, matches))}" if matches else ""
            raise ValueError(
                f"'{printable(name)}' has {len(matches)} partners of that name in '{references}'{several}; "
                "expected one."
            )
    return {left[name]: right[match] for name, (match,) in candidates.items()}


def matched(sr: Path, gt: Path | None = None, lr: Path | None = None) -> dict[Path, dict[str, Path]]:
    """Return the references of each result, {result: {"gt": file, "lr": file}}; only headers are read.

    Raises:
        ValueError: if a result has no partner, or an original has another size.
        FileNotFoundError: if a path does not exist.
    """
    partner_of = {role: partners(sr, path) for role, path in (("gt", gt), ("lr", lr)) if path is not None}
    results = list_photos(sr).photos.values()
    pairs = {result: {role: files[result] for role, files in partner_of.items()} for result in results}
    for result, files in pairs.items():
        for role, file in files.items():
            # As stored: which side is up, `evaluate` sees.
            size, other = _size(result), _size(file)
            if role == "gt" and size and other and sorted(size) != sorted(other):
                sizes = f"is {size[0]}x{size[1]} px and '{printable(file)}' {other[0]}x{other[1]}"
                raise ValueError(
                    f"'{printable(result.name)}' {sizes}; expected equal sizes. "
                    "Score a result against its own original, and don't resize either."
                )
    return pairs


def _size(file: Path) -> tuple[int, int] | None:
    """Return width and height; None for an unreadable file, which is reported when it is scored."""
    with suppress(PhotoError):
        return size_of(file)
    return None


def _borders(sr: Tensor, tiles: tuple[int, int] | None) -> tuple[Borders, ...] | None:
    if tiles:
        with suppress(ValueError):  # this one is one tile
            return tile_borders(sr.shape[-2], sr.shape[-1], *tiles)
    return None


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
