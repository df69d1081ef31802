"""What the node that runs tells the person at the graph."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from comfy.utils import ProgressBar
from comfy_execution.utils import get_executing_context

LEAST_LEFT_S = 5  # less isn't worth a word


def progress(total: int) -> Callable[[int], None]:
    """A function to tell how many of `total` are done; it ends the node when the user cancels the graph."""
    bar = ProgressBar(total)
    return lambda count: bar.update_absolute(count)


def say(text: str) -> None:
    """Write a line on the node; nothing where no graph runs."""
    context = get_executing_context()
    if context is not None:
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, context.node_id)


@dataclass(frozen=True)
class SamplingProgress:
    """Tells of the tiles of one sampling run.

    `levels` are the noise levels of its steps, from the first to the end's; none if not known.
    """

    levels: tuple[float, ...]
    begun: float = field(default_factory=time.perf_counter)

    def tell(self, level: float, done: int, until: int, tiles: int) -> None:
        """Say that, `done` of the `tiles` of a step being done, those up to `until` are sampled now."""
        steps = max(len(self.levels) - 1, 1)
        step = min(sum(known > level * 1.0001 for known in self.levels), steps - 1)
        finished, total = step * tiles + done, steps * tiles
        progress(total)(finished)
        some = f"tile {until}" if until == done + 1 else f"tiles {done + 1} to {until}"
        text = f"Sampling {some} of {tiles}"
        if steps > 1:
            text += f", step {step + 1} of {steps}"
        left = (time.perf_counter() - self.begun) * (total - finished) / finished if finished else 0
        say(text + (f"; about {left:.0f} s left" if left >= LEAST_LEFT_S else ""))
