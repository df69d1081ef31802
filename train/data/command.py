"""The command `python -m ugc_sr.train shards IN OUT`: pack photos or pairs into WebDataset shards."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .folders import PhotoFolder, pair_folder, photo_folder
from .shards import write_shards


def main(arguments: Sequence[str]) -> int:
    """Pack, with a progress bar on a terminal.

    Returns:
        The exit status: 0; 1 if a file couldn't be read or the disk is full; 2 if nothing was begun.
    """
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.train shards", description=__doc__)
    parser.add_argument(
        "input", type=Path, metavar="IN", help="a folder with hr and lr in it, or clean photos"
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for the shards")
    parser.add_argument("--scale", type=int, default=4, help="size of hr / size of lr; 4 if not given")
    parser.add_argument("--megabytes", type=int, default=512, help="size of a shard; 512 if not given")
    options = parser.parse_args(arguments)
    try:
        source = _open(options.input, options.output, options.scale)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.writelines(f"{name}: {why}\n" for name, why in source.problems.items())
    try:
        with tqdm(total=len(source.names), unit=" samples", disable=None) as bar:
            for _ in write_shards(source, options.output, options.megabytes):
                bar.update()
    except (OSError, ValueError) as error:
        file, why = (getattr(error, name, None) for name in ("filename", "strerror"))
        sys.stderr.write(
            f"{file or options.output}: {why or error}. Not everything was packed; fix that, "
            f"delete {options.output} and start again.\n"
        )
        return 1
    shards = len(list(options.output.glob("*.tar")))
    sys.stdout.write(f"{len(source.names)} samples in {shards} shards in {options.output}\n")
    return 0


def _open(where: Path, out: Path, scale: int) -> PhotoFolder:
    if next(out.glob("*.tar"), None):
        raise ValueError(f"{out}: there are shards already; use another folder.")
    if not where.exists():
        raise FileNotFoundError(f"{where}: there is no such folder or list.")
    sides = {path.name.lower() for path in where.iterdir() if path.is_dir()} if where.is_dir() else set()
    return pair_folder(where, scale) if sides & {"lr", "lq"} else photo_folder(where)
