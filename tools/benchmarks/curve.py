"""The curve of the bundled model: its scores at five values of `sharpness`, on held-out photos."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ugc_sr.console import version
from ugc_sr.files import replace_file
from ugc_sr.host.nano import load_nano
from ugc_sr.sample.presets import SHARPNESS, FidelityCurve, Point
from ugc_sr.score.extras import Extras

from .quality import Scores, scored
from .quickstart import restore
from .samples import MEASURED, held_out

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)  # values of fidelity
FIDELITY, PERCEPTION = "ssim_y", "st_lpips"


@torch.inference_mode()
def run(photos: str, out: str, recipes: Sequence[str] = MEASURED) -> Iterator[dict[str, Any]]:
    """Measure the curve that Restoration Preset uses, write it, and yield each of its points.

    Args:
        photos: folder that tools/fetch_photos.sh filled.
        out: the JSON file.
        recipes: names of the recipes that degrade the photos.
    """
    nano, network = load_nano(), Extras(["st_lpips"])
    rows: dict[float, list[Scores]] = {step: [] for step in STEPS}
    for recipe in recipes:
        for sample in held_out(Path(photos), recipe):
            for step, found in rows.items():
                picture = restore(nano, sample.lr, sample.scale, sharpness=1 - step)
                found.append(scored(picture, sample, network))
    points = tuple(Point(step, {SHARPNESS: 1 - step}, _means(found)) for step, found in rows.items())
    made = {"photos": len(rows[1.0]) // len(recipes), "recipes": ", ".join(recipes), "workflow": "quickstart"}
    made["ugc-super-resolution"] = version()
    replace_file(Path(out), FidelityCurve("nano", FIDELITY, PERCEPTION, points, made).to_json().encode())
    for point in points:
        yield {"name": f"fidelity {point.position:g}", **point.figures}


def _means(rows: list[Scores]) -> Scores:
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]}
