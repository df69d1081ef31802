"""`python -m ugc_sr.score SR --gt GT --json -`: scores of files or folders."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .files import json_safe, report


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, or write JSON."""
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.score", description="Score restored photos.")
    parser.add_argument("sr", type=Path, help="a result, or a folder of them")
    parser.add_argument(
        "--gt", type=Path, help="the original, or a folder of originals named like the results"
    )
    parser.add_argument("--lr", type=Path, help="the small photo, or a folder of them named like the results")
    parser.add_argument(
        "--json", metavar="FILE", help="write a JSON report here instead of a table; - is the screen"
    )
    options = parser.parse_args(arguments)
    if options.gt is None and options.lr is None:
        parser.error("give --gt, --lr or both: every metric compares the result with something.")
    try:
        scores = report(options.sr, options.gt, options.lr)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    text = (
        table(scores)
        if options.json is None
        else json.dumps(json_safe(scores), indent=2, allow_nan=False) + "\n"
    )
    if options.json in (None, "-"):
        sys.stdout.write(text)
    else:
        Path(options.json).write_text(text, encoding="utf-8")


def table(scores: dict) -> str:
    """A report as text: one line a picture, the means last."""
    lines = [("", *scores["mean"])]
    for row in (*scores["images"], {"name": f"mean of {len(scores['images'])}", **scores["mean"]}):
        lines.append((row["name"], *(f"{row[name]:.4f}" for name in scores["mean"])))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) + "\n"
        for cells in lines
    )


if __name__ == "__main__":
    main()
