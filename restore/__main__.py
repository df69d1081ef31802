"""`python -m ugc_sr.restore IN OUT`: restores a folder of photos through ComfyUI."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..console import keep_printing, version
from ..photos.listing import Listing, listed
from ..processes import check_ray
from .api import Client
from .cluster import PATIENCE_S, ray_workers
from .connection import LOGIN_VARIABLE
from .folder import check_writable, find_jobs, lacking
from .run import Restore, Summary, restore_all
from .server import OwnHost, find_host
from .weights import checksums
from .workflow import AUTO, AUTO_VALUE, adjust, find, fitting

IN_FLIGHT = 2  # requests per host: one photo is uploaded while another is restored
SCALE = (
    "size of a result / size of its photo; auto is 4, 2 or 1 by the size of each photo, for at most 4096 px "
    "a side. A shipped workflow's is auto if not given, and a file's its own"
)
SERVER = (
    "address of a running ComfyUI, with user:password@ or a token in COMFYUI_TOKEN if it asks for a login; "
    "one is started here if not given"
)
EPILOG = """The exit status is 0 if every photo has its result; 1 if some have not; 2 if nothing could start;
130 after Ctrl-C. --resume goes on after any of them: what is finished is not done again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the arguments, the folders and the workflow, then restore.

    Returns:
        The exit status: 0, 1 if photos failed, 2 if nothing could start, 130 after Ctrl-C.
    """
    keep_printing()
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends a host that was started here, too
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # about broken EXIF, which is left out
            return _restore(options, stop)
    except (ValueError, OSError, RuntimeError) as error:
        _print(str(error))
        return 2
    except KeyboardInterrupt:
        _print("\nStopped. The same command with --resume goes on.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ugc_sr.restore",
        description="Restores photos through a running ComfyUI, or through one that it starts for the time. "
        "Each result is a PNG of the photo's name that tells how it was made.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("input", type=Path, metavar="IN", help="a photo, a folder with its sub-folders, or a .txt list")
    add("output", type=Path, metavar="OUT", help="folder for the results")
    add(
        "--workflow",
        default="quickstart",
        metavar="NAME|FILE.json",
        help=f"{', '.join(fitting())}; or a file",
    )
    add("--preset", metavar="P", help="of Restoration Preset; the workflow's own if not given")
    add("--scale", type=scale_option, metavar="X|auto", help=SCALE)
    add("--seed", type=int, metavar="N", help="the same for every photo; the workflow's own if not given")
    add("--resume", action="store_true", help="go on with the results that are in OUT")
    add("--server", metavar="URL", help=SERVER)
    patience = "how long to wait for a ComfyUI that went away; 300"
    add("--patience", type=positive, default=300.0, metavar="S", help=patience)
    models = "models/ of the ComfyUI at URL, seen from here, for checksums"
    add("--models", type=Path, metavar="DIR", help=models)
    engine = "ray: a ComfyUI on each worker of RAY_ADDRESS"
    add("--engine", choices=("local", "ray"), default="local", help=engine)
    workers = "with ray: how many; one a GPU, or a machine, if not given"
    add("--workers", type=_count, metavar="W", help=workers)
    return parser


def _restore(options: argparse.Namespace, stop: threading.Event) -> int:
    if options.engine == "ray":
        if options.server:
            raise ValueError("--engine ray starts a ComfyUI on each worker; leave out --server.")
        check_ray()
    workflow = adjust(find(options.workflow), preset=options.preset, scale=options.scale, seed=options.seed)
    jobs, found = find_jobs(options.input, options.output)
    models = options.models or (None if options.server else find_host() / "models")
    settings = {
        "workflow": workflow.name,
        **workflow.settings(),
        "weights": checksums(workflow.graph, models),
        "graph_sha256": workflow.sha256(),
    }
    left = lacking(jobs, settings, resume=options.resume)
    check_writable(options.output)
    summary = Summary()
    if left:
        with _engine(options, stop) as (restorers, comfyui):
            record = {"version": version(), "comfyui": comfyui, **settings}
            summary = restore_all(left, len(jobs), restorers, workflow, record, stop)
    print(_text(summary, len(jobs) - len(left), found, options.output))
    if summary.fatal:
        again = "" if summary.refused else ". Once that is mended, the same command with --resume goes on."
        _print(f"{summary.fatal}{again}")
    if summary.refused and not summary.made:
        return 2
    return int(bool(summary.fatal or summary.failed))


@contextmanager
def _engine(options: argparse.Namespace, stop: threading.Event) -> Iterator[tuple[Sequence[Restore], str]]:
    """Yield the restorers, and the version of their ComfyUI."""
    if options.engine == "ray":
        with ray_workers(options.workers, stop) as workers:
            yield workers
    elif options.server:
        token = os.environ.get(LOGIN_VARIABLE)
        client = Client(options.server, token, patience_s=options.patience, report=_print, stop=stop)
        yield [client.restore] * IN_FLIGHT, client.version()
    else:
        _print("starting ComfyUI ...")
        with OwnHost() as own:
            address = own.address
            client = Client(address(), patience_s=PATIENCE_S, report=_print, stop=stop, restart=address)
            yield [client.restore] * IN_FLIGHT, client.version()


def positive(text: str) -> float:
    """Return an option's value as a finite number above 0.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def scale_option(text: str) -> float:
    """Return an option's value as a scale; `auto` is 0, as in Prepare Photo.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    if text == AUTO:
        return AUTO_VALUE
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; or {AUTO}") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text}")
    return int(text)


def _text(summary: Summary, before: int, found: Listing, out: Path) -> str:
    parts = [f"{summary.made} restored"]
    if before:
        parts.append(f"{before} were there")
    if summary.failed:
        parts.append(f"{len(summary.failed)} failed")
    lines = [f"{'; '.join(parts)}. Results are in {out}"]
    if summary.failed:
        lines.append(f"failed: {listed(summary.failed)}")
    return "\n".join(lines + found.passed_over())


def _print(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
