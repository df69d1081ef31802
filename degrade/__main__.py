"""python -m ugc_sr.degrade IN OUT --recipe NAME --seed N: clean photos in, training pairs out."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .recipe import Recipe, apply
from .recipes import RECIPES

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def main() -> None:
    """Damage a photo or a folder of photos and record every draw."""
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.degrade", description=__doc__)
    parser.add_argument("input", type=Path, metavar="IN", help="a photo or a folder of photos")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for lr/, hr/ and manifest.jsonl")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="ugc")
    parser.add_argument("--seed", type=int, default=0, help="photo k of the sorted list draws with seed + k")
    options = parser.parse_args()
    photos = _photos(options.input)
    if not photos:
        parser.error(f"no photo ({', '.join(SUFFIXES)}) in {options.input}")
    make_pairs(photos, options.output, RECIPES[options.recipe], options.seed)


def make_pairs(photos: list[Path], folder: Path, recipe: Recipe, seed: int) -> None:
    """Write `hr/NAME.png`, `lr/NAME.png` and one line of `manifest.jsonl` for every photo."""
    for name in ("hr", "lr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = []
    for index, path in enumerate(photos):
        degradation = recipe.draw(seed + index)
        hr = _crop(load(path), degradation.scale)
        lr = apply(degradation, hr)
        target = f"{path.stem}.png"
        save(hr, folder / "hr" / target)
        save(lr, folder / "lr" / target)
        digest = hashlib.sha256((folder / "lr" / target).read_bytes()).hexdigest()
        lines.append(
            json.dumps(
                {"name": target, "lr_sha256": digest, "degradation": json.loads(degradation.to_json())}
            )
        )
    temporary = folder / "manifest.part"
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(folder / "manifest.jsonl")


def load(path: Path) -> Tensor:
    """A photo the right way up: (1, 3, H, W) in [0, 1]."""
    with Image.open(path) as photo:
        pixels = np.array(ImageOps.exif_transpose(photo).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def save(image: Tensor, path: Path) -> None:
    """Write (1, 3, H, W) in [0, 1] as PNG, by way of a temporary name."""
    pixels = image[0].mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    temporary = path.with_suffix(".part")
    Image.fromarray(pixels).save(temporary, "PNG")
    temporary.replace(path)


def _crop(hr: Tensor, scale: int) -> Tensor:
    """Cut off what the scale can't divide."""
    height, width = hr.shape[2] // scale * scale, hr.shape[3] // scale * scale
    return hr[:, :, :height, :width]


def _photos(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)


if __name__ == "__main__":
    main()
