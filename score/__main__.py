"""The command `python -m ugc_sr.score SR --gt GT`: scores of files or folders as a table, JSON or HTML."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..console import keep_printing
from ..files import replace_file
from .extras import EXTRAS, Extras
from .plots import require_matplotlib
from .scoring import json_safe, left_out, report, table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, or write a report.

    The exit status is 1, with a line on stderr for each, if some of several pictures can't be scored; it is
    2, with one line on stderr, if none can.
    """
    keep_printing()
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.tile is None) != (options.overlap is None):
        parser.error("--tile and --overlap go together; give both, as when the photos were restored.")
    tiles = None if options.tile is None else (options.tile, options.overlap)
    screen = options.json == "-"
    try:
        files = {
            name: Path(given)
            for name in ("json", "html")
            if (given := vars(options)[name]) not in (None, "-")
        }
        for file in files.values():
            _check_writable(file)
        if "html" in files:
            require_matplotlib("--html")
        extras = Extras.complete(options.extra, with_gt=options.gt is not None).names
        scores = report(options.sr, options.gt, options.lr, tiles=tiles, extras=extras)
        text = json.dumps(json_safe(scores), indent=2, allow_nan=False) + "\n"
        if "html" in files:
            from .page import page

            replace_file(
                files["html"], page(scores, options.sr, options.gt, options.lr).encode("utf-8", "replace")
            )
        if "json" in files:
            replace_file(files["json"], text.encode())
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(2, f"{error}\n")
    if not screen:
        text = "" if "json" in files else table(scores) + (Extras.missing() if options.gt else "")
    _show(scores, text, screen=screen)


def _show(scores: dict[str, Any], text: str, *, screen: bool) -> None:
    """Print a report, and the files without scores; stdout stays machine-readable for `--json -`."""
    sys.stdout.write(text)
    sys.stderr.writelines(f"{why}\n" for why in scores["failed"].values())
    (sys.stderr if screen else sys.stdout).writelines(f"{line}\n" for line in left_out(scores))
    if scores["failed"]:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ugc_sr.score",
        description="Score restored photos: against their originals, against the small photos that they were "
        "made from, and on their own.",
    )
    parser.add_argument("sr", type=Path, metavar="SR", help="a result, or a folder of them")
    parser.add_argument(
        "--gt", type=Path, help="the original, or a folder of originals named like the results"
    )
    parser.add_argument("--lr", type=Path, help="the small photo, or a folder of them named like the results")
    parser.add_argument(
        "--tile", type=int, metavar="PX", help="size of the tiles that were used, to measure seams"
    )
    parser.add_argument("--overlap", type=int, metavar="PX", help="overlap of those tiles")
    parser.add_argument(
        "--extra",
        nargs="+",
        default=[],
        choices=tuple(EXTRAS),
        metavar="NAME",
        help="measure these too, with packages and weights under their own licences: "
        + ", ".join(f"{name} ({extra.licence})" for name, extra in EXTRAS.items()),
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write a JSON report here instead of a table; - is the screen"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with plots and the worst places here")
    return parser


def _check_writable(file: Path) -> None:
    """Check that a file can be written, before the work begins.

    Raises:
        ValueError: if it can't.
    """
    if file.is_dir():
        raise ValueError(f"'{file}' is a folder; give the name of a file to write.")
    if not file.parent.is_dir():
        raise ValueError(f"There is no folder '{file.parent}' to write '{file.name}' into. Make it first.")
    if not os.access(file.parent, os.W_OK):
        raise ValueError(f"'{file}' can't be written: no permission in '{file.parent}'.")


if __name__ == "__main__":
    main()
