"""Networks under the host's memory management, in each of its memory modes."""

import comfy.model_management as management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from torch import nn

# The host's layers, by the torch layers from which they are derived.
_CASTING = {
    getattr(nn, name): getattr(comfy.ops.manual_cast, name)
    for name in ("Linear", "Conv2d", "ConvTranspose2d", "GroupNorm", "LayerNorm")
}


def own(
    module: nn.Module,
    load_device: torch.device | None = None,
    offload_device: torch.device | None = None,
    disable_dynamic: bool = False,
) -> comfy.model_patcher.ModelPatcher:
    """Return the patcher by which the host loads, offloads and frees `module`.

    Call it before the weights are loaded, with `assign=patcher.is_dynamic()`: the host keeps the weights on
    its device in the dtypes that the module has at this call.

    Args:
        module: the network.
        load_device: device of the computation; by default that of UNets.
        offload_device: device of the offloaded weights; by default that of UNets.
        disable_dynamic: return a patcher without DynamicVRAM, which the host needs to compile a model.
    """
    module.eval().requires_grad_(False)
    management.archive_model_dtypes(module)
    kind = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    return kind(
        module,
        load_device=load_device or management.get_torch_device(),
        offload_device=offload_device or management.unet_offload_device(),
    )


def cast_on_the_fly(module: nn.Module) -> nn.Module:
    """Return `module` with its torch layers changed to the host's, which load their weights when they run.

    The host can move torch's layers only together with the whole network. With `--novram`, or when memory is
    short, it leaves weights in RAM and relies on each layer to load its own.
    """
    for layer in module.modules():
        layer.__class__ = _CASTING.get(type(layer), type(layer))
    return module


def move_bare_parameters(module: nn.Module, device: torch.device) -> None:
    """Move to `device` the parameters of modules that have submodules, such as positional embeddings.

    The host moves these only when it loads a network completely; it moves them back when it unloads it.
    """
    for path, owner in module.named_modules():
        own_names = [name for name, _ in owner.named_parameters(recurse=False)]
        if own_names and any(True for _ in owner.children()):
            for name in own_names:
                key = f"{path}.{name}" if path else name
                comfy.utils.set_attr_param(module, key, getattr(owner, name).to(device))
