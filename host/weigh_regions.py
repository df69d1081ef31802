"""Sampling that is pulled towards the photo inside a mask."""

from dataclasses import dataclass
from typing import Any

import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ..image import check_batch, resize
from ..sample.frame import Frame
from ..sample.masks import lay
from .clone import clone
from .naming import naming
from .tiling import latent_ratio

NODE = "Weigh Regions"
KEY = "ugcsr_regions"


def weigh_regions(
    model: Any, latent: Tensor, mask: Tensor, strength: float, frame: Frame | None = None
) -> Any:
    """Return a clone of MODEL that pulls each estimate of the clean latent to `latent` by mask * strength.

    It wraps PREDICT_NOISE, which is outside of guidance, its patches and tiles, and sees the whole latent.
    Several pulls of one MODEL are applied in the order in which they were added. If the weight is 0
    everywhere, `model` itself is returned.

    Args:
        model: the MODEL.
        latent: photo encoded by the model's VAE, (B, C, h, w).
        mask: (B, H, W) or (H, W) in [0, 1], of any size with the photo's aspect ratio.
        strength: weight of the photo where the mask is 1, in [0, 1].
        frame: frame of the encoded canvas, if the mask belongs to the photo on it.

    Raises:
        ValueError: if latent, mask, frame and MODEL don't fit together.
    """
    form = model.get_model_object("latent_format")
    shape = tuple(latent.shape)
    if latent.ndim != 4 or shape[1] != form.latent_channels:
        raise ValueError(
            f"'latent' has shape {shape}; expected (batch, {form.latent_channels}, height, width) "
            "for this 'model'. Connect VAE Encode of the hint, with the VAE that belongs to the model."
        )
    if not latent.any():
        raise ValueError(
            "'latent' is empty; expected the photo to hold to. Connect VAE Encode of the hint, also "
            "where the sampler starts from an empty latent."
        )
    ratio = latent_ratio(model)
    weight = strength * resize(
        lay(mask, shape[2] * ratio, shape[3] * ratio, frame), *shape[2:], mode="bilinear"
    ).clamp(0, 1)
    if not weight.any():
        return model
    pulled = clone(model)
    pull = PhotoPull(photo=form.process_in(latent), weight=weight)
    pulled.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, pull.predict)
    return pulled


@dataclass(frozen=True, eq=False)
class PhotoPull:
    """Wrapper that pulls the estimate to a photo.

    Attributes:
        photo: latent (B, C, h, w) in the scale of the denoiser.
        weight: weight of the photo (B, 1, h, w) in [0, 1].
    """

    photo: Tensor
    weight: Tensor

    def predict(self, run: WrapperExecutor, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the estimate of the clean latent for x (B, C, h, w), pulled to the photo.

        Raises:
            ValueError: if the photo has another size or batch than x.
        """
        with naming(NODE):
            if x.shape[1:] != self.photo.shape[1:]:
                raise ValueError(
                    f"'latent' has {_cells(self.photo)} but the sampler restores {_cells(x)}. Connect VAE "
                    f"Encode of the same hint to {NODE} and to the sampler."
                )
            check_batch(x.shape[0], latent=self.photo, mask=self.weight)
        denoised = run(x, *args, **kwargs)
        return torch.lerp(denoised, self.photo.to(denoised), self.weight.to(denoised))


def _cells(latent: Tensor) -> str:
    return "x".join(str(length) for length in reversed(latent.shape[2:])) + " cells"
