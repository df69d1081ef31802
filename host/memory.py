"""Detection of out-of-memory errors of any device and library, and the fallback to the CPU."""

import logging
import re
from collections.abc import Callable
from typing import TypeVar

import comfy.model_management
import torch

T = TypeVar("T")

log = logging.getLogger(__name__)

# Messages of allocators whose errors have no type of their own.
_SAYS_SO = re.compile(
    r"out of memory"  # CUDA, HIP, MPS, XPU and NPU; CUDA's driver
    r"|Invalid buffer size"  # MPS, above what Metal allows for one tensor
    r"|not enough (GPU video )?memory"  # DirectML; the CPU on Windows
    r"|can't allocate memory"  # the CPU
    r"|OUT_OF_(HOST_MEMORY|DEVICE_MEMORY|RESOURCES)"  # XPU, from SYCL
    r"|[A-Z]+(_STATUS)?_ALLOC_FAILED|DEVICE_ALLOCATION_FAILED"  # cuBLAS, cuDNN, hipBLAS, cuFFT
    r"|miopenStatusAllocFailed|rocblas_status_memory_error"  # ROCm
    r"|unable to find a valid cuDNN algorithm",  # none whose workspace fits into memory
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if `error` means that a device or the machine has no memory left.

    The host's own check is called first where this version of the host has one: it covers only CUDA, but also
    clears CUDA's error state.
    """
    if not isinstance(error, RuntimeError | MemoryError):
        return False
    hosts = getattr(comfy.model_management, "is_oom", None)
    if hosts is not None and hosts(error):
        return True
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return _SAYS_SO.search(str(error)) is not None


def on_device_or_cpu(work: Callable[[torch.device], T], node: str) -> T:
    """Return work(device) for the host's device, or for the CPU if that device lacks memory or an operation.

    Args:
        work: function that does the same on any device, with at most some hundred MB of memory.
        node: display name of the node, for the log.

    Raises:
        RuntimeError: if `work` raises it for another reason.
        MemoryError: if memory runs out on the CPU too.
    """
    device, cpu = comfy.model_management.get_torch_device(), torch.device("cpu")
    try:
        return work(device)
    except (RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        if device == cpu or not (isinstance(error, NotImplementedError) or is_out_of_memory(error)):
            raise
        log.warning("%s: works on the CPU, for the device can't (%s).", node, str(error).partition("\n")[0])
    return work(cpu)
