"""A report as a self-contained HTML file: figures, plots, and crops of the worst pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import printable
from ..photos.listing import list_photos
from .card import GROUPS
from .extras import EXTRAS
from .metrics import METRICS, badness
from .pil_image import to_picture
from .plots import distribution, scatter
from .scoring import AGAINST, left_out, load, matched
from .sheet import cut, interest, places

WORST = 6  # pictures that are shown
CROP_PX, WHOLE_PX = 128, 256
FIDELITY, PERCEPTION = "psnr_y", "own_niqe"  # axes of the scatter plot
ROLES = {"sr": "result", "gt": "original", "lr": "small photo"}
BETTER = {"higher": "↑ higher is better", "lower": "↓ lower is better", "near 1": "near 1 is best"}


def page(scores: dict[str, Any], sr: Path, gt: Path | None = None, lr: Path | None = None) -> str:
    """Return a report as HTML.

    Args:
        scores: the result of `scoring.report` for the same paths.
        sr: the result, or a folder of results.
        gt: the original or originals, if given.
        lr: the small photo or photos, if given.

    Raises:
        ValueError: if a picture has become unreadable.
    """
    from jinja2 import Environment, StrictUndefined

    ranking = worst(scores)
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names = {file: printable(name) for name, file in list_photos(sr).photos.items()}
    scored = {image["name"] for image in scores["images"]}
    pairs = [(file, files) for file, files in matched(sr, gt, lr).items() if names[file] in scored]
    return environment.from_string(template).render(
        scores=scores,
        given={ROLES[role]: str(path) for role, path in (("sr", sr), ("gt", gt), ("lr", lr)) if path},
        groups=_groups(scores),
        plots=_plots(scores),
        trade_off=_trade_off(scores),
        rows=_rows(scores, shown=ranking[:WORST]),
        worst=[
            {"number": index + 1, "name": scores["images"][index]["name"], **_look(*pairs[index])}
            for index in ranking[:WORST]
        ],
        known=METRICS | EXTRAS,
        against=AGAINST,
        left_out=left_out(scores),
    )


def worst(scores: dict[str, Any]) -> list[int]:
    """Return the indices of the pictures, worst first, by mean rank over all metrics with a mean."""
    from scipy.stats import rankdata

    images = scores["images"]
    ranks = [rankdata([badness(name, row[name]) for row in images]) for name in scores["mean"]]
    return sorted(range(len(images)), key=lambda index: (-sum(column[index] for column in ranks), index))


def _groups(scores: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the means as cards, by reference."""
    groups: dict[str, list[dict[str, str]]] = {}
    for name, value in scores["mean"].items():
        how = scores["protocol"][name]
        known, reference = (METRICS | EXTRAS)[name], how["reference"]
        card = {
            "label": known.title,
            "value": _short(value),
            "unit": known.unit,
            "interval": " to ".join(map(_short, scores["interval"].get(name, ()))),
            "better": BETTER[how["better"]],
            "tells": known.meaning,
        }
        groups.setdefault(next(title for title, kinds in GROUPS.items() if reference in kinds), []).append(
            card
        )
    return groups


def _plots(scores: dict[str, Any]) -> dict[str, str]:
    """Return {metric: SVG} of the metrics with an interval."""
    return {
        name: distribution(name, [row[name] for row in scores["images"]], scores["mean"][name], interval)
        for name, interval in scores["interval"].items()
    }


def _trade_off(scores: dict[str, Any]) -> str:
    """Return a plot of fidelity against perception, or "" if one of both has no interval."""
    axes = FIDELITY, PERCEPTION
    if not scores["interval"].keys() >= set(axes):
        return ""
    x, y = ([row[name] for row in scores["images"]] for name in axes)
    down = [scores["protocol"][name]["better"] == "lower" for name in axes]
    labels = [f"{METRICS[name].title} {METRICS[name].unit}".strip() for name in axes]
    return scatter(x, y, labels=(labels[0], labels[1]), down=(down[0], down[1]))


def _rows(scores: dict[str, Any], shown: Sequence[int]) -> list[dict[str, Any]]:
    """Return one row per picture; if there are several, the worst value of each metric is marked."""
    images = scores["images"]
    lowest = {
        name: max(badness(name, row[name]) for row in images if name in row) for name in scores["protocol"]
    }
    rows = []
    for index, row in enumerate(images):
        cells = [
            (
                _short(row[name]) if name in row else "–",
                len(images) > 1 and name in row and badness(name, row[name]) == lowest[name],
            )
            for name in scores["protocol"]
        ]
        rows.append({"number": index + 1, "name": row["name"], "shown": index in shown, "cells": cells})
    return rows


def _look(result: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Return crops at the largest error, or, without a reference, at most detail, and their position."""
    photos = {role: to_picture(load(file)) for role, file in {"sr": result, **files}.items()}
    sr = photos["sr"]
    compared = [photos[role] for role in ("gt", "lr") if role in photos][:1]
    find = "difference" if compared else "detail"
    (box,) = places(interest([*compared, sr], sr.size, find), 1, CROP_PX)
    left, top, right, bottom = box
    side = round((right - left) * sr.width)
    whole = sr.copy()
    whole.thumbnail((WHOLE_PX, WHOLE_PX))
    return {
        "why": "largest error" if compared else "most detail",
        "place": f"{side} px at {round(left * sr.width)}, {round(top * sr.height)}",
        "box": [f"{100 * share:.2f}%" for share in (left, top, right - left, bottom - top)],
        "whole": _uri(whole, "JPEG", quality=85),
        "crops": {
            ROLES[role]: _uri(cut(photo, box, (side, side)), "PNG", optimize=True)
            for role, photo in photos.items()
        },
    }


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _short(value: float) -> str:
    """Return a figure with about four digits."""
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
