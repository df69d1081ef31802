"""python -m ugc_sr.train PRESET: train the bundled model from photos to the file that ships."""

import argparse
import dataclasses
import json
import logging
from pathlib import Path

import torch
from safetensors.torch import save_file

from .nano import Nano, train
from .pairs import Pairs, make_pairs
from .presets import PRESETS

log = logging.getLogger(__name__)


def main() -> None:
    """Make the pairs if they are not there, train or resume, write `nano.safetensors`."""
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.train", description=__doc__)
    parser.add_argument("preset", choices=tuple(PRESETS))
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder that scripts/fetch_photos.sh filled"
    )
    parser.add_argument("--run", type=Path, required=True, help="folder for pairs, checkpoints, logs, result")
    parser.add_argument("--workers", type=int, default=2, help="processes that make pairs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    preset = PRESETS[options.preset]
    options.run.mkdir(parents=True, exist_ok=True)
    (options.run / "preset.json").write_text(json.dumps(dataclasses.asdict(preset), indent=2) + "\n")
    pairs_folder = options.run / "pairs"
    if not (pairs_folder / "lr.npy").exists():
        log.info("Making %d pairs …", preset.pairs)
        make_pairs(options.photos, pairs_folder, preset.pairs, options.workers)
    model = train(preset, Pairs(pairs_folder), options.run)
    export(model, options.run / "nano.safetensors")
    log.info("Wrote %s", options.run / "nano.safetensors")


def export(model: Nano, path: Path) -> None:
    """Write every part in half precision under the names that the host's loader reads."""
    tensors = {key: value.to(torch.float16).contiguous() for key, value in model.state_dict().items()}
    tensors["text."] = tensors.pop("text")
    temporary = path.with_suffix(".part")
    save_file(tensors, temporary, {"format": "pt", "licence": "Apache-2.0", "model": "ugc_sr nano v0"})
    temporary.replace(path)


if __name__ == "__main__":
    main()
