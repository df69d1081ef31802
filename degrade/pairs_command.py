"""The command that makes training pairs: arguments, checks, and messages."""

import argparse
import os
import sys
from pathlib import Path

import torch

from ..console import StopSignals
from ..files import demand, printable, read_text
from ..photos.listing import list_photos, listed
from ..processes import check_ray
from .dataset.jobs import Engine, PairPlan, list_jobs
from .dataset.join import ExistingPairs, find_pairs
from .dataset.local_engine import local
from .dataset.make_pairs import Summary, check_folder, make_pairs
from .dataset.ray_engine import ray_data
from .recipe import MAX_SCALE, Recipe
from .recipes import RECIPES

ENGINES: dict[str, Engine] = {"local": local, "ray": ray_data}
NOTICE = "\nFinishing the current samples; a second signal ends them at once.\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m ugc_sr.degrade`."""
    add = parser.add_argument
    add("input", type=Path, metavar="IN", help="a photo, a folder, or a .txt list with one path a line")
    add("output", type=Path, metavar="OUT", help="folder for the pairs")
    add("--recipe", default="ugc", metavar="NAME|FILE.json", help=f"ugc if not given; {', '.join(RECIPES)}")
    add("--seed", type=int, default=0, metavar="S", help="sample j of photo k draws with S + k*N + j; 0")
    add("--scale", type=_whole, metavar="X", help="size of hr / size of lr; the recipe's own if not given")
    add("--crop", type=_whole, metavar="PX", help="take squares of this side; whole photos if not given")
    add("--per-image", type=_whole, default=1, metavar="N", help="samples of each photo; 1 if not given")
    add("--workers", type=_whole, metavar="W", help="processes; one a core or, with cuda, a GPU if not given")
    add("--resume", action="store_true", help="go on with the pairs that are in OUT")
    add("--join", type=Path, metavar="DIR", help="add the pairs of DIR/hr (gt, hq) and DIR/lr (lq), checked")
    add("--sharpen-target", action="store_true", help="sharpen hr as in Real-ESRGAN; lr stays the same")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where the effects run; cpu if not given")
    add("--jpeg", choices=("libjpeg", "kornia"), default="libjpeg", help="kornia: computed on the device")
    add("--engine", choices=tuple(ENGINES), default="local", help="ray: on the cluster of RAY_ADDRESS")


def main(options: argparse.Namespace) -> int:
    """Check all arguments, then make pairs.

    Returns:
        The exit status: 0; 1 if a photo could not be used or the disk is full; 2 if nothing was begun;
        128 plus the number of the signal that stopped it.
    """
    try:
        plan = _plan(options)
        if options.engine == "ray":
            check_ray()
        check_folder(plan.folder, options.resume)
        listing = list_photos(options.input, without=plan.folder)
        joined = find_pairs(options.join, plan.scale) if options.join else ExistingPairs()
        _print_errors(*(f"{printable(path)}: {why}" for path, why in joined.unpaired.items()))
        workers = options.workers or _workers(options.device, options.engine)
        jobs = list(list_jobs(plan, listing.photos, joined.pairs))
        with StopSignals(NOTICE) as signals:
            summary = make_pairs(plan, jobs, ENGINES[options.engine], workers, lambda: bool(signals))
    except (ValueError, OSError, RuntimeError) as error:
        _print_errors(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    summary.problems += len(joined.unpaired)
    unused = [f"not used: {listed(summary.unused)}"] if summary.unused else []
    ignored = [f"{reason}: {names}" for reason, names in joined.ignored.items()]
    for line in (f"{_text(summary)} in {plan.folder}", *unused, *listing.passed_over(), *ignored):
        sys.stdout.write(f"{line}\n")
    if signals.number:
        _print_errors("Stopped. The same command with --resume goes on.")
        return 128 + signals.number
    if summary.fatal:
        _print_errors(
            f"{plan.folder}: {summary.fatal}. After fixing that, the same command with --resume goes on."
        )
    return int(bool(summary.fatal or summary.problems))


def _plan(options: argparse.Namespace) -> PairPlan:
    recipe = find_recipe(options.recipe)
    if options.sharpen_target:
        recipe = recipe.sharpened()
    if options.jpeg == "kornia":
        recipe = recipe.differentiable()
    scale = options.scale or recipe.scale
    demand(scale <= MAX_SCALE, "--scale", f"must be at most {MAX_SCALE}", scale)
    if options.output.resolve() == options.input.resolve():
        raise ValueError(f"OUT is {options.output}, as is IN; the pairs need a folder of their own.")
    if options.crop and options.crop % scale:
        raise ValueError(f"--crop must be a multiple of the scale, {scale}; got {options.crop}.")
    # A cluster may have GPUs where the machine that orders the work has none.
    if options.device == "cuda" and options.engine == "local" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no such device here. Leave it out to use the CPU.")
    return PairPlan(
        folder=options.output,
        recipe=recipe,
        scale=scale,
        seed=options.seed,
        crop=options.crop,
        per_image=options.per_image,
        device=options.device,
    )


def find_recipe(name: str) -> Recipe:
    """Return a recipe, by its name or from a file.

    Raises:
        ValueError: if there is none, or the file is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    file = Path(name)
    if not file.is_file():
        raise ValueError(f"There is no recipe or file '{name}'; recipes are {', '.join(RECIPES)}.")
    try:
        return Recipe.from_json(read_text(file))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text}")
    return int(text)


def _workers(device: str, engine: str) -> int:
    """Return the default number of workers; 0 leaves it to Ray, which counts the cluster's GPUs."""
    if device == "cuda":
        return 0 if engine == "ray" else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(summary: Summary) -> str:
    mix = ", ".join(f"{count} {origin}" for origin, count in sorted(summary.mix.items()))
    unused = f"; {summary.problems} could not be used" if summary.problems else ""
    return f"{summary.made} new pairs{unused}; {sum(summary.mix.values())} in all ({mix or 'none'})"


def _print_errors(*lines: str) -> None:
    sys.stderr.writelines(f"{line}\n" for line in lines)
