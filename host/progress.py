"""What the node that runs tells the person at the graph."""

from collections.abc import Callable

from comfy.utils import ProgressBar
from comfy_execution.utils import get_executing_context


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
