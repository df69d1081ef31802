"""Files of weights of the true layouts at small shapes, where ComfyUI looks for them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ugc_sr.models.convert import unet_from_diffusers
from ugc_sr.models.segmenter import nano_encoder

SD1, SD2 = 768, 1024  # width of the text


def _networks(text_dim):
    from benchmarks.networks import build

    unet, controlnet = build(widths=(64,) * 4, text_dim=text_dim)
    base, _ = unet_from_diffusers(unet.state_dict())
    parts = {f"model.diffusion_model.{key}": weight for key, weight in base.items()}
    parts |= {f"{part}.x": torch.ones(2) for part in ("first_stage_model", "cond_stage_model")}
    adapter = {key: weight for key, weight in unet.state_dict().items() if ".image_attentions." in key}
    return {"checkpoint": parts, "adapter": adapter, "controlnet": controlnet.state_dict()}


@pytest.fixture(scope="session")
def weights():
    """Tensors by what they are."""
    tagger = {"vision_model.encoder.x": torch.ones(2), "visual_projection.weight": torch.ones(1024, 2)}
    return {
        **_networks(SD2),
        "sd1": _networks(SD1)["checkpoint"],
        "encoder": nano_encoder().state_dict(),
        "clip vision": tagger,
    }


@pytest.fixture
def models(tmp_path, weights):
    """Makes a models folder of {path: what}, which is a key of `weights`, or bytes."""
    folder = tmp_path / "models"
    folder.mkdir()

    def make(files):
        for path, what in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, bytes):
                place.write_bytes(what)
            else:
                save_file({key: w.contiguous() for key, w in weights[what].items()}, place)
        return folder

    return make


@pytest.fixture
def everything():
    """What `fetch` brings for every preset and workflow."""
    return {
        "checkpoints/512-base-ema.safetensors": "checkpoint",
        "checkpoints/sd_turbo.safetensors": "checkpoint",
        "detection/sam2.1_hiera_tiny.safetensors": "encoder",
        "clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": "clip vision",
        "model_patches/srlab/unet/diffusion_pytorch_model.safetensors": "adapter",
        "model_patches/seesr/unet/diffusion_pytorch_model.safetensors": "adapter",
        "controlnet/srlab/controlnet/diffusion_pytorch_model.safetensors": "controlnet",
        "controlnet/seesr/controlnet/diffusion_pytorch_model.safetensors": "controlnet",
    }


@pytest.fixture
def record():
    """Writes down that a file below a models folder was fetched with that checksum."""

    def write(folder, target, sha256):
        known = {"sha256": sha256, "source": "https://hub.example/x", "published": {}, "date": "2026-11-01"}
        (folder / "ugc_sr_weights.json").write_text(json.dumps({target: known}))

    return write
