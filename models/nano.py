"""The architecture of the bundled model: small members of the same families as the published networks.

The latent is the picture itself, folded 4x4 into 48 channels, after a small convolutional branch
has removed what it can (the degradation-removing encoder of StableSR and SUPIR). Sampling works on
the residual to that anchor, so a switched-off sampler gives the anchor, a plain regression.
"""

import torch.nn.functional as F
from torch import Tensor, nn

FOLD = 4  # pixels of a latent cell's side
LATENT_CHANNELS = 3 * FOLD**2
LATENT_SCALE = 8.0  # brings residuals to about unit variance
TOKEN_DIM = 96
TEXT_DIM = 64
TEXT_TOKENS = 4

UNET = {
    "sample_size": 48,
    "in_channels": 2 * LATENT_CHANNELS,  # noisy residual, detail of the anchor
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (64, 64, 128),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "attention_head_dim": (1, 1, 2),  # diffusers' name for the number of heads; each is 64 wide
    "cross_attention_dim": TEXT_DIM,
    "use_linear_projection": True,
}
CONTROLNET = {
    key: UNET[key]
    for key in (
        "down_block_types",
        "block_out_channels",
        "layers_per_block",
        "attention_head_dim",
        "cross_attention_dim",
        "use_linear_projection",
    )
} | {
    "in_channels": LATENT_CHANNELS,
    "conditioning_embedding_out_channels": (16, 32, 64),
}


_NEIGHBOURHOOD = 5  # latent cells
_DEVIATION_GAIN = 4.0  # deviations inside a cell are about a quarter of those between cells


def detail(anchor: Tensor) -> Tensor:
    """What the UNet sees of a scaled anchor (B, 48, h, w): its structure, free of the local colour.

    Each cell's mean against its neighbourhood's, and its pixels against that mean, at about unit
    variance. On the plain anchor, whose channels are nearly equal, training hardly starts.
    """
    pixels = anchor.unflatten(1, (3, FOLD**2))
    cells = pixels.mean(2)
    around = F.avg_pool2d(
        cells, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False
    )
    return ((cells - around)[:, :, None] + _DEVIATION_GAIN * (pixels - cells[:, :, None])).flatten(1, 2)


class Autoencoder(nn.Module):
    """Picture <-> latent; decoding is lossless, encoding also removes noise, blocking and blur."""

    def __init__(self, width: int = 64, depth: int = 16) -> None:
        super().__init__()
        self.head = nn.Conv2d(LATENT_CHANNELS, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            for _ in range(depth)
        )
        self.tail = nn.Conv2d(width, LATENT_CHANNELS, 3, padding=1)
        for parameter in self.tail.parameters():  # untrained, encoding only folds
            nn.init.zeros_(parameter)

    def encode(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> latent (B, 48, H/4, W/4); H and W are multiples of 4."""
        folded = F.pixel_unshuffle(picture, FOLD)
        first = features = self.head(folded)
        for block in self.body:
            features = features + block(features)
        return folded + self.tail(features + first) / LATENT_SCALE

    def decode(self, latent: Tensor) -> Tensor:
        """Latent (B, 48, h, w) -> (B, 3, 4h, 4w) in about [-1, 1], not clamped."""
        return F.pixel_shuffle(latent, FOLD)
