"""The message of Prepare Photo before the work: output size, memory need and estimated time."""

import logging
import math
from typing import Any

import comfy.model_management as management

from ..sample.frame import Frame
from ..sample.seconds import seconds_on_cpu
from ..sample.tile_layout import readable_bytes
from .progress import say

NODE = "Prepare Photo"
PICTURES, PIXEL_BYTES = 3, 12  # the photo enlarged, restored, and colour-matched; float32 RGB
LARGE_MEGAPIXELS = 1  # smaller results take few seconds, and get no estimate

log = logging.getLogger(__name__)


def announce(frame: Frame, photos: int) -> None:
    """Write the sizes of a batch, its memory need and the estimated time to the node and the log.

    Raises:
        ValueError: if the pictures alone exceed the memory of the machine.
    """
    device = management.intermediate_device()
    need = photos * PICTURES * PIXEL_BYTES * math.prod(frame.canvas)
    total: Any = management.get_total_memory(device)
    free: Any = management.get_free_memory(device)
    if need > total:
        fitting = math.floor(100 * frame.scale * math.sqrt(total / need)) / 100
        raise ValueError(
            f"{_many(photos)}{frame} takes {readable_bytes(need)} for its pictures alone, and this machine "
            f"has {readable_bytes(total)}. Choose a 'scale' of at most {fitting:g}, or "
            f"{'fewer photos at once' if photos > 1 else 'a smaller photo'}."
        )
    said = [f"{_many(photos)}{frame}"]
    megapixels = photos * frame.height * frame.width / 1e6
    if megapixels >= LARGE_MEGAPIXELS and management.is_device_cpu(management.get_torch_device()):
        seconds = photos * seconds_on_cpu(frame.width, frame.height)
        said.append(f"about {max(1, round(seconds))} s on this CPU with the bundled model")
    if need > free:
        said.append(
            f"its pictures take {readable_bytes(need)} and {readable_bytes(free)} are free: close other "
            "programs, or choose a smaller 'scale'"
        )
    text = "; ".join(said)
    log.log(logging.WARNING if need > free else logging.INFO, "%s: %s.", NODE, text)
    say(text)


def _many(photos: int) -> str:
    return f"{photos} photos of " if photos > 1 else ""
