"""ComfyUI's DynamicVRAM on the pretended card: the parts of comfy_aimdo that talk to a driver, in Python."""

import collections
from typing import ClassVar

import comfy.memory_management
import comfy.model_patcher
import comfy_aimdo.host_buffer
import comfy_aimdo.model_vbar
import comfy_aimdo.torch
import torch
from comfy.cli_args import args


class WeightsBuffer:
    """Memory of the card for the weights of one model, of which each layer asks for its own part.

    Where `resident` is False there is never room, and the host streams every weight through each time.
    """

    resident = True
    fills: ClassVar = collections.Counter()

    def __init__(self, size, device):
        self.device = torch.device("cuda", device)
        self.parts = {}
        self.count = 0

    def prioritize(self, *_):
        """Do nothing, as there is no other buffer."""

    def alloc(self, size):
        """Return a part that is not yet in memory."""
        self.count += 1
        return self, self.count, size

    def loaded_size(self):
        """Return the number of bytes in memory."""
        return sum(part.numel() for part in self.parts.values())

    def free_memory(self, _):
        """Free all parts; return their number of bytes."""
        freed = self.loaded_size()
        self.parts.clear()
        return freed


def _fault(part):
    """Bring a part into memory; return a signature that changes each time, or None where there is no room."""
    buffer, number, size = part
    if not buffer.resident:
        return None
    if number not in buffer.parts:
        buffer.parts[number] = torch.empty(size, dtype=torch.uint8, device=buffer.device)
        buffer.fills[id(buffer), number] += 1
    return buffer.fills[id(buffer), number].to_bytes(4, "little")


class _HostBuffer:
    def __init__(self, *_, **__):
        self.size = 0

    def truncate(self, *_, **__):
        """Do nothing, as no memory is pinned."""


def _load_list(self, for_dynamic=False, default_device=None):
    """As the host's, which moves parameters by `parameter.data = ...`; a wrapper can't be moved so."""
    if default_device is not None:
        for module in self.model.modules():
            own = dict(module.named_parameters(recurse=False))
            if any(name not in own for name, _ in module.named_parameters()):
                for name, value in own.items():
                    dtype = getattr(module, f"{name}_comfy_model_dtype", None)
                    moved = value.to(device=default_device, dtype=dtype)
                    setattr(module, name, torch.nn.Parameter(moved, requires_grad=False))
    return _HOST_LOAD_LIST(self, for_dynamic=for_dynamic)


_HOST_LOAD_LIST = comfy.model_patcher.ModelPatcher._load_list


def switch_on(monkeypatch, resident):
    """Let the host believe that comfy_aimdo found a driver, as main.py does on an NVIDIA card."""
    vbar = comfy_aimdo.model_vbar
    monkeypatch.setattr(WeightsBuffer, "resident", resident)
    monkeypatch.setattr(vbar, "ModelVBAR", WeightsBuffer)
    monkeypatch.setattr(vbar, "vbar_fault", _fault)
    monkeypatch.setattr(vbar, "vbar_unpin", lambda part: None)
    monkeypatch.setattr(vbar, "vbars_analyze", lambda *_: 0)
    monkeypatch.setattr(vbar, "vbar_signature_compare", lambda a, b: a is not None and a == b)
    monkeypatch.setattr(vbar, "vbars_reset_watermark_limits", lambda: None)
    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", _HostBuffer)
    monkeypatch.setattr(comfy_aimdo.torch, "aimdo_to_tensor", lambda part, _: part[0].parts[part[1]])
    monkeypatch.setattr(args, "disable_pinned_memory", True)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "_load_list", _load_list)
    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcherDynamic)
    monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", True)
