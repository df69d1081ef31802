"""Tagging of photos with words from a list, by the host's CLIP models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from comfy.sd1_clip import SDClipModel
from torch import Tensor
from torch.nn import functional as F

from ..sample.presets import clean_tags
from ..sample.tiles import split
from .progress import progress

SHIPPED = Path(__file__).with_name("tags.txt")
TEMPLATES = ("a photo of {}", "a blurry photo of {}", "a photo that shows {}")  # assumed; not measured
AT_ONCE = 32  # tags in one batch of the text tower; their activations take some hundred MB
SHARPNESS = 100  # factor of CLIP's cosines before the softmax, as at the end of its training
ONE_CLIP = (
    "Take both towers from one CLIP. For Stable Diffusion 2: 'clip' of its checkpoint "
    "512-base-ema.safetensors and CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors in models/clip_vision."
)


@dataclass(frozen=True, eq=False)
class Tags:
    """Tags with their CLIP embeddings.

    Attributes:
        names: N tags.
        embeddings: (N, D) of length 1, the mean over the templates.
    """

    names: tuple[str, ...]
    embeddings: Tensor


def shipped_tags() -> list[str]:
    """Return the tags that are shipped with the extension; lines with # in the file are headings."""
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    return clean_tags("\n".join(line for line in lines if not line.startswith("#")))


def encode_tags(clip: Any, text: str) -> Tags:
    """Return the tags in `text`, or the shipped ones if it is empty, with their embeddings.

    Raises:
        ValueError: if the text tower has no pooled embedding or lacks its projection.
    """
    names = clean_tags(text) or shipped_tags()
    done = progress(len(names))
    means = []
    for start in range(0, len(names), AT_ONCE):
        batch = names[start : start + AT_ONCE]
        texts = _embed(clip, [template.format(name) for name in batch for template in TEMPLATES])
        means.append(F.normalize(texts, dim=1).unflatten(0, (len(batch), -1)).mean(dim=1))
        done(start + len(batch))
    return Tags(tuple(names), F.normalize(torch.cat(means), dim=1))


def tag_photos(clip_vision: Any, tags: Tags, image: Tensor, count: int, threshold: float) -> list[str]:
    """Return the best tags of each photo (B, H, W, C) in [0, 1], the most probable first, joined by commas.

    Args:
        clip_vision: image tower of the CLIP that encoded the tags.
        tags: tags to choose from.
        image: photos, as an IMAGE.
        count: largest number of tags for a photo.
        threshold: least probability of a tag, as a share of the best one's.

    Raises:
        ValueError: if the two towers aren't of one CLIP.
    """
    if clip_vision.model_type != "clip_vision_model":
        raise ValueError(
            f"'clip_vision' is a {clip_vision.model_type}, which has no text tower in ComfyUI. " + ONE_CLIP
        )
    return [_tag(_look(clip_vision, photo), tags, count, threshold) for photo in image.split(1)]


def _embed(clip: Any, texts: Sequence[str]) -> Tensor:
    """Return the pooled embeddings (N, D) of N texts, in the space of the image embeddings.

    The host encodes the parts of a long text in one batch, and returns the embedding of the first part. The N
    texts are passed as such parts, and the embeddings of all are taken from the tower that returned the first
    one.

    Raises:
        ValueError: as `encode_tags`.
    """
    tokens = [clip.tokenize(text) for text in texts]
    parts = {tower: [each[tower][0] for each in tokens] for tower in tokens[0]}
    made: list[Tensor] = []
    towers = [module for module in clip.cond_stage_model.modules() if isinstance(module, SDClipModel)]
    watches = [
        tower.register_forward_hook(lambda _module, _args, out: made.append(out[1])) for tower in towers
    ]
    try:
        first = _whole(clip.encode_from_tokens(parts, return_pooled=True)[1])
    finally:
        for watch in watches:
            watch.remove()
    for pooled in made:
        if pooled is not None and torch.equal(pooled[:1].to(first), first):
            return _whole(pooled[: len(texts)].to(first.device))
    # The host has concatenated the embeddings of several towers.
    return torch.cat([_whole(clip.encode_from_tokens(each, return_pooled=True)[1]) for each in tokens])


def _whole(pooled: Tensor | None) -> Tensor:
    """Return the pooled embeddings (N, D) of the host in float32.

    Raises:
        ValueError: as `encode_tags`.
    """
    if pooled is None:
        raise ValueError(f"'clip' has no embedding for a text as a whole, so it is no CLIP. {ONE_CLIP}")
    # Weights that a file lacks are left uninitialised by the host, mostly zeros.
    if not pooled.isfinite().all() or not pooled.any(dim=1).all():
        raise ValueError(
            f"the text tower in 'clip' lacks its projection, as those of diffusers folders do; "
            f"without it texts don't lie beside images. {ONE_CLIP}"
        )
    return pooled.float()


def _look(clip_vision: Any, photo: Tensor) -> Tensor:
    """Return the image embedding (D,) of a photo (1, H, W, C), of length 1.

    It is the mean over the fewest squares that cover the photo.
    """
    height, width = photo.shape[1:3]
    squares = split(height, width, tile=min(height, width), overlap=0)
    views = [square.of(photo.movedim(-1, 1)).movedim(1, -1) for square in squares]
    seen = torch.cat([clip_vision.encode_image(view)["image_embeds"].float() for view in views])
    return F.normalize(F.normalize(seen, dim=1).mean(dim=0), dim=0)


def _tag(seen: Tensor, tags: Tags, count: int, threshold: float) -> str:
    """Return the tags of a photo with the image embedding `seen` (D,), joined by commas.

    Raises:
        ValueError: if the tags have another width.
    """
    if len(seen) != tags.embeddings.shape[1]:
        raise ValueError(
            f"'tags' are {tags.embeddings.shape[1]} wide, but 'clip_vision' gives {len(seen)}. " + ONE_CLIP
        )
    chances = (SHARPNESS * tags.embeddings.to(seen) @ seen).softmax(dim=0)
    best, order = chances.sort(descending=True, stable=True)
    enough = int((best >= threshold * best[0]).sum())
    return ", ".join(tags.names[index] for index in order[: min(count, enough)])
