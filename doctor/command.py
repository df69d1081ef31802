"""The command line of `doctor`: its options and its exit status."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

DOCTOR = """Say what is installed, what follows from it, what is wrong, and the command that repairs it.

NAME is a preset or a shipped workflow that has to work, such as wild or ugc_wild. The bundled model
always has to.
The report has no names of users, so that it can go into an issue as it is."""
INTERRUPTED = 130
EPILOG = (
    "The exit status is 0 if all that is asked for is fine, 1 if something is wrong, 2 for wrong arguments."
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `doctor` to the commands of python -m ugc_sr.models."""
    parser = commands.add_parser(
        "doctor",
        help="what is installed, what is missing, and whether it works",
        description=DOCTOR,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="preset or workflow that has to work")
    add("--run", action="store_true", dest="restore", help="restore the sample photo with each preset too")
    add("--comfyui", metavar="DIR", type=Path, help="ComfyUI's folder; the one that this extension lies in")
    add("--models", metavar="DIR", type=Path, help="in place of ComfyUI's models folder")
    add("--server", metavar="URL", help="ask a ComfyUI that runs, as far as it tells")
    add("--no-hash", action="store_false", dest="hashed", help="leave out checksums, which take a while")
    add("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report.

    Returns:
        The exit status: 0 if no fault was found, 1 if there is one, 130 after Ctrl-C.

    Raises:
        ValueError: if the options contradict each other, or name something unknown.
        FileNotFoundError: if a given folder of ComfyUI or of models doesn't exist.
    """
    from .examine import examine
    from .report import hidden, text

    try:
        report = examine(options)
    except KeyboardInterrupt:
        print("\nStopped. Nothing was changed.", file=sys.stderr)
        return INTERRUPTED
    shown = hidden(report)
    print(json.dumps(shown, indent=2) if options.json else text(shown))
    return 0 if report["fine"] else 1
