"""The command `python -m ugc_sr.degrade`: make training pairs, list recipes, draw grids, compare folders."""

import argparse
import sys
from collections.abc import Sequence

from ..console import keep_printing
from . import compare_command, grid_command, pairs_command
from .recipes import RECIPES

OTHERS = """other commands:
  python -m ugc_sr.degrade recipes [NAME]   the recipes, or one of them as JSON to edit
  python -m ugc_sr.degrade grid PHOTO OUT   one photo under several seeds of a recipe, as a picture
  python -m ugc_sr.degrade compare A B      two folders of photos by the numbers of their damage

The exit status is 0; 1 if a photo could not be used or the disk is full; 2 if nothing was begun; 130 after
Ctrl-C. --resume goes on after any of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names; by default, make pairs.

    Returns:
        The exit status.
    """
    keep_printing()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["recipes"]:
        parser = argparse.ArgumentParser(prog="python -m ugc_sr.degrade recipes")
        parser.add_argument(
            "name", nargs="?", choices=tuple(RECIPES), metavar="NAME", help=", ".join(RECIPES)
        )
        return _show(parser.parse_args(arguments[1:]).name)
    for name, command in (("grid", grid_command), ("compare", compare_command)):
        if arguments[:1] == [name]:
            parser = argparse.ArgumentParser(f"python -m ugc_sr.degrade {name}", description=command.__doc__)
            command.add_arguments(parser)
            return command.main(parser.parse_args(arguments[1:]))
    parser = argparse.ArgumentParser(
        prog="python -m ugc_sr.degrade",
        description="Clean photos in, training pairs out: OUT/hr, OUT/lr and OUT/manifest.jsonl, which tells "
        "how each pair was made.",
        epilog=OTHERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pairs_command.add_arguments(parser)
    return pairs_command.main(parser.parse_args(arguments))


def _show(name: str | None) -> int:
    if name:
        print(RECIPES[name].to_json())
        return 0
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        print(f"{recipe.name:{width}}  x{recipe.scale}  {recipe.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
