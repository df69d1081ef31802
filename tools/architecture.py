"""Draws docs/architecture.svg from the imports in the code: `python tools/architecture.py [--check]`.

Boxes are folders, arrows are imports. An import that arrows imply by way of other boxes is written in its box
instead. `--check` writes nothing and fails if the file differs from the imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "architecture.svg"

# Box -> row, left edge in px, width in px, what it is for. Imports must lead to a lower row.
BOXES = {
    "tools": (1, 560, 210, "for contributors; import any folder"),
    "models command": (1, 310, 210, "python -m ugc_sr.models"),
    "doctor": (2, 295, 240, "examines an installation"),
    "tune": (3, 60, 210, "search for settings"),
    "fetch": (3, 310, 210, "download of published weights"),
    "train": (3, 560, 210, "training of the networks"),
    "nodes": (3, 810, 210, "definitions of the nodes"),
    "restore": (4, 60, 210, "client of a running ComfyUI"),
    "degrade": (4, 310, 210, "recipes, effects, data sets"),
    "host": (4, 810, 210, "all use of ComfyUI's internals"),
    "score": (5, 185, 210, "metrics and reports"),
    "models": (5, 685, 210, "networks, weights, conversion"),
    "photos": (6, 60, 210, "reading and listing of photos"),
    "sample": (6, 435, 210, "tiles, colours, presets"),
    "image, color, fonts, files, console, processes": (7, 60, 960, "small modules for every folder"),
}
(BASE,) = (box for box in BOXES if box.startswith("image"))
OWN_BOX = {"models/__main__.py": "models command"}  # it imports folders that import its own
# The same of what isn't ours: it imports us, or we send it requests.
OTHERS = {
    "ComfyUI": (0, 20, 1040, "loads the nodes; runs the graphs that clients send"),
    "Publishers of weights": (2, 60, 210, "Hugging Face, Google Drive"),
}
# x in px at which an arrow passes the row above its end, where it would lead behind a box.
DETOURS = {("fetch", "models"): 545, ("host", "sample"): 915}
LIBRARIES = ("aiohttp", "gdown", "huggingface_hub", "requests")  # that send requests
SENDERS = {"restore", "fetch"}  # the boxes that import one of them
TALL, ROW, MARGIN, PORT = 64, 100, 20, 34
WIDTH, HEIGHT = 1080, 2 * MARGIN + 7 * ROW + TALL + 22
STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #101820; text-anchor: middle }
.name { font-size: 15px; font-weight: 600 } .also { font-size: 11px; fill: #54656f }
.paper { fill: #fff } .ours { fill: #e3eff8; stroke: #1f4257 } .other { fill: #f6f1e3; stroke: #8a7440 }
path { fill: none; stroke: #1f4257; stroke-width: 1.6 } .request { stroke-dasharray: 6 4; stroke: #8a7440 }
#tip path { fill: #1f4257; stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #e8eef3 } .also { fill: #a9bac7 }
.paper { fill: #0d1117 } .ours { fill: #1c3345; stroke: #7fb2d9 } .other { fill: #332d1e; stroke: #c9b27a }
path { stroke: #7fb2d9 } .request { stroke: #c9b27a } #tip path { fill: #7fb2d9 }
}"""
TIP = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'


def main() -> int:
    """Write the picture, or compare it with the imports; return the exit status."""
    made = picture()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(made, encoding="utf-8")
    return int(FILE.read_text(encoding="utf-8") != made)


def imported_names(file: str, source: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield (dotted name, is it ours, is it imported together with the file) of everything imported.

    Args:
        file: path from the root, from which relative imports are resolved.
        source: the text of the file.
    """

    def visit(parent: ast.AST, at_once: bool) -> Iterator[tuple[str, bool, bool]]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.Import):
                yield from ((alias.name, False, at_once) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = Path(file).parts[: len(Path(file).parts) - node.level] if node.level else ()
                stem = [part for part in (*above, node.module) if part]
                yield from ((".".join([*stem, alias.name]), node.level > 0, at_once) for alias in node.names)
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            never = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            yield from visit(node, at_once and not later and not never)

    yield from visit(ast.parse(source), True)


def read_imports() -> tuple[dict[str, set[str]], set[str]]:
    """Return box -> the boxes that it imports, and the boxes that send requests."""
    imports: dict[str, set[str]] = {box: set() for box in BOXES}
    senders = set()
    for path in sorted(path for folder in BOXES for path in (ROOT / folder).rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        box = OWN_BOX.get(file, file.split("/")[0])
        for dotted, ours, _ in imported_names(file, path.read_text(encoding="utf-8")):
            name = dotted.split(".")[0]
            if ours and name != box:
                imports[box].add(BASE if name in BASE.split(", ") else name)
            elif name in LIBRARIES:
                senders.add(box)
    imports["tools"] = set()  # of any folder, so that arrows would say nothing
    return imports, senders


def arrows(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return box -> the boxes that its arrows lead to: its imports without those that other arrows imply.

    Raises:
        graphlib.CycleError: if boxes import each other in a circle.
    """
    reached: dict[str, set[str]] = {}
    for box in TopologicalSorter(imports).static_order():
        reached[box] = imports[box].union(*(reached[name] for name in imports[box]))
    return {
        box: {name for name in names if not any(name in reached[other] for other in names)}
        for box, names in imports.items()
    }


def picture() -> str:
    """Return the picture as SVG.

    Raises:
        ValueError: if the tables of boxes and of senders don't fit the imports.
    """
    imports, senders = read_imports()
    upwards = [(box, name) for box, names in imports.items() for name in names if _row(name) <= _row(box)]
    if upwards or senders != SENDERS:
        raise ValueError(f"BOXES has these imports upwards: {upwards}. These send requests: {senders}.")
    leads_to = arrows(imports)
    comes_from = {name: [box for box, names in leads_to.items() if name in names] for name in BOXES}
    parts = [_arrow("ComfyUI", _middle("nodes"), "nodes", _middle("nodes"))]
    for box, names in leads_to.items():
        for name in sorted(names):
            end = _middle(box) if name == BASE else _port(name, comes_from[name], box)
            parts.append(_arrow(box, _port(box, names, name), name, end))
    for box, (_, left, width, words) in BOXES.items():
        implied = sorted(imports[box] - leads_to[box] - {BASE})
        parts.append(_box("ours", box, left, width, words, f"also {', '.join(implied)}" if implied else ""))
    parts += [_box("other", name, left, width, words) for name, (_, left, width, words) in OTHERS.items()]
    parts += _requests()
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="Which folder imports which"><style>{STYLE}</style>',
            f'<defs>{TIP}<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="14"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _row(box: str) -> int:
    return (BOXES | OTHERS)[box][0]


def _top(box: str) -> int:
    return MARGIN + _row(box) * ROW


def _middle(box: str) -> float:
    _, left, width, _ = (BOXES | OTHERS)[box]
    return left + width / 2


def _port(box: str, others: Iterable[str], other: str) -> float:
    """Return x where the arrow between two boxes touches the first, beside its arrows to the others."""
    places = sorted(others, key=lambda end: DETOURS.get((box, end)) or _middle(end))
    return _middle(box) + PORT * (places.index(other) - (len(places) - 1) / 2)


def _arrow(box: str, start: float, target: str, end: float) -> str:
    top, bottom = _top(box) + TALL, _top(target) - 1
    path, below = f"M{start:g},{top}", _top(target) - ROW
    if aside := DETOURS.get((box, target)):
        path += _curve(start, top, aside, below) + f" V{below + TALL}"
        start, top = aside, below + TALL
    return f'<path marker-end="url(#tip)" d="{path}{_curve(start, top, end, bottom)}"/>'


def _curve(start: float, top: float, end: float, bottom: float) -> str:
    bend = (top + bottom) / 2
    return f" C{start:g},{bend:g} {end:g},{bend:g} {end:g},{bottom}"


def _box(kind: str, name: str, left: int, width: int, words: str, also: str = "") -> str:
    lines = zip(("name", "words", "also"), (23, 41, 57), (name, words, also), strict=True)
    texts = (
        f'<text class="{style}" x="{left + width / 2:g}" y="{_top(name) + y}">{escape(line)}</text>'
        for style, y, line in lines
        if line
    )
    shape = f'<rect class="{kind}" x="{left}" y="{_top(name)}" width="{width}" height="{TALL}" rx="9"/>'
    return shape + "".join(texts)


def _requests() -> list[str]:
    """Return the dashed arrows of requests, and the legend."""
    client, server = _top("restore") + TALL / 2, _top("ComfyUI") + TALL + 1
    fetch, publisher = _top("fetch"), _top("Publishers of weights") + TALL + 1
    legend = "An arrow is an import. “also”: imports that arrows imply. Dashed: requests over the network."
    return [
        f'<path class="request" marker-end="url(#tip)" d="M60,{client:g} H40 V{server}"/>',
        f'<text x="62" y="{server + 20}">HTTP</text>',
        f'<path class="request" marker-end="url(#tip)" d="M330,{fetch} V{fetch - 14} H250 V{publisher}"/>',
        f'<text x="290" y="{fetch - 19}">HTTPS</text>',
        f'<text class="also" x="{WIDTH // 2}" y="{HEIGHT - 18}">{legend}</text>',
    ]


if __name__ == "__main__":
    sys.exit(main())
