"""The command `python -m ugc_sr.train PRESET --out FOLDER --data NAME=PATH`: begin or continue a run."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..console import keep_printing
from .data import Data
from .stages import PRESETS, TrainingPreset

WRONG = 2  # exit code; those of runs that ended early are in `EndedError`


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, or pack shards; an error is one message on stderr.

    Returns:
        The exit code.
    """
    keep_printing()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["shards"]:
        from .data.command import main as shards

        return shards(arguments[1:])
    options = _parser().parse_args(arguments)

    from .distributed import Distributed
    from .run import EndedError, run

    processes = Distributed(cpu=options.cpu)
    try:
        config, folder = _config(options, processes.is_main)
        processes.wait()  # for config.json
        run(config, folder, processes)
        processes.close()
    except EndedError as error:
        if processes.is_main:
            sys.stderr.write(f"{error}\n")
        return error.code
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    return 0


def _config(options: argparse.Namespace, main: bool) -> tuple:
    """Return the run's settings and folder; the main process writes config.json.

    Raises:
        ValueError: if there is nothing to begin or to continue.
    """
    from .config import CONFIG, Config, changed

    if options.resume:
        config = Config.read(options.resume)
        config = replace(config, preset=changed(config.preset, options.set))
        if options.set and main:
            config.write(options.resume, options.set)
        return config, options.resume
    if not (options.preset and options.out):
        raise ValueError("Name a preset and --out FOLDER to begin, or --resume FOLDER to go on.")
    if main and (options.out / CONFIG).exists():  # the others may see the file of this run
        raise ValueError(
            f"'{options.out}' holds a run already. Go on with it:  --resume {options.out}  "
            "or name another folder."
        )
    preset = changed(_with_encoder(PRESETS[options.preset], options.encoder), options.set)
    preset = replace(preset, data=_placed(preset, options.data))
    config = Config(options.preset, preset, options.base, options.validate, options.workers)
    if main:
        config.write(options.out)
    return config, options.out


def _placed(preset: TrainingPreset, given: Sequence[str]) -> Data:
    """Return the preset's data with the paths of --data.

    Raises:
        ValueError: if a name or path is missing, or a name is unknown or given twice.
    """
    paths: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--data {text}: expected NAME=PATH, such as photos=my_photos.")
        if name in paths:
            raise ValueError(f"--data {text}: {name} is given already; put everything into one folder.")
        paths[name] = _absolute(path)
    return preset.data.at(paths)


def _with_encoder(preset: TrainingPreset, encoder: str | None) -> TrainingPreset:
    """Return the preset with the encoder's file in every stage that takes one.

    Raises:
        ValueError: if no stage does.
    """
    if encoder is None:
        return preset
    stages = tuple(
        replace(stage, options={**stage.options, "encoder": encoder}) if "encoder" in stage.options else stage
        for stage in preset.stages
    )
    if stages == preset.stages:
        raise ValueError("This preset takes no --encoder: it trains its own, or has none.")
    return replace(preset, stages=stages)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ugc_sr.train",
        description="Train networks, or go on with a run. Presets: "
        + " ".join(f"{name}: {preset.purpose}" for name, preset in PRESETS.items()),
        epilog="python -m ugc_sr.train shards IN OUT  packs photos or pairs into WebDataset shards.",
    )
    parser.add_argument("preset", nargs="?", choices=tuple(PRESETS), help="what to train")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="new folder for all that the run makes")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with the run in this folder")
    parser.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="paths of the parts of the preset's mix, such as photos=FOLDER pairs=FOLDER; "
        "parts that aren't named are left out",
    )
    parser.add_argument(
        "--base", type=_absolute, help="pretrained weights to stand on: a folder of diffusers, or a file"
    )
    parser.add_argument(
        "--encoder", type=_absolute, metavar="FILE", help="semantic encoder, SAM 2.1 as .safetensors"
    )
    parser.add_argument("--validate", type=_absolute, metavar="PAIRS", help="folder of pairs to score on")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="STAGE.NAME=VALUE", help="change a setting"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that make batches; 2 if not given")
    parser.add_argument("--cpu", action="store_true", help="don't use a GPU")
    return parser


if __name__ == "__main__":
    sys.exit(main())
