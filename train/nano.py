"""Training of the bundled model: what the encoder reads, and both ends of the restoration."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..models.nano import (
    CONTROLNET,
    FOLD,
    LATENT_SCALE,
    MODEL,
    TEXT_DIM,
    TEXT_TOKENS,
    TOKEN_DIM,
    UNET,
    Autoencoder,
    centres,
    detail,
    place,
    residual,
)
from ..models.segmenter import ImageEncoder, nano_encoder
from ..models.twins import SemanticControlNet, SemanticUNet
from ..score.perceptual import STLPIPS
from .checkpoint import write
from .photos import training_digest
from .task import Batch, Start, Task

LAST_TIMESTEP = 999
EARLIER_SHARE = 0.15  # of the samples whose timestep is any: further steps of a sampler agree with the first
TOKEN_DROPOUT = 0.05  # share of photos whose tokens are zero


class Nano(nn.Module):
    """Everything that is bundled, in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = Autoencoder()
        self.unet = SemanticUNet(**UNET).add_image_attentions(TOKEN_DIM)
        self.controlnet = SemanticControlNet(**CONTROLNET).add_image_attentions(TOKEN_DIM)
        self.encoder = nano_encoder()
        self.text = nn.Parameter(torch.randn(1, TEXT_TOKENS, TEXT_DIM))
        _start(self.unet, self.controlnet)

    def anchor(self, hint: Tensor) -> Tensor:
        """Latent (B, 48, h, w), scaled, of the hint (B, 3, 4h, 4w) in [0, 1]."""
        return self.vae.encode(hint * 2 - 1).float() * LATENT_SCALE

    def residual(self, anchor: Tensor, hint: Tensor, tokens: Tensor, timestep: Tensor) -> Tensor:
        """What lies between an anchor and the sharpest picture (B, 48, h, w), at a timestep (B,)."""
        text = self.text.expand(len(anchor), -1, -1)
        where = place(*(centres(size, device=anchor.device) for size in anchor.shape[2:]))
        # the ControlNet is deaf to the sampler's x, for which the anchor stands here
        control = self.controlnet.control(anchor, timestep, text, tokens, hint)
        known = torch.cat([detail(anchor), where.expand(len(anchor), -1, -1, -1)], dim=1)
        return residual(self.unet.restore(known, timestep, text, tokens, control).float(), anchor)

    def picture(self, latent: Tensor) -> Tensor:
        """(B, 3, H, W) in about [0, 1] of a scaled latent."""
        return (self.vae.decode(latent / LATENT_SCALE) + 1) / 2


@torch.no_grad()
def _start(unet: SemanticUNet, controlnet: SemanticControlNet) -> None:
    """Start near the anchor, with open gates, and with a ControlNet that is deaf to the sampler's noise."""
    gates: Any = (
        controlnet.controlnet_cond_embedding.conv_out,
        controlnet.controlnet_mid_block,
        *controlnet.controlnet_down_blocks,
    )
    for gate in gates:  # trained from scratch, a ControlNet needs no silent start
        nn.init.xavier_uniform_(gate.weight, gain=0.5)
    for parameter in unet.conv_out.parameters():
        parameter.mul_(0.1)
    controlnet.conv_in.weight.zero_().requires_grad_(False)


class ReadingTask(Task):
    """The encoder learns to say of a damaged photo what a classifier's trunk says of the clean one.

    DAPE (SeeSR, arXiv 2311.16518) learns so from RAM; here the teacher is the VGG-16 trunk of ST-LPIPS. From
    each token a linear layer reads the trunk's two deepest features of its cell.
    """

    LAYERS = ("relu4_3", "relu5_3")

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(TOKEN_DIM, 2 * 512)
        self._trunk = Unseen(judge("vgg"))

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:  # noqa: ARG002
        """One less the cosine between what is read and what the trunk says, for both layers."""
        wanted = self.told(batch.hr)
        read = self.head(self.encoder(batch.lr)).chunk(len(wanted), dim=2)
        apart = [1 - F.cosine_similarity(r, w, dim=2).mean() for r, w in zip(read, wanted, strict=True)]
        return {"loss": torch.stack(apart).sum(), **dict(zip(self.LAYERS, apart, strict=True))}

    @torch.no_grad()
    def told(self, clean: Tensor) -> list[Tensor]:
        """Of clean photos (B, 3, H, W) in [0, 1], each layer's features at the tokens' cells: (B, N, 512).

        The trunk sees the photos at half the encoder's size, at which a cell of its deepest features is a
        token's. The mean over the batch, which tells nothing apart,
        is taken away.
        """
        size = (self.encoder.image_size // 2,) * 2
        clean = F.interpolate(clean, size=size, mode="bilinear", antialias=True)
        features = self._trunk.network.to(clean.device).features(clean, *self.LAYERS).values()
        pooled = [F.adaptive_avg_pool2d(x, self.encoder.grid).flatten(2).transpose(1, 2) for x in features]
        return [x - x.mean(dim=(0, 1)) for x in pooled]


class Unseen:
    """Holds a frozen network out of a task's parameters and state."""

    def __init__(self, network: STLPIPS) -> None:
        self.network = network


class AnchorTask(Task):
    """The true end alone: a regression of the clean photo, which no other part of the model takes part in."""

    def __init__(self, model: Nano, *, weave: float) -> None:
        """Train the anchor of `model`; `weave` weighs what repeats with the latent's cells."""
        super().__init__()
        self.model, self.weave = model, weave
        model.requires_grad_(False)
        model.vae.to(memory_format=torch.channels_last).requires_grad_(True)  # pyright: ignore[reportCallIssue]

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:  # noqa: ARG002
        """The logarithm of each crop's squared error, so that all PSNRs count alike, and the weave."""
        hint = batch.lr.contiguous(memory_format=torch.channels_last)
        truest = self.model.picture(self.model.anchor(hint))
        error = (truest - batch.hr).square().mean((1, 2, 3))
        parts = {"psnr": (error + _LEAST_ERROR).log().mean(), "weave": _weave(truest, batch.hr)}
        return {"loss": parts["psnr"] + self.weave * parts["weave"], **parts}

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """The anchor's picture of hints."""
        return restore(self.model, lr, sharpness=0).clamp(0, 1)

    def export(self, folder: Path) -> list[Path]:
        """Write the whole model, the other parts as they were, as the host's loader reads it."""
        return _export(self.model, folder)


class RestoreTask(Task):
    """The sharp end: UNet, ControlNet and text stand-in learn what lies between the anchor and the target.

    The target is what a larger network made of the same photo, or the clean photo where there is none. The
    anchor and the encoder stay as they are.
    """

    def __init__(
        self, model: Nano, *, perceptual: float, texture: float, weave: float, window: int, tokens: bool
    ) -> None:
        """Train `model`, beginning with its weights; the loss is L1 and the others at these weights.

        Args:
            model: all that is bundled.
            perceptual: weight of ST-LPIPS with AlexNet to the target.
            texture: weight of ST-LPIPS with VGG-16, whose first features see single pixels.
            weave: weight of what repeats with the latent's cells, to which AlexNet is blind.
            window: side in pixels of the part of each crop that AlexNet sees; VGG-16 sees two thirds of it.
            tokens: read the encoder's; else tokens are zero.
        """
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.weights, self.window = {"perceptual": perceptual, "texture": texture, "weave": weave}, window
        self.reads = tokens
        model.encoder.requires_grad_(False)
        model.vae.requires_grad_(False)
        self._losses = [
            # Channels last is a third faster.
            Unseen(judge(net).to(memory_format=torch.channels_last))  # pyright: ignore[reportCallIssue]
            for net in ("alex", "vgg")
        ]

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:  # noqa: ARG002
        """What is wrong with the sharpest pictures of hints (B, 3, H, W), and its parts."""
        hint = batch.lr.contiguous(memory_format=torch.channels_last)
        target = batch.hr if batch.target is None else batch.target
        timestep = _timesteps(batch.seeds).to(hint.device)
        with torch.no_grad():
            anchor = self.model.anchor(hint)
        tokens = self.tokens(hint, batch.seeds)
        picture = self.model.picture(anchor + self.model.residual(anchor, hint, tokens, timestep))
        alex, vgg = (unseen.network.to(anchor.device) for unseen in self._losses)
        near = self.window * 2 // 3
        sides = [
            _windows(side, batch.seeds, self.window).contiguous(memory_format=torch.channels_last)
            for side in (picture, target)
        ]
        parts = {
            "l1": (picture - target).abs().mean(),
            "perceptual": alex(*sides).mean(),
            "texture": vgg(*(side[..., :near, :near] for side in sides)).mean(),
            "weave": _weave(picture, target),
        }
        loss = parts["l1"]
        for name, weight in self.weights.items():
            loss = loss + weight * parts[name]
        return {"loss": LATENT_SCALE * loss, **parts}

    def tokens(self, photos: Tensor, seeds: tuple[int, ...]) -> Tensor:
        """(B, N, D), all zero for a few photos, so that their absence is known too."""
        rows, columns = self.model.encoder.grid
        if not self.reads:
            return photos.new_zeros(len(photos), rows * columns, TOKEN_DIM)
        kept = torch.tensor([_rng(seed, 3).random() >= TOKEN_DROPOUT for seed in seeds])
        with torch.no_grad():
            return self.model.encoder(photos) * kept.to(photos).view(-1, 1, 1)

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """The sharpest picture of hints."""
        return restore(self.model, lr, None if self.reads else self.tokens(lr, ())).clamp(0, 1)

    def export(self, folder: Path) -> list[Path]:
        """Write every part in half precision under the names that the host's loader reads."""
        return _export(self.model, folder)


def _export(model: Nano, folder: Path) -> list[Path]:
    tensors = {key: value.to(torch.float16) for key, value in model.state_dict().items()}
    tensors["text."] = tensors.pop("text")
    file = folder / "nano.safetensors"
    told = {"model": MODEL, "run": folder.parent.name, "photos": training_digest()}
    write(file, tensors, {"format": "pt", "licence": "Apache-2.0", **told})
    return [file]


_LEAST_ERROR = 1e-4  # squared; a crop of 40 dB is good enough
_WEAVE_CELLS = 8  # along the side of what a weave is averaged over


def _weave(picture: Tensor, target: Tensor) -> Tensor:
    """How much the slopes of a picture (B, 3, H, W) repeat with the latent's cells, against the target's.

    In each neighbourhood, the mean slope at each of a cell's 16 places, signed and not, less the mean of all
    places: nothing but noise in a photo, and the pattern itself in a weave.
    """
    patterns = []
    for x in (picture, target):
        slopes = torch.cat([x.diff(dim=2, prepend=x[:, :, :1]), x.diff(dim=3, prepend=x[:, :, :, :1])], 1)
        places = F.pixel_unshuffle(torch.cat([slopes, slopes.abs()], 1), FOLD)
        near = F.avg_pool2d(places, _WEAVE_CELLS, stride=_WEAVE_CELLS // 2).unflatten(1, (-1, FOLD**2))
        patterns.append(near - near.mean(2, keepdim=True))
    return (patterns[0] - patterns[1]).abs().mean()


@cache
def judge(net: str) -> STLPIPS:
    """ST-LPIPS with that trunk, read once a process."""
    return STLPIPS(net)


def _rng(seed: int, salt: int) -> np.random.Generator:
    return np.random.default_rng((seed, salt))


def _timesteps(seeds: tuple[int, ...]) -> Tensor:
    """(B,) the last one, at which one-step sampling asks, or now and then another."""
    drawn = [
        rng.integers(LAST_TIMESTEP) if rng.random() < EARLIER_SHARE else LAST_TIMESTEP
        for rng in (_rng(seed, 5) for seed in seeds)
    ]
    return torch.tensor([int(timestep) for timestep in drawn])


def _windows(pictures: Tensor, seeds: tuple[int, ...], side: int) -> Tensor:
    """A square of each picture (B, 3, H, W), its place by the seed, anywhere: (B, 3, side, side)."""
    cut = []
    for picture, seed in zip(pictures, seeds, strict=True):
        top, left = (
            int(_rng(seed, 6 + axis).integers(picture.shape[1 + axis] - side + 1)) for axis in (0, 1)
        )
        cut.append(picture[:, top : top + side, left : left + side])
    return torch.stack(cut)


@torch.no_grad()
def restore(model: Nano, hint: Tensor, tokens: Tensor | None = None, sharpness: float = 1.0) -> Tensor:
    """The picture (B, 3, H, W) in about [0, 1] of a hint of that size, whose sides are multiples of 4.

    Args:
        model: the networks.
        hint: (B, 3, H, W) in [0, 1].
        tokens: in place of those that the encoder reads.
        sharpness: 0 is the anchor, 1 the sharpest picture.
    """
    anchor = model.anchor(hint)
    if not sharpness:
        return model.picture(anchor)
    read = model.encoder(hint) if tokens is None else tokens
    last = torch.full((len(hint),), LAST_TIMESTEP, device=hint.device)
    return model.picture(anchor + sharpness * model.residual(anchor, hint, read, last))


def build_reading(stage: Any, start: Start) -> Task:  # noqa: ARG001
    """The encoder with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        return ReadingTask(nano_encoder())


def build_anchor(stage: Any, start: Start, **options: Any) -> AnchorTask:  # noqa: ARG001
    """The anchor of a model with fresh weights, or with those of the base."""
    return AnchorTask(_started(start), **options)


def build_restore(stage: Any, start: Start, **options: Any) -> RestoreTask:  # noqa: ARG001
    """Everything else, on top of what the stages before trained."""
    model = _started(start)
    known = model.state_dict()
    taken = {name.removeprefix("model."): value for name, value in start.weights.items()}
    model.load_state_dict({name: value for name, value in taken.items() if name in known}, strict=False)
    return RestoreTask(model, **options)


def _started(start: Start) -> Nano:
    """A model with fresh weights, or with those of a bundled one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        model = Nano()
    if start.base is None:
        return model
    state = {name: value.float() for name, value in load_file(start.base).items()}
    state["text"] = state.pop("text.")
    model.load_state_dict(state)
    return model
