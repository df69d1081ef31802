"""Findings on each file of weights that a loader lists: its kind, its state, and the repair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..models import catalogue, files, repack, weights
from ..models.entry import Weights
from ..models.weights import UnsupportedWeightsError

FITS, OTHER, WRONG, UNSEEN = "fits", "other", "wrong", "unseen"
LOADERS = {
    kind: weights.KINDS[kind].loader
    for kind in ("checkpoint", "encoder", "adapter", "controlnet", "clip vision")
}
SD2, TURBO = "sd2", "sd_turbo"  # base models of the same keys and shapes
_UNET = "model.diffusion_model."
_PREDICTS_V = f"{_UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
_SPREAD_OF_V = 0.09  # limit of its standard deviation, above which ComfyUI assumes a base that predicts v
_TITLES = {
    "encoder": "the SAM2.1 encoder that reads the photo",
    "adapter": "the semantic adapter, of a UNet with image attentions",
    "controlnet": "the semantic ControlNet",
    "clip vision": "CLIP vision H, which finds tags",
}
# Regex of the names of published weights, for pickles; other kinds may be pickles.
_PUBLISHED = {"encoder": "sam2", "adapter": "", "controlnet": "srlab|seesr"}
_TYPES = {name: dtype for dtype, name in repack.DTYPES.items()}
_TAGGER = 1024  # width of the CLIP with Stable Diffusion 2's text tower


@dataclass(frozen=True)
class Finding:
    """The finding on one file, or on one folder of diffusers.

    Attributes:
        kind: the kind that its loader expects, one of LOADERS.
        name: its name in the loader's list.
        path: its path; None if it isn't visible from this machine.
        state: FITS, OTHER (not for this extension), WRONG or UNSEEN.
        what: a description of its content.
        base: SD2 or TURBO, for a checkpoint that fits.
        why: the fault, if it is WRONG.
        repair: the steps that repair the fault.
        sha256: part's name -> sha256; the recorded one if it wasn't computed now.
        origin: a description of its origin.
    """

    kind: str
    name: str
    path: Path | None
    state: str
    what: str
    base: str = ""
    why: str = ""
    repair: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    @property
    def plain(self) -> str:
        """The name with forward slashes, as in the table of weights."""
        return self.name.replace("\\", "/")

    @property
    def parts(self) -> list[Path]:
        """The paths of its files; several for a folder of parts."""
        return files.parts(self.path) if self.path else []


def look(kind: str, name: str, path: Path | None) -> Finding:
    """Return the finding on a file or folder by its tensors' names and shapes, for SAM2.1 also by values."""
    if path is None:
        return Finding(kind, name, None, UNSEEN, "not visible from here")
    try:
        parts = files.parts(path)
        if any(part.suffix.lower() in files.PICKLED for part in parts):
            return _pickle(kind, name, path)
        tensors = {key: weight for part in parts for key, weight in _shapes(part).items()}
        files.check_index(path, tensors)
    except (UnsupportedWeightsError, OSError) as error:
        message = re.sub(r"\. Download (it|the folder) again.*", ".", " ".join(str(error).split()))
        why = message if f"'{name}'" in message else f"'{name}': {message}"
        return _wrong(kind, name, path, "damaged", why)
    return _judge(kind, name, path, tensors)


def entry_of(kind: str, name: str) -> Weights | None:
    """Return the entry of the table of weights with that kind and name; None if there is none."""
    plain = name.replace("\\", "/")
    return next((e for e in catalogue.WEIGHTS if e.kind == kind and e.saved == plain), None)


def title(entry: Weights) -> str:
    """Return a description of an entry for messages."""
    return _TITLES.get(entry.kind) or f"the {entry.purpose}"


def replacement(found: Finding) -> str:
    """Return the instruction for replacing a wrong file with the right one."""
    entry = entry_of(found.kind, found.name)
    if entry is None:
        return f"Delete {found.path}, and get it again from where it came from."
    return f"Move {found.path} away, then: {catalogue.command(entry.saved)}"


def _pickle(kind: str, name: str, path: Path) -> Finding:
    """Return the finding on a pickle: WRONG if its name suggests published weights."""
    likely = path.is_dir() or (kind in _PUBLISHED and re.search(_PUBLISHED[kind], name.lower()))
    if not likely:
        return Finding(kind, name, path, OTHER, "a pickle, which was not opened")
    stem = path.name if path.is_dir() else path.stem
    repair = f'{catalogue.PROGRAM} convert "{path}" "{path.with_name(stem + files.SAFE)}"'
    why = f"'{name}' is a pickle, which may run code when opened, so {LOADERS[kind]} does not list it."
    return Finding(kind, name, path, WRONG, "a pickle", why=why, repair=repair)


def _shapes(part: Path) -> dict[str, Tensor]:
    """Return a safetensors file's tensors on the "meta" device, read from its header.

    Raises:
        UnsupportedWeightsError: if it isn't a whole safetensors file with tensors.
    """
    files.check(part)
    with safe_open(part, framework="pt") as file:
        heads = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        return {
            key: torch.empty(head.get_shape(), dtype=_TYPES.get(head.get_dtype(), torch.int64), device="meta")
            for key, head in heads.items()
        }


def _judge(kind: str, name: str, path: Path, tensors: Mapping[str, Tensor]) -> Finding:
    detected, what = weights.detect(tensors), weights.describe(tensors)
    if detected != kind:
        if detected in weights.OURS:
            why = f"'{name}' is {what}; {LOADERS[kind]} lists it and can't use it."
            repair = _move(detected, kind, name, path)
            return Finding(kind, name, path, WRONG, what, why=why, repair=repair)
        return _unsuitable(kind, name, path, "of an unknown kind" if detected == "unknown" else what)
    if kind in weights.OURS:
        return _network(kind, name, path, tensors, what)
    if kind == "clip vision":
        projection = tensors.get("visual_projection.weight")
        width = "unknown" if projection is None else projection.shape[0]
        if width == _TAGGER:
            return Finding(kind, name, path, FITS, "CLIP vision H")
        return _unsuitable(kind, name, path, f"another CLIP vision model ({width} wide, not {_TAGGER})")
    if weights.family(tensors) != "Stable Diffusion 2":
        return _unsuitable(kind, name, path, what)
    if lack := _lack(tensors, path):
        return _unsuitable(kind, name, path, f"{what}, {lack}")
    return Finding(kind, name, path, FITS, what, base=TURBO if "turbo" in name.lower() else SD2)


def _network(kind: str, name: str, path: Path, tensors: Mapping[str, Tensor], what: str) -> Finding:
    try:
        repack.check(files.read(path) if kind == "encoder" else tensors, kind, name)
    except UnsupportedWeightsError as error:
        return _wrong(kind, name, path, what, str(error))
    except RuntimeError as error:  # the package sam2 is missing, which is reported with the machine
        return Finding(kind, name, path, UNSEEN, f"{what}, not checked: {error}")
    return Finding(kind, name, path, FITS, what)


def _lack(tensors: Mapping[str, Tensor], path: Path) -> str:
    """Return the reason why a checkpoint of Stable Diffusion 2 isn't the base; empty if it is."""
    first = tensors.get(f"{_UNET}input_blocks.0.0.weight")
    if first is not None and first.shape[1] != 4:
        return f"made for another task: its first layer takes {first.shape[1]} channels, not 4"
    for part, called in (("first_stage_model.", "VAE"), ("cond_stage_model.", "text tower")):
        if not any(key.startswith(part) for key in tensors):
            return f"without its {called}"
    if _PREDICTS_V not in tensors:
        return ""
    with safe_open(path, framework="pt") as file:
        spread = file.get_tensor(_PREDICTS_V).float().std().item()
    if spread > _SPREAD_OF_V:
        return "one that predicts v, as those of 768 px do; the published weights need one of 512 px"
    return ""


def _unsuitable(kind: str, name: str, path: Path, what: str) -> Finding:
    """Return the finding OTHER, or WRONG if the table of weights has an entry with this name."""
    entry = entry_of(kind, name)
    if entry is None:
        return Finding(kind, name, path, OTHER, what)
    return _wrong(kind, name, path, what, f"'{name}' is {what}; expected {title(entry)}.")


def _wrong(kind: str, name: str, path: Path, what: str, why: str) -> Finding:
    found = Finding(kind, name, path, WRONG, what, why=why)
    return replace(found, repair=replacement(found))


def _move(kind: str, listed_as: str, name: str, path: Path) -> str:
    """Return the instruction for moving a network from another kind's folder to its own."""
    plain = name.replace("\\", "/")
    last = {"adapter": "unet", "controlnet": "controlnet"}.get(kind, r"\1")
    own = re.sub(r"(?<=/)(unet|controlnet)$", last, plain)
    folder = next(entry.folder for entry in catalogue.WEIGHTS if entry.kind == kind)
    root = path.parents[len(Path(plain).parts)]  # models/, of models/controlnet/srlab/unet
    place = root / folder / own
    if not place.exists():
        return f"Move {path} to {place}, which {LOADERS[kind]} reads."
    with suppress(UnsupportedWeightsError, OSError):
        there = {key: weight for part in files.parts(place) for key, weight in _shapes(part).items()}
        if weights.detect(there) == listed_as:
            return "Swap {} and {}.".format(*sorted(map(str, (path, place))))
    return f"Move {path} away: {place} is there already."
