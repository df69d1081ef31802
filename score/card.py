"""The figures of a report as a small picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw

from ..fonts import font_for
from .sheet import FAINT, INK, MARK, PAPER

GROUPS = {
    "Against the original": ("gt",),
    "Against the small photo": ("lr",),
    "On its own": ("nothing", "borders"),
}
TITLE_PX, FONT_PX, ROW_PX, EDGE_PX = 26, 20, 30, 24
# Where columns end: names stand on the left, the rest on the right.
VALUE_PX, BETTER_PX, INTERVAL_PX = 380, 500, 740

Colour = tuple[int, int, int]
Cell = tuple[int, str, Colour]  # where it ends (0: begins at the left edge), text, colour
Line = list[Cell]


def card(report: Mapping[str, Any]) -> Image.Image:
    """Return a picture with a row per metric, grouped by reference.

    Args:
        report: the result of `scoring.summary`.
    """
    count, challenge = len(report["images"]), report["challenge"]
    lines: list[Line] = [[(VALUE_PX, "value", FAINT), (BETTER_PX, "better", FAINT)]]
    if report["interval"]:
        lines[0].append((INTERVAL_PX, "95 % interval", FAINT))
    for heading, references in GROUPS.items():
        names = [name for name, how in report["protocol"].items() if how["reference"] in references]
        if names:
            lines += [[(0, heading, MARK)], *(_row(name, report) for name in names), []]
    if challenge["score"] is not None:
        lines.append([(0, "Challenge score", MARK), (VALUE_PX, f"{challenge['score']:.4f}", INK)])
        if challenge["missing"]:
            lines.append([(0, f"without {', '.join(challenge['missing'])}", FAINT)])
            lines.append([(0, "python -m ugc_sr.score --extra measures them", FAINT)])
    title = "Scores" if count == 1 else f"Scores, mean of {count} photos"
    return _drawn(title, lines, width=EDGE_PX + max(cell[0] for cell in lines[0]))


def _row(name: str, report: Mapping[str, Any]) -> Line:
    value = report["mean"].get(name)
    row = [
        (0, name, INK),
        (VALUE_PX, "-" if value is None else f"{value:.4f}", INK),
        (BETTER_PX, report["protocol"][name]["better"], FAINT),
    ]
    if name in report["interval"]:
        low, high = report["interval"][name]
        row.append((INTERVAL_PX, f"{low:.4f} to {high:.4f}", FAINT))
    return row


def _drawn(title: str, lines: list[Line], width: int) -> Image.Image:
    picture = Image.new("RGB", (width, 2 * EDGE_PX + TITLE_PX + ROW_PX // 2 + len(lines) * ROW_PX), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((EDGE_PX, EDGE_PX), title, fill=INK, font=font_for(title, TITLE_PX))
    top = EDGE_PX + TITLE_PX + ROW_PX // 2
    for line in lines:
        for end, text, colour in line:
            place, anchor = ((end, top), "ra") if end else ((EDGE_PX, top), "la")
            draw.text(place, text, fill=colour, font=font_for(text, FONT_PX), anchor=anchor)
        top += ROW_PX
    return picture
