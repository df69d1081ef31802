"""The table of tasks; each is imported when it is built."""

from collections.abc import Callable

from .presets import Stage
from .task import Start, Task


def build(stage: Stage, start: Start) -> Task:
    """Return the task of a stage, ready to train.

    Raises:
        ValueError: for an unknown task.
    """
    if stage.task not in TASKS:
        raise ValueError(f"There is no task '{stage.task}'; expected one of {', '.join(TASKS)}.")
    return TASKS[stage.task](stage, start)


def _srlab(stage: Stage, start: Start) -> Task:
    from . import srlab

    return srlab.build(stage, start, **stage.options)


def _regression(stage: Stage, start: Start) -> Task:
    from . import regression

    return regression.build(stage, start, **stage.options)


def _nano(kind: str) -> Callable[[Stage, Start], Task]:
    def builder(stage: Stage, start: Start) -> Task:
        from . import nano_tasks

        return getattr(nano_tasks, f"build_{kind}")(stage, start, **stage.options)

    return builder


TASKS: dict[str, Callable[[Stage, Start], Task]] = {
    "nano_anchor": _nano("anchor"),
    "nano_reading": _nano("reading"),
    "nano_restore": _nano("restore"),
    "regression": _regression,
    "srlab": _srlab,
}
