"""The command line option --data, which names the paths of the data."""

import argparse
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data to a parser."""
    parser.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="paths of the parts of the preset's mix, such as photos=FOLDER pairs=FOLDER; "
        "parts that aren't named are left out",
    )


def places(given: Sequence[str]) -> dict[str, str]:
    """Return the paths by name from the values of --data.

    Raises:
        ValueError: if a name or path is missing, or a name is given twice.
    """
    paths: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--data {text}: expected NAME=PATH, such as photos=my_photos.")
        if name in paths:
            raise ValueError(
                f"--data {text}: {name} is {paths[name]} already; put everything into one folder."
            )
        paths[name] = path
    return paths
