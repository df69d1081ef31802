"""The command that makes pairs: its arguments, what they come to, and what a person is told."""

import argparse
import os
import sys
from pathlib import Path

import torch

from ..files import read_text
from .dataset.cluster import check_ray, ray_data
from .dataset.interrupt import Interrupts
from .dataset.jobs import Engine, Plan, list_jobs
from .dataset.join import find_pairs
from .dataset.listing import find_photos
from .dataset.pool import local
from .dataset.run import Summary, check_folder, make_pairs
from .recipe import MAX_SCALE, Recipe
from .recipes import RECIPES

ENGINES: dict[str, Engine] = {"local": local, "ray": ray_data}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m ugc_sr.degrade`."""
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
    """Check all that can be checked, then make pairs.

    Returns:
        The exit status: 0; 1 if a photo could not be used or the disk is full; 2 if nothing was begun;
        128 and the number of the signal that stopped it.
    """
    try:
        plan = _plan(options)
        if options.engine == "ray":
            check_ray()
        check_folder(plan.folder, options.resume)
        photos = find_photos(options.input, without=plan.folder)
        joined, alone = find_pairs(options.join, plan.scale) if options.join else ({}, [])
        _tell(*alone)
        workers = options.workers or _workers(options.device, options.engine)
        jobs = list(list_jobs(plan, photos, joined))
        with Interrupts() as interrupts:
            summary = make_pairs(plan, jobs, ENGINES[options.engine], workers, lambda: bool(interrupts))
    except (ValueError, OSError, RuntimeError) as error:
        _tell(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    summary.problems += len(alone)
    sys.stdout.write(f"{_text(summary)} in {plan.folder}\n")
    if interrupts.number:
        _tell("Stopped. The same command with --resume goes on.")
        return 128 + interrupts.number
    if summary.fatal:
        _tell(f"{plan.folder}: {summary.fatal}. Once that is mended, the same command with --resume goes on.")
    return int(bool(summary.fatal or summary.problems))


def _plan(options: argparse.Namespace) -> Plan:
    recipe = find_recipe(options.recipe)
    if options.sharpen_target:
        recipe = recipe.sharpened()
    if options.jpeg == "kornia":
        recipe = recipe.differentiable()
    scale = options.scale or recipe.scale
    if scale > MAX_SCALE:
        raise ValueError(f"--scale must be at most {MAX_SCALE}, got {scale}.")
    if options.output.resolve() == options.input.resolve():
        raise ValueError(f"OUT is {options.output}, as is IN; the pairs need a folder of their own.")
    if options.crop and options.crop % scale:
        raise ValueError(f"--crop must be a multiple of the scale, {scale}; got {options.crop}.")
    # A cluster may have GPUs where the machine that orders the work has none.
    if options.device == "cuda" and options.engine == "local" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no such device here. Leave it out to use the CPU.")
    return Plan(
        folder=options.output,
        recipe=recipe,
        scale=scale,
        seed=options.seed,
        crop=options.crop,
        per_image=options.per_image,
        device=options.device,
    )


def find_recipe(name: str) -> Recipe:
    """A recipe by its name or its file.

    Raises:
        ValueError: if there is none, or the file is not a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    file = Path(name)
    if not file.is_file():
        raise ValueError(f"--recipe {name}: no such file and no such name; known are {', '.join(RECIPES)}.")
    try:
        return Recipe.from_json(read_text(file))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text}")
    return int(text)


def _workers(device: str, engine: str) -> int:
    """How many are usual; 0 leaves it to Ray, which counts the cluster's GPUs."""
    if device == "cuda":
        return 0 if engine == "ray" else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(summary: Summary) -> str:
    mix = ", ".join(f"{count} {origin}" for origin, count in sorted(summary.mix.items()))
    lost = f"; {summary.problems} could not be used" if summary.problems else ""
    return f"{summary.made} new pairs{lost}; {sum(summary.mix.values())} in all ({mix or 'none'})"


def _tell(*lines: str) -> None:
    sys.stderr.writelines(f"{line}\n" for line in lines)
