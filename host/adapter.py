"""SeeSR's image attentions as a module under the host's memory management."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import torch
from torch import Tensor, nn

from ..models import layout
from ..models.architecture import image_attention
from ..models.convert import fold_tokens
from .attention import ImageAttention
from .ownership import own


class SemanticAdapter(nn.ModuleDict):
    """Image attentions by the place in the host's UNet after which they run, such as "input_4"."""

    def __init__(self, state_dict: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """Build the modules for the weights in `state_dict`, whose keys begin with the place."""
        sites = dict.fromkeys(key.partition(".")[0] for key in state_dict)
        super().__init__({site: ImageAttention(image_attention(state_dict, site), dtype) for site in sites})

    @property
    def attentions(self) -> dict[str, ImageAttention]:
        """The modules by place."""
        return cast("dict[str, ImageAttention]", self._modules)

    @property
    def token_dim(self) -> int:
        """Width of the tokens that the attentions take."""
        return next(iter(self.attentions.values())).token_dim


@dataclass(frozen=True, eq=False)
class LoadedAdapter:
    """An adapter with its patcher.

    Attributes:
        patcher: patcher by which the host loads and frees the adapter.
        token_dim: width of the tokens that it takes.
        name: name of its file.
    """

    patcher: "comfy.model_patcher.ModelPatcher"
    token_dim: int
    name: str


def load_adapter(
    state_dict: Mapping[str, Tensor],
    name: str = "adapter",
    dtype: torch.dtype | None = None,
) -> LoadedAdapter:
    """Return the image attentions of a UNet in SeeSR's layout; other weights in the file are ignored.

    Projections of 512 channels, which take duplicated tokens, are reduced to SAM2's 256 channels.

    Args:
        state_dict: weights of the whole UNet of SeeSR or SRlab, or of its image attentions alone.
        name: name of the file, for messages.
        dtype: dtype of the weights on the device; by default the host's choice.

    Raises:
        UnsupportedWeightsError: if the file is of another kind, or incomplete.
    """
    adapter = fold_tokens(layout.converted(state_dict, "adapter", name))
    patcher = _loaded(adapter, dtype or storage_dtype(adapter))
    return LoadedAdapter(patcher, patcher.model.token_dim, name)


def _loaded(
    state_dict: Mapping[str, Tensor], dtype: torch.dtype, disable_dynamic: bool = False
) -> "comfy.model_patcher.ModelPatcher":
    """Return a patcher of an adapter with these weights.

    The host can make further patchers of the same weights from it, for more devices.
    """
    module = SemanticAdapter(state_dict, dtype)
    patcher = own(module, disable_dynamic=disable_dynamic)
    module.load_state_dict(state_dict, assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (_again, (module, dtype))
    return patcher


def _again(
    module: SemanticAdapter, dtype: torch.dtype, disable_dynamic: bool = False
) -> "comfy.model_patcher.ModelPatcher":
    return _loaded(module.state_dict(), dtype, disable_dynamic)


def storage_dtype(state_dict: Mapping[str, Tensor]) -> torch.dtype:
    """Return the float dtype in which the host would store these weights on its device."""
    return comfy.model_management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(state_dict),
        weight_dtype=comfy.utils.weight_dtype(state_dict),
    )
