"""How the command line names the places of a mix."""

import argparse
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data to a command."""
    parser.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="where the parts of the preset's mix are, such as photos=FOLDER pairs=FOLDER; "
        "a part that isn't named is left out",
    )


def places(given: Sequence[str]) -> dict[str, str]:
    """The places by name, from what --data was given.

    Raises:
        ValueError: if one has no name or no path, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--data {text}: expected NAME=PATH, such as photos=my_photos.")
        if name in found:
            raise ValueError(
                f"--data {text}: {name} is {found[name]} already; put all of it into one folder."
            )
        found[name] = path
    return found
