"""The processes that train together: one, or as many as accelerate's launcher started."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Distributed:
    """This process among those that train together, and their communication."""

    def __init__(self, cpu: bool = False) -> None:
        # The argument is passed only if set: False would override the launcher's setting.
        self._state = PartialState(**({"cpu": True} if cpu else {}))
        self.device: torch.device = self._state.device or torch.device("cpu")  # of this process
        self.rank = self._state.process_index  # number of this process
        self.size = self._state.num_processes  # number of processes on all machines
        self.is_main = self._state.is_main_process  # this process writes the files

    def wrap(self, task: nn.Module) -> nn.Module:
        """Return the task on this device, with gradients averaged over the processes."""
        task.to(self.device)
        if self.size == 1:
            return task
        return DistributedDataParallel(
            task,
            device_ids=None if self.device.type == "cpu" else [self.device],
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )

    def mean(self, values: Sequence[Tensor]) -> list[float]:
        """Return the mean of each scalar over the processes; NaN if one of them is."""
        stacked = torch.stack([value.detach().float().to(self.device) for value in values])
        means: Any = reduce(stacked, "mean") if self.size > 1 else stacked
        return means.tolist()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in one of the processes."""
        return self.mean([torch.tensor(float(flag))])[0] > 0

    def gather(self, rows: list[Any]) -> list[Any]:
        """Return the rows of all processes, in order of rank."""
        return gather_object(rows) if self.size > 1 else rows

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        self._state.wait_for_everyone()

    def close(self) -> None:
        """End the communication; without that, its libraries warn when the process ends."""
        self._state.destroy_process_group()
