"""SRlab's training: image attentions and a ControlNet over a frozen Stable Diffusion 2.x.

As in SRlab (arXiv 2504.09887) and SeeSR (arXiv 2311.16518), both learn to predict the noise in the latent of
a clean photo, given the damaged photo, its caption and SAM2's tokens.
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
from ..sample.color_match import match
from ..sample.frame import finish, fit
from .base import CELL, Base, load_base
from .loop import AUTOCAST
from .presets import Stage
from .task import Batch, Start, Task, noise_like

_DTYPES = {"fp32": torch.float32, **AUTOCAST}


@dataclass(frozen=True)
class SRLabOptions:
    """Settings of the task besides those of every stage.

    Attributes:
        scale: scale of the restored photo.
        null_text: share of samples without a caption.
        min_snr_gamma: weight timesteps by min(SNR, gamma) (arXiv 2303.09556); None weights all equally.
        steps: DDPM steps of validation pictures.
        cfg: guidance scale of validation pictures; none at 1 or below.
        prompt: prompt of validation pictures.
        negative: negative prompt of validation pictures, with guidance.
        color: colour matching method of validation pictures; "" for none.
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
    """The task of SRlab; it modifies the networks of its base."""

    alphas: Tensor

    def __init__(
        self,
        base: Base,
        encoder: ImageEncoder,
        options: SRLabOptions | None = None,
        *,
        frozen: torch.dtype = torch.float32,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Add fresh image attentions and a ControlNet, drawn from the global generator.

        Args:
            base: the frozen text-to-image model.
            encoder: encoder of the damaged photo, always in float32 as in SRlab.
            options: settings, by default SRlab's.
            frozen: float type of the matrices that aren't trained, and of the computation if it isn't
                float32.
            gradient_checkpointing: compute activations twice instead of storing them.
        """
        super().__init__()
        self.options = options or SRLabOptions()
        self.frozen = frozen
        self.tokenize = base.tokenize
        self.scheduler = base.scheduler
        # SRlab's own code repeats SAM2's channels to fill SeeSR's tokens; so do we, for compatible weights.
        self.doubled = 2 * encoder.token_dim == DUPLICATED
        width = DUPLICATED if self.doubled else encoder.token_dim
        self.controlnet = SemanticControlNet.from_unet(base.unet).add_image_attentions(width)
        self.unet = base.unet.requires_grad_(False).add_image_attentions(width)
        _initialise(self.unet, self.controlnet)
        self.vae = base.vae.requires_grad_(False)
        self.text_encoder = base.text_encoder.requires_grad_(False)
        self.encoder = encoder.requires_grad_(False)
        for network in (self.unet, self.vae, self.text_encoder):
            _convert(network, frozen)
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.controlnet.enable_gradient_checkpointing()
        self.register_buffer("alphas", base.scheduler.alphas_cumprod.float(), persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error of the predicted noise or velocity, at a random timestep per sample.

        "loss" is weighted by timestep, "mse" is not.

        Raises:
            ValueError: if the crops aren't a whole number of latent cells.
        """
        height, width = batch.hr.shape[-2:]
        if height % CELL or width % CELL:
            raise ValueError(
                f"The crops are {width}x{height} px; expected multiples of {CELL}, a latent cell's side. "
                "Change the stage's 'crop'; 128 makes 512 px."
            )
        draws = [random.Random(seed) for seed in batch.seeds]
        timesteps = torch.tensor([draw.randrange(len(self.alphas)) for draw in draws], device=batch.hr.device)
        shown = [draw.random() >= self.options.null_text for draw in draws]
        captions = batch.captions or ("",) * len(draws)
        hint = resize(batch.lr, height, width).clamp(0, 1)
        with self._precision(batch.hr.device):
            with torch.no_grad():
                latent = self._latent(batch)
                text = self._text([word if show else "" for word, show in zip(captions, shown, strict=True)])
                tokens = self._tokens(hint if batch.whole is None else batch.whole)
            noise = noise_like(latent, batch.seeds, salt=1)
            alpha = self.alphas[timesteps].view(-1, 1, 1, 1)
            noisy = alpha.sqrt() * latent + (1 - alpha).sqrt() * noise
            predicted = self._predict(noisy, timesteps, text, tokens, hint)
        velocity = self.scheduler.config["prediction_type"] == "v_prediction"
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latent if velocity else noise
        errors = (predicted - target).square().mean(dim=(1, 2, 3))
        return {"loss": (self._weights(timesteps) * errors).mean(), "mse": errors.detach().mean()}

    @torch.no_grad()
    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:
        """Return photos (B, 3, h, w) restored by DDPM from pure noise, then matched in colour.

        The result equals that of ComfyUI's sampler `ddpm` with the schedule `ddim_uniform`, full noise and
        this seed.
        """
        hint, frame = fit(lr, self.options.scale)
        guided = self.options.cfg > 1
        words = [self.options.negative, self.options.prompt] if guided else [self.options.prompt]
        with self._precision(lr.device):
            latent = self._sample(hint, self._text(words), self._tokens(lr), seed)
            picture = self.vae.decode(latent / self.vae.config["scaling_factor"], return_dict=False)[0]
        picture = finish(((picture.float() + 1) / 2).clamp(0, 1), frame)
        color = self.options.color
        return match(picture, finish(hint, frame), color).clamp(0, 1) if color else picture

    def export(self, folder: Path) -> list[Path]:
        """Write unet/ and controlnet/ in SeeSR's layout, in half precision if trained in half precision.

        Raises:
            OSError: if there is no space; earlier files are kept.
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
            # moved once both are complete, since UNet and ControlNet must be of the same step
            for part in Path(made).iterdir():
                (folder / part.name).mkdir(exist_ok=True)
            return [file.replace(folder / file.relative_to(made)) for file in sorted(Path(made).glob("*/*"))]

    def _sample(self, hint: Tensor, text: Tensor, tokens: Tensor, seed: int) -> Tensor:
        # As ComfyUI: the seed gives the initial noise, the next seed that of the steps.
        photos, (height, width) = len(hint), (side // CELL for side in hint.shape[-2:])
        shape = (1, self.unet.config["in_channels"], height, width)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(hint).repeat(photos, 1, 1, 1)
        generators: Any = [torch.Generator().manual_seed(seed + 1) for _ in range(photos)]
        halves = len(text)
        text = text.repeat_interleave(photos, dim=0)
        tokens, hint = tokens.repeat(halves, 1, 1), hint.repeat(halves, 1, 1, 1)
        self.scheduler.set_timesteps(self.options.steps)
        for t in self.scheduler.timesteps:
            now = t.to(x.device).expand(halves * photos)
            predicted = self._predict(x.repeat(halves, 1, 1, 1), now, text, tokens, hint)
            if halves == 2:
                uncond, cond = predicted.chunk(2)
                predicted = uncond + self.options.cfg * (cond - uncond)
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
        ids = self.tokenize(captions).to(self.alphas.device)
        return self.text_encoder(ids).last_hidden_state.float()

    def _tokens(self, photos: Tensor) -> Tensor:
        with torch.autocast(photos.device.type, enabled=False):
            tokens = self.encoder(photos.float())
        return torch.cat([tokens, tokens], dim=2) if self.doubled else tokens

    def _weights(self, timesteps: Tensor) -> Tensor:
        """Return the weights min(SNR, gamma) of the latent's error, converted to the prediction's."""
        gamma, alpha = self.options.min_snr_gamma, self.alphas[timesteps]
        if gamma is None:
            return torch.ones_like(alpha)
        snr = alpha / (1 - alpha)
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


def build(stage: Stage, start: Start, *, encoder: str = "", **options: Any) -> SRLab:
    """Return the task of a stage, over the base of the run.

    Args:
        stage: its precision, gradient checkpointing and weighting of timesteps are used.
        start: its base is a folder in diffusers' format.
        encoder: a SAM2.1 checkpoint in safetensors.
        options: fields of `SRLabOptions`.

    Raises:
        ValueError: if there is no base or no encoder, or an option is unknown.
        FileNotFoundError: if base or encoder are missing or incomplete.
        UnsupportedWeightsError: if they are of another family.
    """
    if start.base is None:
        raise ValueError(
            "This preset trains over a frozen Stable Diffusion 2.x. Name its folder: --base FOLDER."
        )
    if not encoder:
        raise ValueError(
            "This preset trains with SAM2.1's tokens. Name its file: --encoder FILE.safetensors."
        )
    known = {field.name for field in fields(SRLabOptions)}
    if unknown := sorted(options.keys() - known):
        raise ValueError(
            f"The task srlab has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        task = SRLab(
            load_base(start.base),
            build_encoder(files.read(Path(encoder)), Path(encoder).name),
            SRLabOptions(**{"min_snr_gamma": stage.min_snr_gamma, **options}),
            frozen=_DTYPES[stage.precision],
            gradient_checkpointing=stage.gradient_checkpointing,
        )
    task.load_state_dict(dict(start.weights), strict=False)
    return task


@torch.no_grad()
def _initialise(unet: SemanticUNet, controlnet: SemanticControlNet) -> None:
    """Zero the image attentions' outputs, and copy the UNet's image attentions to the ControlNet.

    SeeSR starts with random outputs, which disturb the base until training has corrected them.
    """
    for name, parameter in unet.named_parameters():
        if ".image_attentions." in name:
            parameter.requires_grad_(True)
            if ".proj_out." in name:
                parameter.zero_()
    trained = {name: weight for name, weight in unet.state_dict().items() if ".image_attentions." in name}
    controlnet.load_state_dict(trained, strict=False)
    controlnet.requires_grad_(True)


def _convert(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert the frozen matrices of a network to `dtype`; norms and embeddings are unchanged."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.requires_grad:
            module.to(dtype)


def _config(network: SemanticUNet | SemanticControlNet) -> bytes:
    """Return the configuration from which diffusers and SeeSR's code build the network."""
    config = {key: value for key, value in network.config.items() if not key.startswith("_name")}
    known = "UNet2DConditionModel" if isinstance(network, SemanticUNet) else "ControlNetModel"
    config |= {"_class_name": known, "use_image_cross_attention": True}
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
