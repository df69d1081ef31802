"""The architecture of the bundled model: small members of the same families as the published networks.

The latent is the picture itself, folded 4x4 into 48 channels, after a small convolutional branch has removed
part of the degradation (as the degradation-removing encoders of StableSR and SUPIR do). This latent is the
anchor. Sampling works on the residual to it, so without a sampler the result is the anchor, a regression.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODEL = "ugc_sr nano v2"  # key in the header of the weights file
FOLD = 4  # pixels of a latent cell's side
LATENT_CHANNELS = 3 * FOLD**2
LATENT_SCALE = 8.0  # brings residuals to about unit variance
TOKEN_DIM = 96
TEXT_DIM = 64
TEXT_TOKENS = 4
_WAVES = (1, 2, 4, 8)  # frequencies, in half periods across a photo
PLACE_CHANNELS = 2 * len(_WAVES)

UNET = {
    "sample_size": 48,
    "in_channels": LATENT_CHANNELS + PLACE_CHANNELS,  # detail of the anchor, place
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (32, 32, 64, 128),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D",) * 4,  # attention in the middle block only, with the fewest cells
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
_WEAKEST = 1e-3  # energy of detail up to which an area counts as flat
_DEVIATION_GAIN = 4.0  # deviations inside a cell are about a quarter of those between cells


def detail(anchor: Tensor) -> Tensor:
    """Return the UNet's input for a scaled anchor (B, 48, h, w): its structure without the local colour.

    The channels hold each cell's mean less its neighbourhood's, and its pixels less the cell's mean, both
    about equally strong. Edges are strong, so the deviation over a photo is about 5. The channels of the
    plain anchor are nearly equal, so training on it hardly starts.
    """
    pixels = anchor.unflatten(1, (3, FOLD**2))
    cells = pixels.mean(2)
    around = F.avg_pool2d(
        cells, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False
    )
    return ((cells - around)[:, :, None] + _DEVIATION_GAIN * (pixels - cells[:, :, None])).flatten(1, 2)


def residual(answer: Tensor, anchor: Tensor) -> Tensor:
    """Return the residual (B, 48, h, w) to a scaled anchor from the UNet's output of the same shape.

    The UNet's normalization removes the strength of the picture's detail. Each cell's output is therefore
    multiplied by the strength of the detail around it. The factor is damped, because blurred detail is weak
    where much has to be added.
    """
    energy = detail(anchor).square().mean(1, keepdim=True)
    around = F.avg_pool2d(
        energy, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False
    )
    return answer * (around + _WEAKEST).pow(0.25)


def place(y: Tensor, x: Tensor) -> Tensor:
    """Return the positions of cells, (B, h) and (B, w) in [0, 1], as waves (B, 8, h, w) in [-1, 1].

    Attention ignores the order of tokens. These channels let the UNet find the tokens at a cell's position.
    """
    waves = math.pi * torch.tensor(_WAVES, device=y.device)[:, None]
    rows, columns = (torch.cos(waves * along[:, None]) for along in (y, x))
    shape = len(y), len(_WAVES), y.shape[1], x.shape[1]
    return torch.cat([rows[..., None].expand(shape), columns[:, :, None].expand(shape)], dim=1)


def centres(count: int, device: torch.device | None = None) -> Tensor:
    """Return the centres (1, count) of `count` equal cells that divide the range [0, 1]."""
    return (torch.arange(count, device=device)[None] + 0.5) / count


class Autoencoder(nn.Module):
    """Converts pictures to latents and back: encoding removes noise and blur, decoding is lossless."""

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
        """Return the latent (B, 48, H/4, W/4) of (B, 3, H, W) in [-1, 1]; H and W are multiples of 4."""
        folded = F.pixel_unshuffle(picture, FOLD)
        first = features = self.head(folded)
        for block in self.body:
            features = features + block(features)
        return folded + self.tail(features + first) / LATENT_SCALE

    def decode(self, latent: Tensor) -> Tensor:
        """Return the picture (B, 3, 4h, 4w) of a latent (B, 48, h, w), in about [-1, 1], not clamped."""
        return F.pixel_shuffle(latent, FOLD)
