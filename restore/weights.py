"""The weights that a workflow uses: their names, and the checksums of those that this machine can read."""

from __future__ import annotations

import glob
import hashlib
import re
from pathlib import Path

from ..sample.presets import Graph
from .server import CHECKOUT

BUNDLED = CHECKOUT / "models" / "bundled" / "nano.safetensors"
BLOCK = 1 << 20
# Input of a loader, or of one class of loaders only -> folders of models/ that it reads.
FOLDERS = {
    "adapter_name": ("model_patches",),
    "encoder_name": ("sam2",),
    "control_net_name": ("controlnet", "t2i_adapter"),
    "ckpt_name": ("checkpoints",),
    "unet_name": ("unet", "diffusion_models"),
    "vae_name": ("vae", "vae_approx"),
    "lora_name": ("loras",),
    "clip_name": ("text_encoders", "clip"),
    "CLIPVisionLoader.clip_name": ("clip_vision",),
    "UpscaleModelLoader.model_name": ("upscale_models",),
    "style_model_name": ("style_models",),
}


def checksums(graph: Graph, models: Path | None) -> dict[str, str | None]:
    """Return name -> sha256 of each file of weights; None for a file that can't be identified.

    That is a file that isn't below `models`, or whose loader isn't known here while several folders hold
    different files of that name. The name of a folder gives the .safetensors files in it. A name that loaders
    read from several folders has the folder in front.
    """
    found: dict[str, str | None] = {}
    if any(node["class_type"] == "UGCSR_LoadNanoModel" for node in graph.values()):
        found[BUNDLED.name] = _sha256(BUNDLED)
    read: dict[str, set[tuple[str, ...]]] = {}
    for node in graph.values():
        for socket, name in node["inputs"].items():
            if isinstance(name, str) and re.search(r"_name\d*$", socket) and socket != "sampler_name":
                exact = FOLDERS.get(f"{node['class_type']}.{socket}")
                folders = exact or FOLDERS.get(socket.rstrip("0123456789")) or ("*",)
                read.setdefault(name, set()).add(folders)
    for name, places in sorted(read.items()):
        for folders in sorted(places):
            label = name if len(places) == 1 else f"{folders[0]}/{name}"
            found |= _checksums(label, name, folders, models)
    return found


def _checksums(label: str, name: str, folders: tuple[str, ...], models: Path | None) -> dict[str, str | None]:
    if models is None or ".." in Path(name).parts:
        return {label: None}
    pattern = glob.escape(name)
    places = [place for folder in folders for place in sorted(models.glob(f"{folder}/{pattern}"))]
    each = [_content(label, place) for place in (places if folders == ("*",) else places[:1])]
    return each[0] if each and each.count(each[0]) == len(each) else {label: None}


def _content(label: str, place: Path) -> dict[str, str | None]:
    if place.is_dir():
        files = sorted(file for file in place.glob("*.safetensors") if file.is_file())
        return {f"{label}/{file.name}": _sha256(file) for file in files} or {label: None}
    return {label: _sha256(place) if place.is_file() else None}


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
