"""Training of the bundled model: the anchor, what the encoder reads, and the restoration on top of both."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..image import resize
from ..models.nano import (
    CONTROLNET,
    LATENT_CHANNELS,
    LATENT_SCALE,
    PLACE_CHANNELS,
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
from ..models.twins import HEAD_DIM, SemanticControlNet, SemanticUNet
from .checkpoint import write
from .pairs import SCALE
from .photos import training_digest
from .presets import Stage
from .task import Batch, Start, Task, noise_like

VERSION = "1"

LAST_TIMESTEP = 999
COARSEST = 2 ** (len(UNET["block_out_channels"]) - 1)  # cells across a place where the UNet attends
TILE = 32  # LR pixels of the crop that the UNet restores, out of the photo that the encoder reads
TOKEN_DROPOUT = 0.05  # share of photos whose tokens are zero
SMALLEST_VIEW = 64  # LR pixels of what the encoder reads


class Nano(nn.Module):
    """Everything that is bundled, in one module."""

    sigmas: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.vae = Autoencoder()
        self.unet = SemanticUNet(**UNET).add_image_attentions(TOKEN_DIM)
        self.controlnet = SemanticControlNet(**CONTROLNET).add_image_attentions(TOKEN_DIM)
        self.encoder = nano_encoder()
        self.text = nn.Parameter(torch.randn(1, TEXT_TOKENS, TEXT_DIM))
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - betas, 0)
        self.register_buffer("sigmas", ((1 - kept) / kept).sqrt().float(), persistent=False)
        _start(self.unet, self.controlnet)

    def anchor(self, hint: Tensor) -> Tensor:
        """Latent (B, 48, h, w), scaled, of the hint (B, 3, 4h, 4w) in [0, 1]."""
        return self.vae.encode(hint * 2 - 1).float() * LATENT_SCALE

    def residual(
        self, x: Tensor, timestep: Tensor, anchor: Tensor, where: Tensor, hint: Tensor, tokens: Tensor
    ) -> Tensor:
        """The clean residual, from the noisy residual x, its timestep (B,) and where its cells lie."""
        sigma = self.sigmas[timestep].view(-1, 1, 1, 1)
        scale = (1 + sigma**2).rsqrt()
        text = self.text.expand(len(x), -1, -1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and _trained(self.controlnet)):
            control = self.controlnet.control((x + anchor) * scale, timestep, text, tokens, hint)
        known = torch.cat([x * scale, detail(anchor), where], dim=1)
        return residual(self.unet.restore(known, timestep, text, tokens, control).float())

    def first_estimate(
        self, noise: Tensor, anchor: Tensor, where: Tensor, hint: Tensor, tokens: Tensor
    ) -> Tensor:
        """The clean residual from noise alone: the host's first step, or its only one."""
        last = torch.full((len(noise),), LAST_TIMESTEP, device=noise.device)
        x = noise * (1 + self.sigmas[last].view(-1, 1, 1, 1) ** 2).sqrt()
        return self.residual(x, last, anchor, where, hint, tokens)

    def picture(self, latent: Tensor) -> Tensor:
        """(B, 3, H, W) in about [0, 1] of a scaled latent."""
        return (self.vae.decode(latent / LATENT_SCALE) + 1) / 2


def _trained(network: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in network.parameters())


@torch.no_grad()
def _start(unet: SemanticUNet, controlnet: SemanticControlNet) -> None:
    """Start near the anchor, with open gates and deaf to the noise, which says nothing at the first step."""
    gates: Any = (
        controlnet.controlnet_cond_embedding.conv_out,
        controlnet.controlnet_mid_block,
        *controlnet.controlnet_down_blocks,
    )
    for gate in gates:  # trained from scratch, a ControlNet needs no silent start
        nn.init.xavier_uniform_(gate.weight, gain=0.5)
    for parameter in unet.conv_out.parameters():
        parameter.mul_(0.1)
    unet.conv_in.weight[:, :LATENT_CHANNELS].mul_(0.1)
    controlnet.conv_in.weight.mul_(0.1)


class AnchorTask(Task):
    """L1 between the decoded anchor and the clean photo: a regression."""

    def __init__(self, vae: Autoencoder) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:  # noqa: ARG002
        """The loss of crops (B, 3, 4c, 4c) and (B, 3, c, c)."""
        with torch.autocast(batch.lr.device.type, torch.bfloat16):
            picture = self._picture(batch.lr)
        return {"loss": LATENT_SCALE * (picture - batch.hr).abs().mean()}

    @torch.no_grad()
    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """The regression's picture."""
        return self._picture(lr).clamp(0, 1)

    def _picture(self, lr: Tensor) -> Tensor:
        return (self.vae.decode(self.vae.encode(enlarge(lr) * 2 - 1).float()) + 1) / 2


class ReadingTask(Task):
    """The encoder learns to tell what a small photo hides, before anything attends to its tokens.

    From each token a linear layer reads how much detail of which size and direction the clean photo has in
    its cell, what the damage did there, and where the cell lies. None of that needs a label.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(TOKEN_DIM, _TOLD + PLACE_CHANNELS)

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:  # noqa: ARG002
        """Huber loss of what is read; also the mean error of details, damage and places."""
        rows, columns = self.encoder.grid
        with torch.no_grad():
            views = _views(batch)
            hr, lr = _seen(batch.hr, views, SCALE), _seen(batch.lr, views)
            told = describe(hr, lr, (rows, columns))
            where = place(centres(rows), centres(columns)).to(told).expand(len(told), -1, -1, -1)
            target = torch.cat([told, where], dim=1).flatten(2).transpose(1, 2)
        with torch.autocast(batch.lr.device.type, torch.bfloat16), sdpa_kernel([SDPBackend.MATH]):
            tokens = self.encoder(lr)
        error = self.head(tokens.float()) - target
        parts = error.abs().mean(dim=(0, 1))
        return {
            "loss": F.huber_loss(error, torch.zeros_like(error), delta=0.5),
            "detail": parts[:9].mean(),
            "damage": parts[9:_TOLD].mean(),
            "place": parts[_TOLD:].mean(),
        }


_TOLD = 14


def describe(hr: Tensor, lr: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, 14, rows, columns), each about unit variance, of HR (B, 3, 4h, 4w) and LR photos in [0, 1].

    Energy of the clean photo's luma in three octaves and directions (Haar); then, against the clean photo
    averaged down, how much of two octaves came through and what was added to luma (two octaves) and colour.
    """
    down = F.avg_pool2d(hr, SCALE)
    luma, clean, came = (x.mean(1, keepdim=True) for x in (hr, down, lr))
    maps = []
    for _ in range(3):
        luma, bands = _octave(luma)
        maps.append(_level(bands, grid))
    through, added = [], []
    colour = (lr - came) - (down - clean)
    for _ in range(2):
        clean, wanted = _octave(clean)
        came, got = _octave(came)
        cross, power = (
            F.adaptive_avg_pool2d((wanted * other).sum(1, keepdim=True), grid) for other in (got, wanted)
        )
        through.append(2 * cross / (power + 1e-5) - 1)
        added.append(_level((got - wanted).square().sum(1, keepdim=True).sqrt(), grid))
    maps += [torch.cat(through, dim=1).clamp(-2, 2), *added]
    maps.append(_level(colour.square().sum(1, keepdim=True).sqrt(), grid))
    return torch.cat(maps, dim=1)


def _octave(x: Tensor) -> tuple[Tensor, Tensor]:
    """One Haar step of (B, 1, 2h, 2w): means (B, 1, h, w) and the three directions (B, 3, h, w)."""
    a, b, c, d = F.pixel_unshuffle(x, 2).unbind(1)
    return (a + b + c + d)[:, None] / 4, torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 1) / 4


def _level(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean energy in each cell, as a logarithm of about unit variance."""
    return 1.5 * (F.adaptive_avg_pool2d(x.square(), grid) + 1e-6).log10() + 6


class RestoreTask(Task):
    """UNet, ControlNet and text stand-in predict what the anchor lacks; the encoder stays as it is.

    Most steps start from pure noise, as one-step sampling does. The others start from the model's
    own first estimate plus noise, as the later steps of a sampler do, never from the truth: so the
    model refines instead of inventing speckle from the noise.

    The encoder reads a whole photo, or a good part of it, of which two tiles are restored.
    """

    def __init__(
        self,
        model: Nano,
        *,
        sharpening: float,
        strength: float,
        finding: float,
        later_step_share: float,
        gain: float = 1.0,
        control: bool = True,
        pace: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.sharpening = sharpening
        self.strength = strength
        self.finding = finding
        self.later_step_share = later_step_share
        self.gain = gain
        self.pace = pace
        model.vae.requires_grad_(False)
        model.encoder.requires_grad_(False)  # training along, it forgets what it learned to read
        model.controlnet.requires_grad_(control)
        self._asked: dict[str, list[Tensor]] = {"to_q": [], "to_k": []}
        for name, module in model.unet.named_modules():
            if "image_attentions" in name and name.endswith((".attn2.to_q", ".attn2.to_k")):
                kept = self._asked[name[-4:]]
                module.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))

    def groups(self, player: str) -> list[tuple[float, list[nn.Parameter]]]:  # noqa: ARG002
        """What reads tokens and places goes at its own pace."""
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        reads = [name for name, _ in trained if "image_attentions" in name or "unet.conv_in" in name]
        return [
            (1.0, [p for name, p in trained if name not in reads]),
            (self.pace, [p for name, p in trained if name in reads]),
        ]

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:  # noqa: ARG002
        """What is wrong with tiles restored from photos (B, 3, 4h, 4w) and (B, 3, h, w), and its parts.

        L1 to sharpened clean tiles; the strength of fine detail where it is; and whether each place finds
        its own token, which without help takes attention far longer to learn than all else.
        """
        views = _views(batch)
        seen = _seen(batch.lr, views)
        hr, lr, where, cells, seeds = _tiles(batch, views, self.model.encoder.grid)
        hint = enlarge(lr)
        with torch.autocast(lr.device.type, torch.bfloat16), sdpa_kernel([SDPBackend.MATH]):
            with torch.no_grad():
                anchor = self.model.anchor(hint)
                tokens = self.tokens(seen, batch.seeds).repeat(len(lr) // len(seen), 1, 1)
            residual = self._estimate(anchor, where, hint, tokens, seeds, later=self._later(batch.seeds))
        picture = self.model.picture(anchor + residual)
        parts = {
            "l1": LATENT_SCALE * (picture - sharpened(hr, self.sharpening)).abs().mean(),
            "strength": (strength(picture) - strength(hr)).abs().mean(),
            "finding": self._finding(cells),
        }
        loss = parts["l1"] + self.strength * parts["strength"] + self.finding * parts["finding"]
        return {"loss": loss, **parts}

    def _finding(self, cells: Tensor) -> Tensor:
        """Cross-entropy of the attention of first heads to the token of each place's own cell (B, places)."""
        losses = []
        for queries, keys in zip(*self._asked.values(), strict=True):
            logits = queries[..., :HEAD_DIM].float() @ keys[..., :HEAD_DIM].float().transpose(1, 2)
            losses.append(F.cross_entropy((logits / HEAD_DIM**0.5).transpose(1, 2), cells))
        return torch.stack(losses).mean()

    def tokens(self, seen: Tensor, seeds: tuple[int, ...]) -> Tensor:
        """(B, N, D), all zero for a few photos, so that their absence is known too."""
        kept = torch.tensor([_rng(seed, 3).random() >= TOKEN_DROPOUT for seed in seeds])
        return self.model.encoder(seen) * kept.to(seen.device).view(-1, 1, 1)

    def _later(self, seeds: tuple[int, ...]) -> bool:
        return bool(_rng(seeds[0], 4).random() < self.later_step_share)

    def _estimate(
        self,
        anchor: Tensor,
        where: Tensor,
        hint: Tensor,
        tokens: Tensor,
        seeds: tuple[int, ...],
        later: bool,
    ) -> Tensor:
        noise = noise_like(anchor, seeds)
        self._forget()
        if not later:
            return self.model.first_estimate(noise, anchor, where, hint, tokens)
        with torch.no_grad():
            first = self.model.first_estimate(noise, anchor, where, hint, tokens)
        self._forget()
        timestep = torch.tensor([_rng(seed, 5).integers(LAST_TIMESTEP) for seed in seeds])
        renoise = noise_like(anchor, seeds, salt=1) * self.model.sigmas[timestep].view(-1, 1, 1, 1)
        return self.model.residual(first + renoise, timestep, anchor, where, hint, tokens)

    def _forget(self) -> None:
        for kept in self._asked.values():
            kept.clear()

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:
        """One sampling step from pure noise."""
        with self._gained():
            return restore(self.model, lr, seed)

    def export(self, folder: Path) -> list[Path]:
        """Write every part in half precision under the names that the host's loader reads."""
        with self._gained():
            tensors = {key: value.to(torch.float16) for key, value in self.model.state_dict().items()}
        tensors["text."] = tensors.pop("text")
        file = folder / "nano.safetensors"
        told = {"model": f"ugc_sr nano v{VERSION}", "run": folder.parent.name, "photos": training_digest()}
        write(file, tensors, {"format": "pt", "licence": "Apache-2.0", **told})
        return [file]

    @contextmanager
    @torch.no_grad()
    def _gained(self) -> Iterator[None]:
        """The residual times `gain` meanwhile."""
        kept = [parameter.clone() for parameter in self.model.unet.conv_out.parameters()]
        for parameter in self.model.unet.conv_out.parameters():
            parameter[:LATENT_CHANNELS].mul_(self.gain)
        try:
            yield
        finally:
            for parameter, value in zip(self.model.unet.conv_out.parameters(), kept, strict=True):
                parameter.copy_(value)


View = tuple[int, int, int]  # top, left, side in LR pixels


def _rng(seed: int, salt: int) -> np.random.Generator:
    return np.random.default_rng((seed, salt))


def _views(batch: Batch) -> list[View]:
    """The square of each photo that the encoder reads: the whole, or at least a quarter."""
    full = batch.lr.shape[-1]
    views = []
    for seed in batch.seeds:
        rng = _rng(seed, 1)
        side = full if rng.random() < 0.4 else int(rng.integers(min(SMALLEST_VIEW, full), full + 1))
        top, left = (int(v) for v in rng.integers(0, full - side + 1, 2))
        views.append((top, left, side))
    return views


def _seen(photos: Tensor, views: list[View], scale: int = 1) -> Tensor:
    """The views of photos of `scale` times the LR size, brought back to that size: (B, 3, H, H)."""
    seen = []
    for photo, (top, left, side) in zip(photos.split(1), views, strict=True):
        box = photo[..., scale * top : scale * (top + side), scale * left : scale * (left + side)]
        if box.shape != photo.shape:
            box = F.interpolate(box, size=photo.shape[2:], mode="bilinear", antialias=True)
        seen.append(box)
    return torch.cat(seen)


def _tiles(
    batch: Batch, views: list[View], grid: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[int, ...]]:
    """Two tiles of every view: clean, damaged, where they lie in it, the token of each place, their seeds."""
    hr, lr, where, cells, seeds = [], [], [], [], []
    for turn in range(2):
        for index, ((top, left, side), seed) in enumerate(zip(views, batch.seeds, strict=True)):
            tile = min(TILE, side)
            y, x = (int(v) for v in _rng(seed, 6 + turn).integers(0, side - tile + 1, 2))
            rows, columns = (centres(tile, v / side, (v + tile) / side) for v in (y, x))
            where.append(place(rows, columns))
            row, column = (
                (along.unflatten(1, (-1, COARSEST)).mean(2) * count).long()
                for along, count in zip((rows, columns), grid, strict=True)
            )
            cells.append((row[..., None] * grid[1] + column[:, None]).flatten(1))
            for photos, scale, out in ((batch.hr, SCALE, hr), (batch.lr, 1, lr)):
                across = slice(scale * (left + x), scale * (left + x + tile))
                down = slice(scale * (top + y), scale * (top + y + tile))
                out.append(photos[index, :, down, across])
            seeds.append((seed * 2 + turn) % 2**63)
    device = batch.lr.device
    return (
        torch.stack(hr),
        torch.stack(lr),
        torch.cat(where).to(device),
        torch.cat(cells).to(device),
        tuple(seeds),
    )


def strength(picture: Tensor) -> Tensor:
    """Logarithm of the energy of fine luma detail around every 8th pixel: (B, 3, H, W) -> (B, 1, h, w)."""
    luma = picture.mean(1, keepdim=True)
    fine = luma - F.avg_pool2d(luma, 5, stride=1, padding=2, count_include_pad=False)
    return (F.avg_pool2d(fine.square(), 16, stride=8) + 1e-5).log()


def sharpened(hr: Tensor, amount: float) -> Tensor:
    """Unsharp mask of the clean photo: as in Real-ESRGAN and SeeSR, the answer to losses that prefer blur."""
    return hr + amount * (hr - F.avg_pool2d(hr, 5, stride=1, padding=2, count_include_pad=False))


def enlarge(lr: Tensor) -> Tensor:
    """The hint that Prepare Photo makes of the LR photo: bicubic, clamped."""
    height, width = (size * SCALE for size in lr.shape[2:])
    return resize(lr, height, width).clamp(0, 1)


@torch.no_grad()
def restore(model: Nano, lr: Tensor, seed: int = 0, tokens: Tensor | None = None) -> Tensor:
    """One sampling step from pure noise: (B, 3, h, w) -> (B, 3, 4h, 4w), both in [0, 1]."""
    hint = enlarge(lr)
    anchor = model.anchor(hint)
    noise = torch.randn(anchor.shape, generator=torch.Generator().manual_seed(seed))
    read = model.encoder(lr) if tokens is None else tokens
    where = place(*(centres(size) for size in anchor.shape[2:])).expand(len(lr), -1, -1, -1)
    residual = model.first_estimate(noise, anchor, where, hint, read)
    return model.picture(anchor + residual).clamp(0, 1)


def build_anchor(stage: Stage, start: Start) -> Task:  # noqa: ARG001
    """The anchor, from a model before it if the run has one."""
    return AnchorTask(_started(start).vae)


def build_reading(stage: Stage, start: Start) -> Task:  # noqa: ARG001
    """The encoder with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        return ReadingTask(nano_encoder())


def build_restore(stage: Stage, start: Start, **options: Any) -> RestoreTask:  # noqa: ARG001
    """Everything else, on top of the anchor and the encoder of the stages before."""
    model = _started(start)
    parts = {name: value for name, value in start.weights.items() if name.startswith(("vae.", "encoder."))}
    model.load_state_dict(parts, strict=False)
    return RestoreTask(model, **options)


def _started(start: Start) -> Nano:
    """A model with fresh weights, or with those of a bundled one.

    Of a version that knew no places and whose tokens nobody heard, what asks for tokens starts afresh.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        model = Nano()
    if start.base is None:
        return model
    state = {name: value.float() for name, value in load_file(start.base).items()}
    state["text"] = state.pop("text.")
    if state["unet.conv_in.weight"].shape[1] < UNET["in_channels"]:
        fresh = model.state_dict()
        state |= widened(state) | {name: fresh[name] for name in state if _asks_for_tokens(name)}
    model.load_state_dict(state)
    return model


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What version 0 has otherwise, with weights of 0 for what it didn't have, which change nothing."""
    first, last = state["unet.conv_in.weight"], state["unet.conv_out.weight"]
    return {
        "unet.conv_in.weight": F.pad(first, (0, 0, 0, 0, 0, UNET["in_channels"] - first.shape[1])),
        "unet.conv_out.weight": F.pad(last, (0, 0, 0, 0, 0, 0, 0, UNET["out_channels"] - len(last))),
        "unet.conv_out.bias": F.pad(state["unet.conv_out.bias"], (0, UNET["out_channels"] - len(last))),
    }


def _asks_for_tokens(name: str) -> bool:
    return (
        name.startswith("unet.")
        and "image_attentions" in name
        and ".attn2.to_out" not in name
        and ".attn2." in name
    )
