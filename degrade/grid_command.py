"""The command that draws one photo under many seeds of a recipe."""

import argparse
import sys
from pathlib import Path

from ..files import replace_file
from ..score.pil_image import to_picture
from .dataset.whole_photo import load_photo
from .effects.codecs import save
from .grid import CELL_PX, grid
from .pairs_command import find_recipe

JPEG_QUALITY = 85
SUFFIXES = (".jpg", ".jpeg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m ugc_sr.degrade grid`."""
    add = parser.add_argument
    add("photo", type=Path, metavar="PHOTO", help="a clean photo")
    add("output", type=Path, metavar="OUT", help="the picture to draw, by its suffix a .jpg or .png")
    add("--recipe", default="ugc", metavar="NAME|FILE.json", help="ugc if not given")
    add("--seed", type=int, default=0, help="of the first cell; each cell after it takes the next one")
    add("--count", type=int, default=5, help="seeds to show; 5 if not given")
    add("--columns", type=int, default=3, help="cells in a row; 3 if not given")
    add("--scale", type=int, metavar="X", help="size of the clean photo / size of the damaged one")
    add("--crop", type=int, default=512, metavar="PX", help="side of the part shown; 0 shows everything; 512")
    add("--cell", type=int, default=CELL_PX, metavar="PX", help=f"longer side of a cell; {CELL_PX}")


def main(options: argparse.Namespace) -> int:
    """Draw the sheet.

    Returns:
        The exit status: 0, or 2 with a line on stderr.
    """
    try:
        _draw(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _draw(options: argparse.Namespace) -> None:
    for name, least in (("count", 1), ("columns", 1), ("scale", 1), ("crop", 0), ("cell", 16)):
        if (value := getattr(options, name)) is not None and value < least:
            raise ValueError(f"--{name} must be at least {least}, got {value}.")
    if options.output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{options.output}: expected a file that ends in {', '.join(SUFFIXES)}.")
    recipe = find_recipe(options.recipe)
    drawn = [recipe.draw(options.seed + index, options.scale) for index in range(options.count)]
    sheet = grid(
        load_photo(options.photo),
        drawn,
        columns=options.columns,
        crop=options.crop,
        cell=options.cell,
    )
    kind = "PNG" if options.output.suffix.lower() == ".png" else "JPEG"
    replace_file(options.output, save(to_picture(sheet), kind, quality=JPEG_QUALITY))
