"""The GPU of this machine: its description, its memory in use, and a time limit for its work."""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import comfy.cli_args
import comfy.memory_management
import comfy.model_management as management
import comfy.model_patcher
import torch

POLL_S = 0.02
GB = 1e9


def describe() -> dict[str, Any]:
    """Return the device, its memory and the versions of the software, as one row."""
    import comfyui_version

    device = management.get_torch_device()
    return {
        "device": management.get_torch_device_name(device),
        "memory_gb": round(cast(int, management.get_total_memory(device)) / GB, 1),
        "torch": torch.__version__,
        "comfyui": comfyui_version.__version__,
        "memory_mode": management.vram_state.name,
    }


def dynamic_vram() -> str:
    """Switch DynamicVRAM on, as ComfyUI does on NVIDIA cards; return "on", or "off" with the reason."""
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
    """Interrupt the sampling inside the block after so many seconds, as ComfyUI's cancel button does."""
    timer = threading.Timer(max(seconds, 0), management.interrupt_current_processing)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        management.interrupt_current_processing(False)


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    library = getattr(torch, device.type, None)
    if library is not None and hasattr(library, "synchronize"):
        library.synchronize()


@contextmanager
def peaks(device: torch.device) -> Iterator[dict[str, float]]:
    """Yield a dict that holds the peaks in bytes after the block: PyTorch's, and the whole card's.

    The whole card's includes other programs and the weights that DynamicVRAM holds. The dict is empty if the
    device has no such counters.
    """
    library: Any = getattr(torch, device.type, None)
    found: dict[str, float] = {}
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
