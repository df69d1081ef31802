"""Progress bar and status line of the node that is executed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from comfy.utils import ProgressBar
from comfy_execution.utils import get_executing_context

LEAST_LEFT_S = 5  # shorter remaining times aren't shown


def progress(total: int) -> Callable[[int], None]:
    """Return a function that sets the progress to a number out of `total`.

    It raises the host's interruption if the user has cancelled the graph.
    """
    return ProgressBar(total).update_absolute


def say(text: str) -> None:
    """Show a line of text on the node; does nothing outside of a graph."""
    context = get_executing_context()
    if context is not None:
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, context.node_id)


@dataclass(frozen=True)
class SamplingProgress:
    """Progress of one sampling run in tiles.

    Attributes:
        levels: noise levels from the first step to the end of the last; empty if not known.
        begun: start of the run, by time.perf_counter.
    """

    levels: tuple[float, ...]
    begun: float = field(default_factory=time.perf_counter)

    def show(self, level: float, done: int, until: int, tiles: int) -> None:
        """Show the progress within a step.

        Args:
            level: noise level of the step.
            done: number of tiles of the step that are sampled.
            until: last tile that is being sampled, counted from 1.
            tiles: number of tiles.
        """
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
