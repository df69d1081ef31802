"""The training tasks of the bundled model: the encoder, the anchor, and the whole restoration."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..color import grey
from ..models.nano import FOLD, LATENT_SCALE, MODEL, TOKEN_DIM
from ..models.segmenter import ImageEncoder
from ..score.perceptual import STLPIPS
from .checkpoint import write
from .nano_network import LAST_TIMESTEP, Nano, load_nano, restore
from .photos import training_digest
from .task import Batch, Start, Task

EARLIER_SHARE = 0.15  # share of samples with a random timestep, for samplers of several steps
TEACHER_SHARE = 0.8  # in the target; the rest is the anchor, which makes it .5 to .8 dB truer and as sharp
TOKEN_DROPOUT = 0.05  # share of photos whose tokens are zero


class ReadingTask(Task):
    """The encoder learns to predict, from a damaged photo, a classifier's features of the clean one.

    DAPE (SeeSR, arXiv 2311.16518) learns from RAM in this way; here the teacher is the VGG-16 of ST-LPIPS. A
    linear layer predicts from each token the two deepest features of its cell.
    """

    LAYERS = ("relu4_3", "relu5_3")

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(TOKEN_DIM, 2 * 512)
        self._trunk = (judge("vgg"),)  # in a tuple, to keep it out of the task's parameters and state

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return one minus the cosine similarity of predicted and actual features, by layer, and the sum."""
        wanted = self.features(batch.hr)
        read = self.head(self.encoder(batch.lr)).chunk(len(wanted), dim=2)
        apart = [1 - F.cosine_similarity(r, w, dim=2).mean() for r, w in zip(read, wanted, strict=True)]
        return {"loss": torch.stack(apart).sum(), **dict(zip(self.LAYERS, apart, strict=True))}

    @torch.no_grad()
    def features(self, clean: Tensor) -> list[Tensor]:
        """Return each layer's features of clean photos (B, 3, H, W) at the tokens' cells: (B, N, 512).

        The photos are resized to half the encoder's input, where a cell of the deepest features is that of a
        token. The mean over the batch, which carries no information, is subtracted.
        """
        size = (self.encoder.image_size // 2,) * 2
        clean = F.interpolate(clean, size=size, mode="bilinear", antialias=True)
        features = self._trunk[0].to(clean.device).features(clean, *self.LAYERS).values()
        pooled = [F.adaptive_avg_pool2d(x, self.encoder.grid).flatten(2).transpose(1, 2) for x in features]
        return [x - x.mean(dim=(0, 1)) for x in pooled]


class _NanoTask(Task):
    """A task whose result is the bundled model."""

    model: Nano

    def export(self, folder: Path) -> list[Path]:
        """Write all networks in half precision in the format of the host's loader."""
        tensors = {key: value.to(torch.float16) for key, value in self.model.state_dict().items()}
        tensors["text."] = tensors.pop("text")
        file = folder / "nano.safetensors"
        origin = {"model": MODEL, "run": folder.parent.name, "photos": training_digest()}
        write(file, tensors, {"format": "pt", "licence": "Apache-2.0", **origin})
        return [file]


class AnchorTask(_NanoTask):
    """The anchor alone: a regression of the clean photo, without the other networks."""

    def __init__(self, model: Nano, *, weave: float, harm: float) -> None:
        """Train the anchor of `model`; `weave` is the weight of the weave loss, `harm` that of harm done."""
        super().__init__()
        self.model, self.weave, self.harm = model, weave, harm
        model.requires_grad_(False)
        model.vae.to(memory_format=torch.channels_last).requires_grad_(True)  # pyright: ignore[reportCallIssue]

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the loss, and its parts "psnr", "weave" and "harm".

        "psnr" is the mean logarithm of the crops' squared errors, so that all PSNRs count alike. "harm" is by
        how much that exceeds the logarithm before restoring, for crops that lost.
        """
        hint = batch.lr.contiguous(memory_format=torch.channels_last)
        truest = self.model.picture(self.model.anchor(hint))
        after, before = ((_error(picture, batch.hr) + _LEAST_ERROR).log() for picture in (truest, hint))
        weave, harm = _weave(truest, batch.hr), F.relu(after - before).mean()
        loss = after.mean() + self.weave * weave + self.harm * harm
        return {"loss": loss, "psnr": after.mean(), "weave": weave, "harm": harm}

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """Return the anchor's picture of hints."""
        return restore(self.model, lr, sharpness=0).clamp(0, 1)


class RestoreTask(_NanoTask):
    """UNet, ControlNet and the text stand-in learn the difference from the anchor to the target.

    The target is a larger network's result for the same photo, blended with the anchor, or the clean photo if
    there is no such result. Anchor and encoder are not trained.
    """

    def __init__(
        self,
        model: Nano,
        *,
        perceptual: float,
        texture: float,
        weave: float,
        teeth: float,
        calm: float,
        window: int,
        tokens: bool,
    ) -> None:
        """Train a model; the loss is L1 plus weighted losses.

        Args:
            model: the networks with their initial weights.
            perceptual: weight of ST-LPIPS with AlexNet to the target.
            texture: weight of ST-LPIPS with VGG-16, whose first features see single pixels.
            weave: weight of the weave loss, for patterns to which AlexNet is blind.
            teeth: weight of the same loss in small neighbourhoods, for patterns along a single edge.
            calm: weight of the difference from the anchor where that is flat, for faint patterns there.
            window: side in pixels of the part of each crop for AlexNet; VGG-16 gets two thirds of it.
            tokens: read the encoder's tokens; otherwise they are zero.
        """
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.weights = {"perceptual": perceptual, "texture": texture}
        self.weights |= {"weave": weave, "teeth": teeth, "calm": calm}
        self.window = window
        self.reads = tokens
        model.encoder.requires_grad_(False)
        model.vae.requires_grad_(False)
        self._losses = [  # in a list, to keep them out of the task's parameters and state
            # Channels last is a third faster.
            judge(net).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            for net in ("alex", "vgg")
        ]

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the loss of the sharpest pictures, and its parts before they are weighted."""
        hint = batch.lr.contiguous(memory_format=torch.channels_last)
        timestep = _timesteps(batch.seeds).to(hint.device)
        with torch.no_grad():
            anchor = self.model.anchor(hint)
            truest = self.model.picture(anchor)
            target = batch.hr
            if batch.target is not None:
                taught = (batch.target != batch.hr).flatten(1).any(1).view(-1, 1, 1, 1)
                blend = truest.lerp(batch.target, TEACHER_SHARE)
                target = torch.where(taught, blend, target)
        tokens = self.tokens(hint, batch.seeds)
        picture = self.model.picture(anchor + self.model.residual(anchor, hint, tokens, timestep))
        alex, vgg = (network.to(anchor.device) for network in self._losses)
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
            "teeth": _weave(picture, target, _TEETH_CELLS),
            "calm": _in_flat_places(picture, truest),
        }
        loss = parts["l1"]
        for name, weight in self.weights.items():
            loss = loss + weight * parts[name]
        return {"loss": LATENT_SCALE * loss, **parts}

    def tokens(self, photos: Tensor, seeds: tuple[int, ...]) -> Tensor:
        """Return tokens (B, N, D), all zero for a few photos, so that the model learns to work without."""
        rows, columns = self.model.encoder.grid
        if not self.reads:
            return photos.new_zeros(len(photos), rows * columns, TOKEN_DIM)
        with_tokens = torch.tensor([_rng(seed, 3).random() >= TOKEN_DROPOUT for seed in seeds])
        with torch.no_grad():
            return self.model.encoder(photos) * with_tokens.to(photos).view(-1, 1, 1)

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """Return the sharpest picture of hints."""
        return restore(self.model, lr, None if self.reads else self.tokens(lr, ())).clamp(0, 1)


_LEAST_ERROR = 2e-5  # squared error that is added, so that crops above 47 dB hardly count
_LUMA = 0.75  # share of luma, which people see best, in the squared error; the rest is that of RGB
_WEAVE_CELLS = 8  # side in cells of the neighbourhood that the weave loss averages over
_TEETH_CELLS = 2  # the same for the teeth along edges
_DETAIL_PX = 9  # side of the box whose mean is taken off to find a photo's detail
_CALM_PX = 17  # side of the box over which the detail's energy is averaged
_CALM_DEVIATION = 0.7 / 255  # of the detail where a place counts half


def _error(picture: Tensor, clean: Tensor) -> Tensor:
    """Return the squared error (B,) of (B, 3, H, W), that of luma and that of the colours in one."""
    apart = picture - clean
    return grey(apart).square().mean((1, 2, 3)).lerp(apart.square().mean((1, 2, 3)), 1 - _LUMA)


def _weave(picture: Tensor, target: Tensor, cells: int = _WEAVE_CELLS) -> Tensor:
    """Return how much the slopes of (B, 3, H, W) repeat with the latent's cells, compared to the target's.

    In each neighbourhood, the mean slope at each of a cell's 16 pixels, signed and absolute, minus the mean
    of all pixels: only noise in a photo, and the pattern itself in a weave.
    """
    patterns = []
    for x in (picture, target):
        slopes = torch.cat([x.diff(dim=2, prepend=x[:, :, :1]), x.diff(dim=3, prepend=x[:, :, :, :1])], 1)
        places = F.pixel_unshuffle(torch.cat([slopes, slopes.abs()], 1), FOLD)
        near = F.avg_pool2d(places, cells, stride=cells // 2).unflatten(1, (-1, FOLD**2))
        patterns.append(near - near.mean(2, keepdim=True))
    return (patterns[0] - patterns[1]).abs().mean()


def _in_flat_places(picture: Tensor, anchor: Tensor) -> Tensor:
    """Return the mean difference of (B, 3, H, W) from the anchor, each weighted by how flat that is there."""
    detail = (anchor - _blurred(anchor, _DETAIL_PX)).square().mean(1, keepdim=True)
    energy = _blurred(detail, _CALM_PX)
    return ((picture - anchor).abs() / (1 + energy / _CALM_DEVIATION**2)).mean()


def _blurred(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(x, side, stride=1, padding=side // 2, count_include_pad=False)


@cache
def judge(net: str) -> STLPIPS:
    """Return the ST-LPIPS network of that name, loaded once per process."""
    return STLPIPS(net)


def _rng(seed: int, salt: int) -> np.random.Generator:
    return np.random.default_rng((seed, salt))


def _timesteps(seeds: tuple[int, ...]) -> Tensor:
    """Return timesteps (B,): the last one, which one-step sampling uses, or sometimes another."""
    drawn = [
        rng.integers(LAST_TIMESTEP) if rng.random() < EARLIER_SHARE else LAST_TIMESTEP
        for rng in (_rng(seed, 5) for seed in seeds)
    ]
    return torch.tensor([int(timestep) for timestep in drawn])


def _windows(pictures: Tensor, seeds: tuple[int, ...], side: int) -> Tensor:
    """Return a square of each picture (B, 3, H, W) at a random position: (B, 3, side, side)."""
    cut = []
    for picture, seed in zip(pictures, seeds, strict=True):
        top, left = (
            int(_rng(seed, 6 + axis).integers(picture.shape[1 + axis] - side + 1)) for axis in (0, 1)
        )
        cut.append(picture[:, top : top + side, left : left + side])
    return torch.stack(cut)


def build_reading(stage: Any, start: Start) -> Task:  # noqa: ARG001
    """Return the task of the encoder, with fresh weights or those of the base."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)  # of the linear layer, which no base has
        return ReadingTask(load_nano(start.seed, start.base).encoder)


def build_anchor(stage: Any, start: Start, **options: Any) -> AnchorTask:  # noqa: ARG001
    """Return the task of the anchor, with fresh weights or those of the base."""
    return AnchorTask(load_nano(start.seed, start.base), **options)


def build_restore(stage: Any, start: Start, **options: Any) -> RestoreTask:  # noqa: ARG001
    """Return the task of the whole restoration, with the weights of earlier stages."""
    model = load_nano(start.seed, start.base)
    known = model.state_dict()
    taken = {name.removeprefix("model."): value for name, value in start.weights.items()}
    model.load_state_dict({name: value for name, value in taken.items() if name in known}, strict=False)
    return RestoreTask(model, **options)
