"""Short descriptions of degradations for people."""

from typing import NamedTuple

from .degradation import Degradation
from .effects import EFFECTS

_VISIBLE = 0.1  # weaker draws are left out; assumed


def describe(degradation: Degradation, most: int = 3) -> str:
    """Return the `most` visible effects, strongest first, such as 'JPEG 34, blur 2.1 px, noise 12'."""
    seen = [Seen(0.5, EFFECTS[draw.op].label(draw.parameters)[1], fine=False) for draw in degradation.clean]
    seen = sorted(seen + _seen(degradation), key=lambda one: -one.strength)
    shown = [one.words for one in seen[:most] if one.strength >= _VISIBLE]
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
        resized, p, effect = draw.op in ("rescale", "shrink"), draw.parameters, EFFECTS[draw.op]
        if resized:
            before, size = size, float(p["factor"]) * (size if draw.op == "rescale" else 1)
            shrunk = max(1.0, before / size)
            averaged = p["antialias"] or p["mode"] == "area"  # else noise stays as it is
            seen = [
                old._replace(strength=old.strength / (shrunk if averaged or not old.fine else 1))
                for old in seen
            ]
        strength, words = effect.label({"factor": size} if resized else p)
        if effect.smooths:
            seen = [old._replace(strength=old.strength / (1 + 3 * strength * old.fine)) for old in seen]
        seen.append(Seen(strength, words, fine=not effect.smooths and not resized))
    return seen
