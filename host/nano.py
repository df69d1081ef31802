"""The bundled model as objects of the host: MODEL, CONDITIONING, VAE, adapter, CONTROL_NET and encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sd
import comfy.supported_models_base
import torch
from comfy.patcher_extension import WrappersMP
from safetensors import safe_open
from torch import Tensor

from ..image import check_image
from ..models.architecture import infer
from ..models.convert import unet_from_diffusers
from ..models.nano import (
    FOLD,
    LATENT_CHANNELS,
    LATENT_SCALE,
    MODEL,
    PLACE_CHANNELS,
    Autoencoder,
    centres,
    detail,
    place,
    residual,
)
from .adapter import LoadedAdapter, load_adapter
from .anchor import KEY, NODE, anchored
from .controlnet import SemanticControlNet, load_controlnet
from .encoder import LoadedEncoder, load_encoder
from .naming import naming
from .ownership import cast_on_the_fly, own
from .progress import say
from .run_records import name_preset

WEIGHTS = Path(__file__).parents[1] / "models" / "bundled" / "nano.safetensors"
_SHARPNESS = "ugcsr_sharpness"


@dataclass(frozen=True, eq=False)
class LoadedNano:
    """Parts of the bundled model, one for each output of Load Nano Model."""

    model: comfy.model_patcher.ModelPatcher
    conditioning: list
    vae: comfy.sd.VAE
    adapter: LoadedAdapter
    control_net: SemanticControlNet
    encoder: LoadedEncoder


class NanoLatent(comfy.latent_formats.LatentFormat):
    """Latent format: pictures folded 4x4 into 48 channels.

    The preview is the mean of each fold.
    """

    scale_factor = LATENT_SCALE
    latent_channels = LATENT_CHANNELS
    spacial_downscale_ratio = FOLD
    latent_rgb_factors: ClassVar = [
        [float(channel == color) / (FOLD**2 * LATENT_SCALE) for color in range(3)]
        for channel in range(3)
        for _ in range(FOLD**2)
    ]


class NanoConfig(comfy.supported_models_base.BASE):
    """Configuration of the architecture for the host."""

    latent_format = NanoLatent
    supported_inference_dtypes: ClassVar = [torch.float32]
    memory_usage_factor = 0.5

    def __init__(self, unet_config: dict[str, Any]) -> None:
        super().__init__(unet_config)
        self.set_inference_dtype(torch.float32, None)


class _Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.IMG_TO_IMG):
    """Stable Diffusion's noise levels, for a network that predicts the clean latent at every level."""


class ResidualModel(comfy.model_base.BaseModel):
    """Model that adds a residual to its anchor, the latent that the sampler got.

    The network takes the anchor as input, and not the sampler's x, which is noise at the first step.
    """

    def __init__(self, config: NanoConfig, device: torch.device | None = None) -> None:
        super().__init__(config, device=device)
        self.model_sampling = _Sampling(config)
        self.concat_keys = ("concat_image",)

    def concat_cond(self, **kwargs: Any) -> Tensor:
        """Return the anchor and the positions of its cells in the photo, as (B, 48 + PLACE_CHANNELS, h, w).

        The host crops both to the same tiles.
        """
        anchor = cast(Tensor, super().concat_cond(**kwargs))
        where = place(*(centres(size) for size in anchor.shape[-2:])).to(anchor)
        return torch.cat([anchor, where.expand(len(anchor), -1, -1, -1)], dim=1)

    def _apply_model(
        self,
        x: Tensor,
        t: Tensor,
        c_concat: Any = None,  # always given, by concat_cond
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] = MappingProxyType({}),
        **kwargs: Any,
    ) -> Tensor:
        anchor, where = c_concat.to(x).split([LATENT_CHANNELS, PLACE_CHANNELS], dim=1)
        conditions = where, c_crossattn, control, transformer_options
        # A sampler's level is one for all rows; as one row, it is embedded alike in a batch of any size.
        answer = super()._apply_model(detail(anchor), t[:1], *conditions, **kwargs)
        return anchor + transformer_options.get(_SHARPNESS, 1.0) * residual(answer, anchor)


class NanoVAE(comfy.sd.VAE):
    """The host's VAE with the bundled autoencoder: a fold, and a network that removes damage on encoding."""

    def __init__(self, state_dict: dict[str, Tensor]) -> None:
        super().__init__(sd={"pixel_space_vae": torch.ones(())}, dtype=torch.float32)
        self.first_stage_model = Autoencoder()
        self.first_stage_model.load_state_dict(state_dict)
        self.patcher = own(
            cast_on_the_fly(self.first_stage_model), self.device, comfy.model_management.vae_offload_device()
        )
        self.downscale_ratio = self.upscale_ratio = FOLD
        self.latent_channels = LATENT_CHANNELS
        width = self.first_stage_model.head.out_channels
        self.memory_used_encode = lambda shape, _: 8 * width * shape[2] * shape[3] / FOLD**2 * 4
        self.memory_used_decode = lambda shape, _: 3 * shape[1] * shape[2] * shape[3] * 4
        self.size = comfy.model_management.module_size(self.first_stage_model)

    def vae_encode_crop_pixels(self, pixels: Tensor) -> Tensor:
        """Return pictures (B, H, W, C) cropped to whole folds; the host calls it before every encoding.

        Raises:
            ValueError: if the pictures are invalid or smaller than a fold.
        """
        with naming("VAE Encode"):
            check_image(pixels, "pixels")
            height, width = pixels.shape[1:3]
            if min(height, width) < FOLD:
                raise ValueError(
                    f"'pixels' is {width}x{height} px; expected at least {FOLD} px a side. "
                    "Connect the 'hint' of Prepare Photo, or enlarge the picture first."
                )
        say("Encoding the photo, which removes noise and blocks")
        return super().vae_encode_crop_pixels(pixels)

    def decode(self, samples_in: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the pictures (B, H, W, 3) of a latent (B, 48, h, w), as the host's VAE does.

        Raises:
            ValueError: if the latent is of another model.
        """
        _begin_decoding(samples_in)
        return super().decode(samples_in, *args, **kwargs)

    def decode_tiled(self, samples: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the pictures (B, H, W, 3) of a latent (B, 48, h, w), decoded in tiles as by the host's VAE.

        Raises:
            ValueError: if the latent is of another model.
        """
        _begin_decoding(samples)
        return super().decode_tiled(samples, *args, **kwargs)


def _begin_decoding(latent: Tensor) -> None:
    if latent.shape[1] != LATENT_CHANNELS:
        raise ValueError(
            f"{NODE}: 'vae' was given a latent of {latent.shape[1]} channels to decode; expected "
            f"{LATENT_CHANNELS}, its own. Make the latent by VAE Encode with the same 'vae'."
        )
    say("Decoding the picture")


def sharpened(model: comfy.model_patcher.ModelPatcher, sharpness: float) -> comfy.model_patcher.ModelPatcher:
    """Return a clone of the bundled MODEL with this sharpness, the factor of its residual.

    0 returns the anchor unchanged, with the highest fidelity; 1 is the sharpest.
    """
    model = model.clone()
    model.model_options["transformer_options"][_SHARPNESS] = sharpness
    return model


def load_nano(path: Path = WEIGHTS) -> LoadedNano:
    """Return the parts of the bundled model.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file is of another version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing from {path.parent}. Install the extension again.")
    parts = _parts(path)
    model = _load_model(parts["unet"])
    model.cached_patcher_init = (_load_another_model, (path,))
    name_preset(model, "nano")
    return LoadedNano(
        model=model,
        conditioning=[[parts["text"][""], {}]],
        vae=NanoVAE(parts["vae"]),
        adapter=load_adapter(parts["unet"]),
        control_net=load_controlnet(parts["controlnet"]),
        encoder=load_encoder(parts["encoder"]),
    )


def _parts(path: Path) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as file:
        found = (file.metadata() or {}).get("model", "another model")
        if found != MODEL:
            raise ValueError(
                f"{path.name} holds {found}; this version of the extension reads {MODEL}. "
                "Install the extension again, which brings its file along."
            )
        for key in file.keys():  # noqa: SIM118 - not a dict
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = file.get_tensor(key).float()
    return parts


def _load_another_model(path: Path, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Return another patcher of the MODEL, which the host needs for other devices and for compilation."""
    return _load_model(_parts(path)["unet"], disable_dynamic)


def _load_model(unet: dict[str, Tensor], disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    base, _ = unet_from_diffusers(unet)
    model = ResidualModel(NanoConfig(infer(base)))
    patcher = own(model, disable_dynamic=disable_dynamic)
    model.load_model_weights(base, assign=patcher.is_dynamic())
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, anchored)
    return patcher
