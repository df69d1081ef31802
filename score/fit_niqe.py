"""The command `python -m ugc_sr.score.fit_niqe PHOTOS OUT`, which fits the parameters of `niqe`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..console import keep_printing
from ..files import replace_file
from ..photos.reader import open_photo
from .measures import rounded_luma
from .niqe import SHIPPED, Pristine, patch_features
from .pil_image import from_picture

VERSION = 1
SHRINK = 2  # times: undoes the blur of lens, sensor and demosaicing, and most of JPEG
SHARP = 0.75  # of the sharpest patch of the photo, as in the paper


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the parameters and write them, with the names of the photos, into a file."""
    keep_printing()
    parser = argparse.ArgumentParser(
        prog="python -m ugc_sr.score.fit_niqe",
        description="Fit the statistics of clean patches that NIQE compares with.",
    )
    parser.add_argument("photos", type=Path, help="folder of clean photos, as tools/fetch_photos.sh makes it")
    parser.add_argument("out", type=Path, help="where the .safetensors file goes")
    parser.add_argument(
        "names", nargs="*", help="files below the folder; without any, those of the shipped file"
    )
    options = parser.parse_args(arguments)
    names = options.names or provenance(SHIPPED)["photos"]
    try:
        patches = torch.cat([sharp_patches(photo_luma(options.photos / name)) for name in names])
        # one key: the order of several would differ from run to run
        fitted = json.dumps({"version": VERSION, "patches": len(patches), "photos": names})
        content = save(vars(fit(patches)), {"fitted": fitted})
        replace_file(options.out, content)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")


def fit(patches: Tensor) -> Pristine:
    """Return mean and covariance of the features (N, 36) of clean patches.

    Raises:
        ValueError: if there are too few for a covariance.
    """
    count, size = patches.shape
    if count <= size:
        raise ValueError(f"{count} sharp patches; expected more than {size}. Give more or larger photos.")
    return Pristine(mean=patches.mean(dim=0), covariance=patches.T.cov())


def sharp_patches(y: Tensor) -> Tensor:
    """Return the features (N, 36) of the sharp patches of clean luma (1, 1, H, W) in [0, 255]."""
    (features,), (sharpness,) = patch_features(y)
    return features[features.isfinite().all(dim=1) & (sharpness > SHARP * sharpness.max())]


def photo_luma(file: Path) -> Tensor:
    """Return the rounded luma (1, 1, H, W) of a photo after shrinking it."""
    photo = Image.fromarray(open_photo(file).rgb(deep=False))
    return rounded_luma(from_picture(photo.reduce(SHRINK)))


def provenance(file: Path) -> dict[str, Any]:
    """Return the origin of a file of parameters: version, photos, number of patches."""
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["fitted"])


if __name__ == "__main__":
    main()
