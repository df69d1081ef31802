"""Peak memory and seconds of `wild` in the host, with random weights of the published files' shapes."""

import logging
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ugc_sr.host.adapter import load_adapter
from ugc_sr.host.controlnet import apply_controlnet, load_controlnet
from ugc_sr.host.encoder import encode, load_encoder
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.image import from_socket
from ugc_sr.models.convert import unet_from_diffusers
from ugc_sr.models.segmenter import CONFIGS, ImageEncoder
from ugc_sr.sample.color_match import match
from ugc_sr.sample.frame import finish, fit
from ugc_sr.sample.presets import load

from . import forwards, networks
from .sampling import sample

LIMIT_GB = 14.0  # memory of the smallest machine that should suffice
SEED = 7
TILE_BATCH = 1  # larger batches are no faster on a CPU
WILD = load("wild")
# ViT-H's text tower in OpenCLIP's layout, as in Stable Diffusion 2's checkpoints.
TEXT_LAYERS, TEXT_WIDTH, VOCABULARY = 24, networks.TEXT_DIM, 49408
VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}

Shapes = Mapping[str, Tensor]  # on the "meta" device, which takes no memory


def run(size: tuple[int, int], steps: int) -> Iterator[dict[str, Any]]:
    """Yield one row: the peak memory of this process, with its limit, and the seconds of each stage.

    Raises:
        RuntimeError: if a key was left over or missing, or the picture isn't finite.
    """
    seconds: dict[str, float] = {}
    with TemporaryDirectory(prefix="true-shapes-") as folder:
        with _timed(seconds, "write"):
            files = {name: _write(Path(folder, f"{name}.safetensors"), s) for name, s in shapes().items()}
        written = _peak_gb()
        picture, complaints = _restore(files, size, steps, seconds)
    if complaints:
        raise RuntimeError(f"The host left {len(complaints)} keys over or missed them: {complaints[:3]}.")
    if not picture.isfinite().all():
        raise RuntimeError("The restored picture isn't finite.")
    device, peak = comfy.model_management.get_torch_device(), _peak_gb()
    row = {
        "name": f"true-shapes-{size[0]}x{size[1]}",
        "baseline": LIMIT_GB,
        "ours": round(peak, 2),
        "ratio": round(LIMIT_GB / peak, 2),
        "unit": "GB at the peak",
        "leftover_keys": len(complaints),
        "steps": steps,
        "picture": "x".join(map(str, picture.shape[-2:])),
        "peak_while_writing": round(written, 2),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "device": str(device),
    }
    if device.type == "cuda":
        row |= {
            "device": torch.cuda.get_device_name(device),
            "device_peak": round(torch.cuda.max_memory_allocated(device) / 1e9, 2),
        }
    yield row


def shapes() -> dict[str, Shapes]:
    """Return file -> keys and shapes, in the layouts in which the files are published."""
    with torch.device("meta"):
        unet, controlnet = (network.state_dict() for network in networks.build())
        base, _ = unet_from_diffusers(unet)
        vae = AutoencoderKL(ddconfig=VAE, embed_dim=4).state_dict()
        text = {name: torch.empty(shape) for name, shape in _text_shapes().items()}
    sam2 = ImageEncoder(CONFIGS["sam2.1_tiny"]).to("meta").state_dict()  # can't be built on it
    checkpoint = {
        **{f"model.diffusion_model.{key}": weight for key, weight in base.items()},
        **{f"first_stage_model.{key}": weight for key, weight in vae.items()},
        **{f"cond_stage_model.model.{key}": weight for key, weight in text.items()},
    }
    return {"checkpoint": checkpoint, "adapter": unet, "controlnet": controlnet, "sam2": sam2}


def _text_shapes() -> dict[str, tuple[int, ...]]:
    width = TEXT_WIDTH
    layer = {
        "ln_1": (width,),
        "ln_2": (width,),
        "attn.in_proj_": (3 * width, width),
        "attn.out_proj": (width, width),
        "mlp.c_fc": (4 * width, width),
        "mlp.c_proj": (width, 4 * width),
    }
    found: dict[str, tuple[int, ...]] = {
        "positional_embedding": (networks.TEXT_TOKENS, width),
        "token_embedding.weight": (VOCABULARY, width),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
        "text_projection": (width, width),
        "logit_scale": (),
    }
    for number in range(TEXT_LAYERS):
        for name, shape in layer.items():
            stem = f"transformer.resblocks.{number}.{name}"
            stem = stem if stem.endswith("_") else f"{stem}."
            found |= {f"{stem}weight": shape, f"{stem}bias": shape[:1]}
    return found


def _write(path: Path, shapes: Shapes) -> Path:
    """Write a file of random float16 weights and return its path; one file is in memory at a time."""
    save_file(filled(shapes), str(path))
    return path


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Return random float16 weights of these shapes, each determined by its key."""
    return {name: networks.fill(name, list(like.shape)).half() for name, like in shapes.items()}


@torch.inference_mode()
def _restore(
    files: Mapping[str, Path], size: tuple[int, int], steps: int, seconds: dict[str, float]
) -> tuple[Tensor, list[str]]:
    """Return the picture (1, 3, *size), and the messages of the host's loader about keys."""
    photo = F.interpolate(torch.rand(1, 3, *(side // 32 for side in size)), size, mode="bilinear")
    with _timed(seconds, "semantics"):
        semantics = encode(load_encoder(_read(files["sam2"])), photo)
    with _timed(seconds, "load"), _complaints() as complaints:
        loaded: Any = comfy.sd.load_checkpoint_guess_config(str(files["checkpoint"]))
        model, clip, vae, _ = loaded
        adapter = load_adapter(_read(files["adapter"]), "random")
        control = load_controlnet(_read(files["controlnet"]), "random")
    with _timed(seconds, "prompts"):
        texts = WILD.prompt, WILD.negative
        prompts = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in texts]
    hint, frame = fit(photo, scale=1)
    prompts = apply_controlnet(prompts, control, hint, semantics)
    model = apply_guidance(model, adapter, semantics)
    model = tile_diffusion(model, tile=forwards.TILE, overlap=forwards.OVERLAP, batch=TILE_BATCH)
    latent = torch.zeros(1, 4, *(side // forwards.CELL_PX for side in frame.canvas))
    with _timed(seconds, "sample"):
        latent = sample(model, prompts, latent, steps=steps, cfg=forwards.WILD.cfg, seed=SEED)
    with _timed(seconds, "decode"):
        picture = from_socket(vae.decode_tiled(latent, tile_x=64, tile_y=64, overlap=16))
        picture = finish(match(picture, hint, "adain"), frame)
    return picture, complaints


def _read(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file, read as the loader nodes do."""
    return cast("dict[str, Tensor]", comfy.utils.load_torch_file(str(path), safe_load=True))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect the host's log messages of any level about missing, unexpected or left-over keys."""
    found: list[str] = []
    root = logging.getLogger()
    level, handlers = root.level, root.handlers

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if any(word in text.lower() for word in ("left over", "missing", "unexpected")):
                found.append(text)
            for handler in handlers if record.levelno >= level else ():
                handler.handle(record)

    root.handlers = [Listener()]
    root.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        root.setLevel(level)
        root.handlers = handlers


def _peak_gb() -> float:
    """Return the largest resident size of this process so far in GB, including mapped files."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
