"""The command `python -m ugc_sr.tune LR GT --out DIR`: search for the best sampling parameters."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ..console import keep_printing
from ..restore.api import Client
from ..restore.connection import LOGIN_VARIABLE
from ..restore.server import CHECKOUT, find_host, running_host
from ..restore.workflow import read_graph
from ..sample.presets import TunedPreset
from ..score.extras import EXTRAS, Extras
from .objective import Objective, check_metric
from .restorer import find_pairs
from .run import SearchPlan, tune
from .space import PARAMETERS, searched

WORKFLOW = CHECKOUT / "restore" / "quickstart.api.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and write preset.json, curve.json and pareto.png."""
    keep_printing()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the host ends with us
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan = _plan(options)
        plan.folder.mkdir(parents=True, exist_ok=True)
        with _client(options.server, results=len(plan.graph) * (len(plan.pairs) + 1)) as client:
            preset = tune(plan, client)
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "Stopped. The same command goes on.\n")
    print(_summary(preset, options.out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ugc_sr.tune",
        description="Find the best sampling parameters of a workflow by restoring pairs in ComfyUI. "
        "The search can be stopped at any time; the same command continues it.",
        epilog="parameters: " + "; ".join(f"{name}: {p.means}, {p.space}" for name, p in PARAMETERS.items()),
    )
    add = parser.add_argument
    add("lr", type=Path, metavar="LR", help="folder of small photos")
    add("gt", type=Path, metavar="GT", help="folder of their originals, named alike, of the result's size")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the search and what it found")
    add("--workflow", type=Path, default=WORKFLOW, metavar="FILE", help="in API format; the quick start")
    add(
        "--objective",
        default="challenge",
        metavar="SUM",
        help='challenge, perceptual, or "psnr_y=1 niqe=-0.5"',
    )
    add("--trials", type=int, default=40, metavar="N", help="in all, the workflow's own values first; 40")
    add("--search", nargs="+", default=[], metavar="NAME", help="parameters; all that the workflow has")
    add("--range", nargs="+", default=[], metavar="NAME=LOW:HIGH", help="or NAME=WORD,WORD; see below")
    add("--seed", type=int, default=0, metavar="N", help="of the search; 0")
    add("--check-lr", type=Path, metavar="DIR", help="held-out photos, on which the preset is checked")
    add("--check-gt", type=Path, metavar="DIR", help="their originals")
    add("--extra", nargs="+", default=[], choices=tuple(EXTRAS), metavar="NAME", help=", ".join(EXTRAS))
    add("--fidelity", default="psnr_y", metavar="METRIC", help="one axis of the curve; psnr_y")
    add("--perception", default="niqe", metavar="METRIC", help="the other; niqe")
    add(
        "--server",
        metavar="URL",
        help="a running ComfyUI with this extension, its login as for restore; one of our own if not given",
    )
    return parser


def _plan(options: argparse.Namespace) -> SearchPlan:
    """Check all arguments and return the settings.

    Raises:
        ValueError: if the photos, the workflow or an option don't fit.
        OSError: if a file can't be read.
        RuntimeError: if a package is missing.
    """
    for package in ("optuna", "matplotlib"):
        if find_spec(package) is None:
            raise RuntimeError(f'Tuning needs {package}: pip install "ugc-super-resolution[tune]"')
    if options.trials < 1:
        raise ValueError(f"--trials must be at least 1, got {options.trials}.")
    if (options.check_lr is None) != (options.check_gt is None):
        raise ValueError("--check-lr and --check-gt belong together; give both or neither.")
    graph = read_graph(options.workflow)
    extras = Extras.complete(options.extra, with_gt=True)
    return SearchPlan(
        folder=options.out,
        workflow=options.workflow.name,
        graph=graph,
        space=searched(graph, options.search, options.range),
        objective=Objective.parse(options.objective, extras.names),
        fidelity=check_metric(options.fidelity, extras.names),
        perception=check_metric(options.perception, extras.names),
        extras=extras,
        pairs=find_pairs(options.lr, options.gt),
        held_out=find_pairs(options.check_lr, options.check_gt) if options.check_lr else (),
        trials=options.trials,
        seed=options.seed,
    )


@contextmanager
def _client(server: str | None, results: int) -> Iterator[Client]:
    """Yield a client of a running ComfyUI, or of a new one that caches `results` results of nodes.

    Raises:
        OSError: from the work with the client, or if `server` doesn't answer.
        RuntimeError: from the work with the client, with the end of ComfyUI's log if that has ended.
        ValueError: if `server` is not a ComfyUI.
    """
    if server:
        client = Client(server, os.environ.get(LOGIN_VARIABLE))
        client.version()
        yield client
        return
    with tempfile.TemporaryDirectory(prefix="ugc-sr-") as folder:
        sys.stderr.write("starting ComfyUI ...\n")
        base, flags = Path(folder, "host"), ("--cache-lru", str(results))
        with running_host(find_host(), base, flags=flags) as host:
            yield Client(host.address)


def _summary(preset: TunedPreset, folder: Path) -> str:
    """Return the result in a few lines."""
    lines = [f"{name} = {value}" for name, value in preset.values.items()]
    for photos, compared in (("tuned on", preset.tuned_on), ("held out", preset.held_out)):
        if compared:
            low_high = (
                " to ".join(f"{end:+.4f}" for end in compared.interval or ()) or "one photo: no interval"
            )
            verdict = "better than" if compared.beats_default else "not surely better than"
            lines.append(
                f"{compared.pairs} photos {photos}: objective {compared.gain:+.4f} (95 %: {low_high}), "
                f"{verdict} the workflow's own values"
            )
    return "\n".join([*lines, f"{folder / 'preset.json'}, curve.json and pareto.png hold it."])


if __name__ == "__main__":
    main()
