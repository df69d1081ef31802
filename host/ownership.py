"""Networks in the host's care: it loads, offloads and frees them, in every memory mode."""

import comfy.model_management as management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from torch import nn

# The host's layers by those of torch from which they are derived.
_CASTING = {
    getattr(nn, name): getattr(comfy.ops.manual_cast, name)
    for name in ("Linear", "Conv2d", "ConvTranspose2d", "GroupNorm", "LayerNorm")
}


def own(
    module: nn.Module, load_device: torch.device | None = None, offload_device: torch.device | None = None
) -> comfy.model_patcher.ModelPatcher:
    """Return the patcher by which the host loads, offloads and frees `module`; by default as it does UNets.

    Call it before the weights are loaded, with `assign=patcher.is_dynamic()`: the data types that the module
    has now are those in which the host will keep the weights on its device.
    """
    module.eval().requires_grad_(False)
    management.archive_model_dtypes(module)
    return comfy.model_patcher.CoreModelPatcher(
        module,
        load_device=load_device or management.get_torch_device(),
        offload_device=offload_device or management.unet_offload_device(),
    )


def cast_on_the_fly(module: nn.Module) -> nn.Module:
    """Return `module` with torch's layers turned into the host's, which fetch weights that lie elsewhere.

    Networks of other packages are built of torch's layers, which the host can only move as a whole. With
    `--novram`, or when memory is short, it leaves weights in RAM and counts on each layer to fetch its own.
    """
    for layer in module.modules():
        layer.__class__ = _CASTING.get(type(layer), type(layer))
    return module


def move_bare_parameters(module: nn.Module, device: torch.device) -> None:
    """Move to `device` the parameters that belong to no single layer, such as embeddings of positions.

    The host moves these only when it loads a network completely. It takes them back when it unloads it.
    """
    for path, owner in module.named_modules():
        own_names = [name for name, _ in owner.named_parameters(recurse=False)]
        if own_names and any(True for _ in owner.children()):
            for name in own_names:
                key = f"{path}.{name}" if path else name
                comfy.utils.set_attr_param(module, key, getattr(owner, name).to(device))
