"""One pair on disk: two PNG files and a line of the manifest."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from ...files import replace_file
from ...image import to_levels
from ..degradation import Degradation, Pair
from ..effects.picture import save

SIDES = ("hr", "lr")


@dataclass(frozen=True)
class Record:
    """The line of a pair in the manifest, without the hashes.

    Args:
        name: name of both files, with the suffix.
        source: the photo that it was made from, relative to the input folder.
        origin: 'recipe', or 'joined' for an existing pair that was added.
        crop: top, left, height and width of the part that was used; None for the whole photo.
        degradation: how the damaged photo was made; None for a joined pair.
    """

    name: str
    source: str
    origin: str = "recipe"
    crop: tuple[int, int, int, int] | None = None
    degradation: Degradation | None = None


def write_pair(folder: Path, record: Record, pair: Pair) -> str:
    """Write both photos of a pair (1, 3, H, W) as PNG files.

    Returns:
        The pair's line of the manifest.

    Raises:
        OSError: if a file can't be written; neither photo is left then.
    """
    files = {side: encode_png(photo) for side, photo in zip(SIDES, pair, strict=True)}
    try:
        for side, content in files.items():
            replace_file(folder / side / record.name, content)
    except OSError:
        remove_pair(folder, record.name)
        raise
    made = record.degradation
    line = {
        "name": record.name,
        **{f"{side}_sha256": hashlib.sha256(content).hexdigest() for side, content in files.items()},
        "source": record.source,
        "origin": record.origin,
        "crop": record.crop,
        "recipe": made and made.recipe,
        "seed": made and made.seed,
        "degradation": made and json.loads(made.to_json()),
    }
    return json.dumps(line) + "\n"


def remove_pair(folder: Path, name: str) -> None:
    """Remove both photos of a pair that has no line in the manifest."""
    for side in SIDES:
        (folder / side / name).unlink(missing_ok=True)


def encode_png(photo: Tensor) -> bytes:
    """Return (1, 3, H, W) in [0, 1] as an 8-bit PNG file."""
    # Run lengths alone pack photos better than the default matching of level 1, and faster: 512x512 px in
    # 14 ms and 272 kB against 18 ms and 308 kB; level 6 takes 65 ms for 260 kB (measured).
    return save(Image.fromarray(to_levels(photo)[0]), "PNG", compress_level=1, compress_type=zlib.Z_RLE)
