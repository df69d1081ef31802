"""Out-of-memory errors, whichever device and library they come from."""

import re

import comfy.model_management
import torch

# What the allocators say where the error has no type of its own.
_SAYS_SO = re.compile(
    r"out of memory"  # CUDA, HIP, MPS, XPU and NPU; CUDA's driver
    r"|Invalid buffer size"  # MPS, above what Metal allows for one tensor
    r"|not enough (GPU video )?memory"  # DirectML; the CPU on Windows
    r"|can't allocate memory"  # the CPU
    r"|OUT_OF_(HOST_MEMORY|DEVICE_MEMORY|RESOURCES)"  # XPU, from SYCL
    r"|[A-Z]+(_STATUS)?_ALLOC_FAILED|DEVICE_ALLOCATION_FAILED"  # cuBLAS, cuDNN, hipBLAS, cuFFT
    r"|miopenStatusAllocFailed|rocblas_status_memory_error"  # ROCm
    r"|unable to find a valid cuDNN algorithm",  # none whose workspace had room
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device, or the machine, has no memory left for a tensor.

    The host's own check comes first, where this version of the host has one: it also clears what CUDA
    remembers of the error. It knows CUDA's errors alone.
    """
    if not isinstance(error, RuntimeError | MemoryError):
        return False
    hosts = getattr(comfy.model_management, "is_oom", None)
    if hosts is not None and hosts(error):
        return True
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return _SAYS_SO.search(str(error)) is not None
