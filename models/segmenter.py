"""SAM2's image encoder as a separate module: it turns a photo into semantic tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..image import resize
from . import weights
from .weights import UnsupportedWeightsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PREFIX = "image_encoder."


@dataclass(frozen=True)
class EncoderConfig:
    """The sizes of an encoder: a Hiera trunk (arXiv 2306.00989) and SAM2's FPN neck (arXiv 2408.00714)."""

    name: str
    image_size: int  # the photo is resized to a square of this side
    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_att_blocks: tuple[int, ...]
    window_pos_embed_bkg_spatial_size: tuple[int, int]
    window_spec: tuple[int, ...]
    token_dim: int = 256

    @property
    def channels(self) -> list[int]:
        """The widths of the trunk's levels, coarsest first."""
        return [self.embed_dim * 2**level for level in reversed(range(len(self.stages)))]


# Source: configs/sam2.1/sam2.1_hiera_{t,s,b+,l}.yaml of the sam2 package. Values that a file leaves out are
# the defaults of its Hiera.
CONFIGS = {
    config.name: config
    for config in (
        EncoderConfig("sam2.1_tiny", 1024, 96, 1, (1, 2, 7, 2), (5, 7, 9), (7, 7), (8, 4, 14, 7)),
        EncoderConfig("sam2.1_small", 1024, 96, 1, (1, 2, 11, 2), (7, 10, 13), (7, 7), (8, 4, 14, 7)),
        EncoderConfig("sam2.1_base_plus", 1024, 112, 2, (2, 3, 16, 3), (12, 16, 20), (14, 14), (8, 4, 14, 7)),
        EncoderConfig("sam2.1_large", 1024, 144, 2, (2, 6, 36, 4), (23, 33, 43), (7, 7), (8, 4, 16, 8)),
        EncoderConfig("nano", 128, 32, 1, (1, 1, 2, 1), (3,), (7, 7), (8, 4, 8, 4), token_dim=96),
    )
}


class ImageEncoder(nn.Module):
    """Computes one token for every 16x16 cell of the photo, which is resized to a square.

    The keys of its state dict are those of a SAM2 checkpoint: `image_encoder.*` and `no_mem_embed`.
    """

    stride = 16

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.name = config.name
        self.image_size = config.image_size
        self.token_dim = config.token_dim
        # The measured peak is 20 float32 maps of the first stage (tiny, one photo, CPU); a fifth is added.
        self.activation_bytes = 24 * 4 * config.embed_dim * (config.image_size // 4) ** 2
        self.image_encoder = _backbone(config)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, config.token_dim))

    @property
    def grid(self) -> tuple[int, int]:
        """The grid of the tokens, (rows, columns)."""
        return self.image_size // self.stride, self.image_size // self.stride

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens (B, N, token_dim) of photos (B, 3, H, W) in [0, 1], in row-major order, float32.

        The tokens are the map of stride 16 plus the embedding for "no memory", as in
        `SAM2ImagePredictor.set_image`.
        """
        x = resize(images, self.image_size, self.image_size, mode="bilinear")
        mean, std = (x.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        features = self.image_encoder((x - mean) / std)["vision_features"]
        return features.flatten(2).transpose(1, 2).float() + self.no_mem_embed.float()


def build_encoder(state_dict: Mapping[str, Tensor], file: str = "the file") -> ImageEncoder:
    """Return the encoder that these weights belong to, with the weights loaded, float32, in evaluation mode.

    Args:
        state_dict: a SAM2.1 checkpoint, whole or only its `image_encoder.*` and `no_mem_embed`.
        file: name of their file, for messages.

    Raises:
        UnsupportedWeightsError: if they don't fit any encoder in `CONFIGS`.
    """
    weights.require(state_dict, "encoder", file)
    encoder = ImageEncoder(_config(state_dict, file))
    ours = {key: w for key, w in state_dict.items() if key.startswith(PREFIX) or key == "no_mem_embed"}
    weights.compare({key: weight.shape for key, weight in encoder.state_dict().items()}, ours, file)
    encoder.load_state_dict(ours)
    return encoder.eval()


def nano_encoder() -> ImageEncoder:
    """Return the bundled model's encoder with initial weights; it gives tokens (B, 64, 96), a grid of 8x8."""
    return ImageEncoder(CONFIGS["nano"])


def _backbone(config: EncoderConfig) -> nn.Module:
    try:
        from sam2.modeling.backbones import image_encoder
        from sam2.modeling.backbones.hieradet import Hiera
    except ImportError as error:
        raise RuntimeError(
            f"The encoder that reads the photo needs the 'sam2' package ({error}). "
            "Install it into the Python that runs ComfyUI: pip install sam2"
        ) from error
    trunk = Hiera(
        embed_dim=config.embed_dim,
        num_heads=config.num_heads,
        stages=config.stages,
        global_att_blocks=config.global_att_blocks,
        window_pos_embed_bkg_spatial_size=config.window_pos_embed_bkg_spatial_size,
        window_spec=config.window_spec,
    )
    neck = image_encoder.FpnNeck(
        # Tokens need no position embedding; SAM2's would keep maps of all levels on the device.
        position_encoding=nn.Identity(),
        d_model=config.token_dim,
        backbone_channel_list=config.channels,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return image_encoder.ImageEncoder(trunk, neck, scalp=1)


def _config(state_dict: Mapping[str, Tensor], file: str) -> EncoderConfig:
    patch = state_dict.get(f"{PREFIX}trunk.patch_embed.proj.weight")
    width = "unknown" if patch is None else patch.shape[0]
    blocks = len({key.split(".")[3] for key in state_dict if key.startswith(f"{PREFIX}trunk.blocks.")})
    for config in CONFIGS.values():
        if (width, blocks) == (config.embed_dim, sum(config.stages)):
            return config
    known = ", ".join(f"{c.name} ({c.embed_dim}, {sum(c.stages)})" for c in CONFIGS.values())
    raise UnsupportedWeightsError(
        f"'{file}' holds an unknown image encoder of width {width} with {blocks} blocks. "
        f"Known (width, blocks): {known}."
    )
