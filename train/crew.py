"""The processes that train together: one, or as many as accelerate's launcher started."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .task import Task


class Crew:
    """Where this process stands among the others, and what they tell each other.

    Attributes:
        device: that this process computes on.
        rank: of this process.
        size: number of processes, on all machines.
        main: whether this is the one that writes.
    """

    def __init__(self, cpu: bool = False) -> None:
        # Only what is there counts as a wish for the CPU: False would override the launcher's.
        self._state = PartialState(**({"cpu": True} if cpu else {}))
        self.device: torch.device = self._state.device or torch.device("cpu")
        self.rank, self.size = self._state.process_index, self._state.num_processes
        self.main = self._state.is_main_process

    def joined(self, task: Task) -> nn.Module:
        """The task on this device, with gradients averaged over the processes."""
        task.to(self.device)
        if self.size == 1:
            return task
        return DistributedDataParallel(
            task,
            device_ids=None if self.device.type == "cpu" else [self.device],
            broadcast_buffers=False,
            find_unused_parameters=len(task.players) > 1,
            gradient_as_bucket_view=True,
        )

    def mean(self, values: Sequence[Tensor]) -> list[float]:
        """Each scalar's mean over the processes; not a number where one of them isn't."""
        stacked = torch.stack([value.detach().float().to(self.device) for value in values])
        means: Any = reduce(stacked, "mean") if self.size > 1 else stacked
        return means.tolist()

    def any(self, flag: bool) -> bool:
        """Whether it is set in one of the processes."""
        return self.mean([torch.tensor(float(flag))])[0] > 0

    def gathered(self, rows: list[Any]) -> list[Any]:
        """The rows of all processes, in their order."""
        return gather_object(rows) if self.size > 1 else rows

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()

    def leave(self) -> None:
        """End the talk before the process ends, or its libraries warn."""
        self._state.destroy_process_group()
