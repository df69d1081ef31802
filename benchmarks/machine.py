"""The card of this machine: what it is, how much of it is in use, and an end to work that takes too long."""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.cli_args
import comfy.memory_management
import comfy.model_management as management
import comfy.model_patcher
import torch

POLL_S = 0.02
GB = 1e9


def describe() -> dict[str, Any]:
    """What computes, and what with."""
    import comfyui_version

    device = management.get_torch_device()
    return {
        "device": management.get_torch_device_name(device),
        "memory_gb": round(management.get_total_memory(device) / GB, 1),
        "torch": torch.__version__,
        "comfyui": comfyui_version.__version__,
        "memory_mode": management.vram_state.name,
    }


def dynamic_vram() -> str:
    """Switch DynamicVRAM on, as ComfyUI does at its start on NVIDIA cards; returns what came of it."""
    if comfy.memory_management.aimdo_enabled:
        return "on"
    wanted = getattr(comfy.cli_args, "enables_dynamic_vram", lambda: False)
    if management.get_torch_device().type != "cuda" or not wanted():
        return "off, as ComfyUI has it here"
    if importlib.util.find_spec("comfy_aimdo") is None:
        return "off: the package comfy_aimdo is missing"
    try:
        import comfy_aimdo.control as control

        control.init()
        if not control.init_devices(device.index for device in management.get_all_torch_devices()):
            return "off: comfy_aimdo does not work here"
    except Exception as error:  # noqa: BLE001 - of another version, or of a driver that it does not know
        return f"off: comfy_aimdo fails ({error})"
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True
    return "on"


@contextmanager
def ended(seconds: float) -> Iterator[None]:
    """End the sampling within after so many seconds, as a person would cancel it."""
    timer = threading.Timer(max(seconds, 0), management.interrupt_current_processing)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        management.interrupt_current_processing(False)


def wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    library = getattr(torch, device.type, None)
    if library is not None and hasattr(library, "synchronize"):
        library.synchronize()


@contextmanager
def peaks(device: torch.device) -> Iterator[dict[str, float]]:
    """Bytes at the peak: PyTorch's own, and of the whole card with what other programs hold.

    Weights that DynamicVRAM holds are in the second alone. Empty where the device doesn't tell.
    """
    library, found = getattr(torch, device.type, None), {}
    if not hasattr(library, "max_memory_allocated"):
        yield found
        return
    over = threading.Event()
    library.reset_peak_memory_stats(device)

    def watch() -> None:
        while not over.wait(POLL_S):
            free, total = library.mem_get_info(device)
            found["card_gb"] = max(found.get("card_gb", 0), total - free)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found["peak_gb"] = library.max_memory_allocated(device)
