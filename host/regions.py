"""A MODEL clone whose sampling is held to a photo where a mask says so."""

from dataclasses import dataclass
from typing import Any

import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ..image import resize
from ..sample.frame import Frame
from ..sample.regions import check_batch, lay
from .clone import clone
from .tiling import latent_ratio

NODE = "Weigh Regions"
KEY = "ugcsr_regions"


def weigh_regions(
    model: Any, latent: Tensor, mask: Tensor, strength: float, frame: Frame | None = None
) -> Any:
    """Clone of MODEL that pulls every estimate of the clean latent to `latent` by mask * strength.

    Wraps PREDICT_NOISE, which is around guidance, its patches and tiles, and sees the whole latent. Held
    again, the second pull follows the first. What pulls nothing gives the MODEL as it is.

    Args:
        model: the MODEL.
        latent: the photo as its VAE encodes it, (B, C, h, w).
        mask: (B, H, W) or (H, W) in [0, 1], of any size but the photo's aspect.
        strength: share of the way to the photo where the mask is 1, in [0, 1].
        frame: of the canvas that was encoded, if the mask belongs to the photo on it.

    Raises:
        ValueError: if latent, mask, frame and MODEL don't go together.
    """
    form = model.get_model_object("latent_format")
    shape = tuple(latent.shape)
    if latent.ndim != 4 or shape[1] != form.latent_channels:
        raise ValueError(
            f"{NODE}: 'latent' has shape {shape}; expected (batch, {form.latent_channels}, height, width) "
            "for this 'model'. Connect VAE Encode of the hint, with the VAE that belongs to the model."
        )
    if not latent.any():
        raise ValueError(
            f"{NODE}: 'latent' is empty; expected the photo to hold to. Connect VAE Encode of the hint, also "
            "where the sampler starts from an empty latent."
        )
    ratio = latent_ratio(model)
    weight = strength * resize(
        lay(mask, shape[2] * ratio, shape[3] * ratio, NODE, frame), *shape[2:], mode="bilinear"
    ).clamp(0, 1)
    if not weight.any():
        return model
    held = clone(model)
    hold = Hold(photo=form.process_in(latent), weight=weight)
    held.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, hold.predict)
    return held


@dataclass(frozen=True, eq=False)
class Hold:
    """What a run is held to: `photo` (B, C, h, w) in the denoiser's scale, by `weight` (B, 1, h, w)."""

    photo: Tensor
    weight: Tensor

    def predict(self, run: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Around one evaluation of x (B, C, h, w): its estimate of the clean latent, pulled to the photo.

        Raises:
            ValueError: if the photo is another than the one that is restored.
        """
        if x.shape[1:] != self.photo.shape[1:]:
            raise ValueError(
                f"{NODE}: 'latent' has {_cells(self.photo)} but the sampler restores {_cells(x)}. Connect "
                f"VAE Encode of the same hint to {NODE} and to the sampler."
            )
        check_batch(x.shape[0], NODE, {"latent": self.photo, "mask": self.weight})
        denoised = run(x, *args, **kwargs)
        return torch.lerp(denoised, self.photo.to(denoised), self.weight.to(denoised))


def _cells(latent: Tensor) -> str:
    return "x".join(str(length) for length in reversed(latent.shape[2:])) + " cells"
