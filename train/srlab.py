"""SRlab's training: image attentions and a ControlNet over a frozen Stable Diffusion 2.x.

The recipe of SRlab (arXiv 2504.09887) and SeeSR (arXiv 2311.16518), of which the UNet's image
attentions and the whole ControlNet learn to tell the noise in the latent of a clean photo, from the
damaged photo, its caption and what SAM2 sees in it.
"""

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..files import replace_file
from ..image import resize
from ..models import files
from ..models.convert import DUPLICATED
from ..models.repack import write
from ..models.segmenter import ImageEncoder, build_encoder
from ..models.twins import SemanticControlNet, SemanticUNet
from ..sample.color import match
from ..sample.frame import finish, fit
from .base import CELL, Base, load_base
from .presets import Stage
from .task import Batch, Start, Task, noise_like

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Recipe:
    """What SRlab chooses, besides what every stage has.

    Attributes:
        scale: of the restored photo.
        null_text: share of samples that are shown no caption.
        min_snr_gamma: weigh timesteps by min(SNR, gamma) (arXiv 2303.09556); None weighs all alike.
        steps: of DDPM, of pictures restored on the way.
        cfg: guidance of those; at 1 or below there is none.
        prompt: for those.
        negative: for those, if there is guidance.
        color: how they get the photo's colours, as Match Color; "" leaves them.
    """

    scale: int = 4
    null_text: float = 0.5
    min_snr_gamma: float | None = None
    steps: int = 20
    cfg: float = 1.0
    prompt: str = "clean, high-resolution, 8k"
    negative: str = "dotted, noise, blur, lowres, smooth"
    color: str = "adain"


class SRLab(Task):
    """Takes over the networks of `base`, which it changes, and the encoder."""

    kept: Tensor

    def __init__(
        self,
        base: Base,
        encoder: ImageEncoder,
        recipe: Recipe | None = None,
        *,
        frozen: torch.dtype = torch.float32,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Add fresh image attentions and a ControlNet; draws from the global generator.

        Args:
            base: what is trained over.
            encoder: reads the damaged photo, always in float32 as SRlab does.
            recipe: how, by default as SRlab.
            frozen: float type in which the matrices of what isn't trained are stored, and in which the
                networks compute if it isn't float32.
            gradient_checkpointing: compute activations twice instead of keeping them.
        """
        super().__init__()
        self.recipe = recipe or Recipe()
        self.frozen = frozen
        self.tokenize = base.tokenize
        self.scheduler = base.scheduler
        # SAM2's channels are given twice to fill SeeSR's tokens, so that the weights fit SRlab's own code.
        self.doubled = 2 * encoder.token_dim == DUPLICATED
        width = DUPLICATED if self.doubled else encoder.token_dim
        self.controlnet = SemanticControlNet.from_unet(base.unet).add_image_attentions(width)
        self.unet = base.unet.requires_grad_(False).add_image_attentions(width)
        _start(self.unet, self.controlnet)
        self.vae = base.vae.requires_grad_(False)
        self.text_encoder = base.text_encoder.requires_grad_(False)
        self.encoder = encoder.requires_grad_(False)
        for network in (self.unet, self.vae, self.text_encoder):
            _store(network, frozen)
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.controlnet.enable_gradient_checkpointing()
        self.register_buffer("kept", base.scheduler.alphas_cumprod.float(), persistent=False)

    def forward(self, batch: Batch, step: int, player: str = "main") -> dict[str, Tensor]:  # noqa: ARG002
        """The mean squared error of the predicted noise or velocity, at a uniform timestep a sample.

        "mse" is the same, unweighted.

        Raises:
            ValueError: if the crops are no whole number of latent cells.
        """
        _check_crop(batch)
        draws = [random.Random(seed) for seed in batch.seeds]
        timesteps = torch.tensor([draw.randrange(len(self.kept)) for draw in draws], device=batch.hr.device)
        shown = [draw.random() >= self.recipe.null_text for draw in draws]
        captions = batch.captions or ("",) * len(draws)
        height, width = batch.hr.shape[-2:]
        hint = resize(batch.lr, height, width).clamp(0, 1)
        with self._precision(batch.hr.device):
            with torch.no_grad():
                latent = self._latent(batch)
                text = self._text([word if show else "" for word, show in zip(captions, shown, strict=True)])
                tokens = self._tokens(hint if batch.whole is None else batch.whole)
            noise = noise_like(latent, batch.seeds, salt=1)
            kept = self.kept[timesteps].view(-1, 1, 1, 1)
            noisy = kept.sqrt() * latent + (1 - kept).sqrt() * noise
            predicted = self._predict(noisy, timesteps, text, tokens, hint)
        velocity = self.scheduler.config["prediction_type"] == "v_prediction"
        target = kept.sqrt() * noise - (1 - kept).sqrt() * latent if velocity else noise
        errors = (predicted - target).square().mean(dim=(1, 2, 3))
        return {"loss": (self._weights(timesteps) * errors).mean(), "mse": errors.detach().mean()}

    @torch.no_grad()
    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:
        """What SRlab makes of photos (B, 3, h, w): DDPM from pure noise, then the colours of the photo.

        Each photo is restored as ComfyUI's KSampler does it behind LR Start, with this seed, `ddpm` and
        `ddim_uniform`.
        """
        hint, frame = fit(lr, self.recipe.scale)
        guided = self.recipe.cfg > 1
        words = [self.recipe.negative, self.recipe.prompt] if guided else [self.recipe.prompt]
        with self._precision(lr.device):
            latent = self._sample(hint, self._text(words), self._tokens(lr), seed)
            picture = self.vae.decode(latent / self.vae.config["scaling_factor"], return_dict=False)[0]
        picture = finish(((picture.float() + 1) / 2).clamp(0, 1), frame)
        color = self.recipe.color
        return match(picture, finish(hint, frame), color).clamp(0, 1) if color else picture

    def export(self, folder: Path) -> list[Path]:
        """Write unet/ and controlnet/ in SeeSR's layout, in half precision if it was trained in that.

        Raises:
            OSError: if there is no room; what was there before stays.
        """
        half = None if self.frozen == torch.float32 else torch.float16
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as made:
            for name, network in (("unet", self.unet), ("controlnet", self.controlnet)):
                part = Path(made, name)
                part.mkdir()
                replace_file(part / "config.json", _config(network))
                tensors = {key: weight.cpu() for key, weight in network.state_dict().items()}
                write(part / f"{files.STEM}{files.SAFE}", tensors, {"format": "pt"}, half)
            # both are whole: a ControlNet is worth nothing beside another step's UNet
            return [_moved(file, folder / file.relative_to(made)) for file in sorted(Path(made).glob("*/*"))]

    def _sample(self, hint: Tensor, text: Tensor, tokens: Tensor, seed: int) -> Tensor:
        # The host draws the noise from the seed and each step's from the next one.
        photos, (height, width) = len(hint), (side // CELL for side in hint.shape[-2:])
        shape = (1, self.unet.config["in_channels"], height, width)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(hint).repeat(photos, 1, 1, 1)
        generators: Any = [torch.Generator().manual_seed(seed + 1) for _ in range(photos)]
        halves = len(text)
        text = text.repeat_interleave(photos, dim=0)
        tokens, hint = tokens.repeat(halves, 1, 1), hint.repeat(halves, 1, 1, 1)
        self.scheduler.set_timesteps(self.recipe.steps)
        for t in self.scheduler.timesteps:
            now = t.to(x.device).expand(halves * photos)
            predicted = self._predict(x.repeat(halves, 1, 1, 1), now, text, tokens, hint)
            if halves == 2:
                uncond, cond = predicted.chunk(2)
                predicted = uncond + self.recipe.cfg * (cond - uncond)
            x = self.scheduler.step(predicted, int(t), x, generator=generators, return_dict=False)[0]
        return x

    def _predict(self, x: Tensor, timestep: Tensor, text: Tensor, tokens: Tensor, hint: Tensor) -> Tensor:
        control = self.controlnet.control(x, timestep, text, tokens, hint)
        return self.unet.restore(x, timestep, text, tokens, control).float()

    def _latent(self, batch: Batch) -> Tensor:
        drawn = self.vae.encode(batch.hr * 2 - 1, return_dict=False)[0]
        mean, std = drawn.mean.float(), drawn.std.float()
        return (mean + std * noise_like(mean, batch.seeds, salt=2)) * self.vae.config["scaling_factor"]

    def _text(self, captions: Sequence[str]) -> Tensor:
        ids = self.tokenize(captions).to(self.kept.device)
        return self.text_encoder(ids).last_hidden_state.float()

    def _tokens(self, photos: Tensor) -> Tensor:
        with torch.autocast(photos.device.type, enabled=False):
            tokens = self.encoder(photos.float())
        return torch.cat([tokens, tokens], dim=2) if self.doubled else tokens

    def _weights(self, timesteps: Tensor) -> Tensor:
        """min(SNR, gamma) on the scale of the clean latent, seen as an error of the noise or velocity."""
        gamma = self.recipe.min_snr_gamma
        if gamma is None:
            return torch.ones_like(self.kept[timesteps])
        kept = self.kept[timesteps]
        snr = kept / (1 - kept)
        if self.scheduler.config["prediction_type"] == "v_prediction":
            return snr.clamp(max=gamma) / (snr + 1)
        return (gamma / snr).clamp(max=1)

    @contextmanager
    def _precision(self, device: torch.device) -> Iterator[None]:
        if self.frozen == torch.float32:
            yield
            return
        with torch.autocast(device.type, self.frozen):
            yield


def build(stage: Stage, start: Start, *, encoder: str = "", **recipe: Any) -> SRLab:
    """The task of one stage, over the base that the run was given.

    Args:
        stage: for its precision, gradient checkpointing and weighting of timesteps.
        start: with the base, a folder.
        encoder: a SAM2.1 checkpoint in safetensors.
        recipe: fields of `Recipe`.

    Raises:
        ValueError: if the run was given no base or no encoder, or an option is unknown.
        FileNotFoundError: if one of them isn't there, or not whole.
        UnsupportedWeightsError: if it is something else.
    """
    if start.base is None:
        raise ValueError(
            "This preset trains over a frozen Stable Diffusion 2.x. Name its folder: --base FOLDER."
        )
    if not encoder:
        raise ValueError(
            "This preset trains with SAM2.1's tokens. Name its file: --encoder FILE.safetensors."
        )
    known = {field.name for field in fields(Recipe)}
    if unknown := sorted(recipe.keys() - known):
        raise ValueError(
            f"The task srlab has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        task = SRLab(
            load_base(start.base),
            build_encoder(files.read(Path(encoder)), Path(encoder).name),
            Recipe(**{"min_snr_gamma": stage.min_snr_gamma, **recipe}),
            frozen=_DTYPES[stage.precision],
            gradient_checkpointing=stage.gradient_checkpointing,
        )
    task.load_state_dict(dict(start.weights), strict=False)
    return task


@torch.no_grad()
def _start(unet: SemanticUNet, controlnet: SemanticControlNet) -> None:
    """Train the image attentions from a silent start, the ControlNet's from the UNet's.

    SeeSR's begin at random, which costs the base its pictures until they are unlearned.
    """
    for name, parameter in unet.named_parameters():
        if ".image_attentions." in name:
            parameter.requires_grad_(True)
            if ".proj_out." in name:
                parameter.zero_()
    trained = {name: weight for name, weight in unet.state_dict().items() if ".image_attentions." in name}
    controlnet.load_state_dict(trained, strict=False)
    controlnet.requires_grad_(True)


def _store(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep the frozen matrices of a network in `dtype`; norms and embeddings stay as they are."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.requires_grad:
            module.to(dtype)


def _check_crop(batch: Batch) -> None:
    height, width = batch.hr.shape[-2:]
    if height % CELL or width % CELL:
        raise ValueError(
            f"The crops are {width}x{height} px; expected multiples of {CELL}, a latent cell's side. "
            "Change the stage's 'crop'; 128 makes 512 px."
        )


def _moved(file: Path, target: Path) -> Path:
    target.parent.mkdir(exist_ok=True)
    return file.replace(target)


def _config(network: SemanticUNet | SemanticControlNet) -> bytes:
    """What diffusers and SeeSR's code build the network from; the class is the one both know."""
    config = {key: value for key, value in network.config.items() if not key.startswith("_name")}
    known = "UNet2DConditionModel" if isinstance(network, SemanticUNet) else "ControlNetModel"
    config |= {"_class_name": known, "use_image_cross_attention": True}
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
