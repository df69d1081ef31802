"""Short descriptions of degradations for people."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .degradation import Degradation, Draw

# op -> how much of it is visible, 1 for plainly, and the words. The weights are assumed.
Label = Callable[[Mapping[str, Any]], tuple[float, str]]

_VISIBLE = 0.1  # weaker draws are left out
_SOFT = ("gaussian_blur", "generalized_blur", "plateau_blur", "sinc_blur", "defocus_blur", "motion_blur")
_SOFT += ("denoise", "fake_hd")
_CODECS = {"h264": "H.264", "h265": "H.265", "mpeg2": "MPEG-2", "mpeg4": "MPEG-4"}


def describe(degradation: Degradation, most: int = 3) -> str:
    """Return the `most` visible effects, strongest first, such as 'JPEG 34, blur 2.1 px, noise 12'."""
    found = [Seen(0.5, _label(draw)[1], fine=False) for draw in degradation.clean]
    found = sorted(found + _seen(degradation), key=lambda one: -one.strength)
    shown = [one.words for one in found[:most] if one.strength >= _VISIBLE]
    return ", ".join(shown) or "hardly any damage"


class Seen(NamedTuple):
    """Visibility and description of a draw; `fine` marks noise and codec artefacts."""

    strength: float
    words: str
    fine: bool


def _seen(degradation: Degradation) -> list[Seen]:
    """Return every draw in order, with its visibility reduced by the draws after it."""
    seen: list[Seen] = []
    size = float(degradation.scale)  # of the photo on its way, in sizes of the damaged one
    for draw in degradation.draws:
        resized, p = draw.op in ("rescale", "shrink"), draw.parameters
        if resized:
            before, size = size, float(p["factor"]) * (size if draw.op == "rescale" else 1)
            shrunk = max(1.0, before / size)
            smooth = p["antialias"] or p["mode"] == "area"  # else noise stays as it is
            seen = [
                old._replace(strength=old.strength / (shrunk if smooth or not old.fine else 1))
                for old in seen
            ]
            strength, words = _resized({"factor": size})
        else:
            strength, words = _label(draw)
        soft = draw.op in _SOFT
        if soft:
            seen = [old._replace(strength=old.strength / (1 + 3 * strength * old.fine)) for old in seen]
        seen.append(Seen(strength, words, fine=not soft and not resized))
    return seen


def _label(draw: Draw) -> tuple[float, str]:
    if draw.op in LABELS:
        return LABELS[draw.op](draw.parameters)
    return _VISIBLE, draw.op.replace("_", " ")


def _blur(p: Mapping[str, Any]) -> tuple[float, str]:
    width = max(p["sigma_x"], p["sigma_y"])
    return width / 2, f"blur {width:.1f} px"


def _noise(p: Mapping[str, Any]) -> tuple[float, str]:
    return p["sigma"] / 15, f"{'grey ' if p['grey'] else ''}noise {p['sigma']:.0f}"


def _resized(p: Mapping[str, Any]) -> tuple[float, str]:
    return max(0.0, -math.log2(p["factor"])), f"shrunk to {p['factor']:.0%}"


def _filter(p: Mapping[str, Any]) -> tuple[float, str]:
    usual = {"saturation": 1, "contrast": 1}
    changes = {name: abs(value - usual.get(name, 0)) for name, value in p.items()}
    name = max(changes, key=lambda name: changes[name])
    return sum(changes.values()), f"filter ({name})"


def _codec(name: str) -> Label:
    return lambda p: ((100 - p["quality"]) / 50, f"{name} {p['quality']}")


LABELS: dict[str, Label] = {
    "gaussian_blur": _blur,
    "generalized_blur": _blur,
    "plateau_blur": _blur,
    "sinc_blur": lambda p: ((math.pi - p["cutoff"]) / 2, "ringing"),
    "defocus_blur": lambda p: (p["radius"] / 2.5, f"out of focus {p['radius']:.1f} px"),
    "motion_blur": lambda p: (p["length"] / 6, f"shaken {p['length']:.0f} px"),
    "rescale": _resized,
    "shrink": _resized,
    "fake_hd": lambda p: (p["factor"] - 1, f"upscaled {p['factor']:.1f} times"),
    "gaussian_noise": _noise,
    "shot_noise": _noise,
    "correlated_noise": lambda p: (p["sigma"] / 15, f"coloured noise {p['sigma']:.0f}"),
    "poisson_noise": lambda p: (p["scale"], f"photon noise {p['scale']:.1f}"),
    "sensor_noise": lambda p: (20 * p["shot"] + 40 * p["read"], "sensor noise"),
    "sharpen": lambda p: (p["amount"] / 2, f"sharpened {p['amount']:.1f}"),
    "usm": lambda p: (p["weight"], "sharpened"),
    "demosaic": lambda _: (0.2, "Bayer mosaic"),
    "denoise": lambda p: (p["strength"] / 2, f"smoothed {p['strength']:.1f}"),
    "chroma_subsample": lambda p: (0.15, f"chroma {p['layout']}"),
    "jpeg": _codec("JPEG"),
    "webp": _codec("WebP"),
    "avif": _codec("AVIF"),
    "video": lambda p: ((p["crf"] - 12) / 16, f"{_CODECS.get(p['codec'], p['codec'])} crf {p['crf']}"),
    "screenshot": lambda p: (0.4, f"screenshot at {p['factor']:.0%}"),
    "caption": lambda _: (0.5, "caption"),
    "sticker": lambda p: (0.5, f"{p['kind']} sticker"),
    "color_filter": _filter,
}
