"""The architecture of the bundled model: small members of the same families as the published networks.

The latent is the picture itself, folded 4x4 into 48 channels, after a small convolutional branch
has removed what it can (the degradation-removing encoder of StableSR and SUPIR). Sampling works on
the residual to that anchor, so a switched-off sampler gives the anchor, a plain regression.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODEL = "ugc_sr nano v2"  # in the head of the file of weights
FOLD = 4  # pixels of a latent cell's side
LATENT_CHANNELS = 3 * FOLD**2
LATENT_SCALE = 8.0  # brings residuals to about unit variance
TOKEN_DIM = 96
TEXT_DIM = 64
TEXT_TOKENS = 4
_WAVES = (1, 2, 4, 8)  # half periods across a photo
PLACE_CHANNELS = 2 * len(_WAVES)

UNET = {
    "sample_size": 48,
    "in_channels": LATENT_CHANNELS + PLACE_CHANNELS,  # detail of the anchor, place
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (32, 32, 64, 128),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D",) * 4,  # attention in the middle alone, where cells are few
    "up_block_types": ("UpBlock2D",) * 4,
    "attention_head_dim": (1, 1, 1, 2),  # diffusers' name for the number of heads; each is 64 wide
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
    "conditioning_embedding_out_channels": (4, 8, 16),
}


_NEIGHBOURHOOD = 5  # latent cells
_WEAKEST = 1e-3  # energy of detail of what counts as flat
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


def residual(answer: Tensor, anchor: Tensor) -> Tensor:
    """The residual (B, 48, h, w) to a scaled anchor, from what the UNet answers, of the same shape.

    The UNet's norms take away how strong a picture's detail is. So each cell's answer is multiplied by the
    strength of the detail around it, damped, as blurred detail is weak where much has to be added.
    """
    energy = detail(anchor).square().mean(1, keepdim=True)
    around = F.avg_pool2d(
        energy, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False
    )
    return answer * (around + _WEAKEST).pow(0.25)


def place(y: Tensor, x: Tensor) -> Tensor:
    """Where cells lie in their photo, as waves: (B, h) and (B, w) in [0, 1] -> (B, 8, h, w) in [-1, 1].

    Attention has no sense of order: only through these does the UNet find the tokens of its own place.
    """
    waves = math.pi * torch.tensor(_WAVES, device=y.device)[:, None]
    rows, columns = (torch.cos(waves * along[:, None]) for along in (y, x))
    shape = len(y), len(_WAVES), y.shape[1], x.shape[1]
    return torch.cat([rows[..., None].expand(shape), columns[:, :, None].expand(shape)], dim=1)


def centres(count: int, device: torch.device | None = None) -> Tensor:
    """(1, count) middles of as many equal cells from 0 to 1."""
    return (torch.arange(count, device=device)[None] + 0.5) / count


class Autoencoder(nn.Module):
    """Picture <-> latent; decoding is lossless, encoding also removes noise, blocking and blur."""

    def __init__(self, width: int = 64, depth: int = 5) -> None:
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
