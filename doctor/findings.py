"""Findings on each file of weights that a loader lists: its kind, its state, and the repair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..models import catalogue, files, repack, weights
from ..models.entry import Weights
from ..models.weights import UnsupportedWeightsError

FITS, OTHER, WRONG, UNSEEN = "fits", "other", "wrong", "unseen"
LOADERS = {
    "checkpoint": "Load Checkpoint",
    **{kind: repack.NODES[kind] for kind in ("encoder", "adapter", "controlnet")},
    "clip vision": "Load CLIP Vision",
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
_PICKLED = {"encoder": "sam2", "adapter": "", "controlnet": "srlab|seesr"}  # regex of likely names
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
        mend: the steps that repair the fault.
    """

    kind: str
    name: str
    path: Path | None
    state: str
    what: str
    base: str = ""
    why: str = ""
    mend: str = ""

    @property
    def plain(self) -> str:
        """The name with forward slashes, as in the table of weights."""
        return self.name.replace("\\", "/")

    @property
    def parts(self) -> list[Path]:
        """The paths of its files; several for a folder of parts."""
        return files.parts(self.path) if self.path else []


def look(kind: str, name: str, path: Path | None) -> Finding:
    """Return the finding on a file by its tensors' names and shapes; only SAM2.1 encoders are read."""
    if path is None:
        return Finding(kind, name, None, UNSEEN, "not visible from here")
    try:
        tensors: dict[str, Tensor] = {}
        for part in files.parts(path):
            if part.suffix.lower() in files.PICKLED:
                return Finding(kind, name, path, OTHER, "a pickle, which was not opened")
            tensors |= _shapes(part)
        files.check_index(path, tensors)
    except (UnsupportedWeightsError, OSError) as error:
        told = re.sub(r"\. Download (it|the folder) again.*", ".", " ".join(str(error).split()))
        why = told if f"'{name}'" in told else f"'{name}': {told}"
        return _wrong(kind, name, path, "damaged", why)
    return _judge(kind, name, path, tensors)


def pickle(kind: str, name: str, path: Path) -> Finding:
    """Return the finding on a pickle, which no loader lists: WRONG if its name suggests published weights."""
    if not (path.is_dir() or re.search(_PICKLED[kind], name.lower())):
        return Finding(kind, name, path, OTHER, "a pickle, which was not opened")
    stem = name if path.is_dir() else str(Path(name).with_suffix(""))
    target = path.with_name(Path(stem).name + files.SAFE)
    mend = f'{catalogue.PROGRAM} convert "{path}" "{target}"'
    why = f"'{name}' is a pickle, which may run code when opened, so {LOADERS[kind]} does not list it."
    return Finding(kind, name, path, WRONG, "a pickle", why=why, mend=mend)


def entry_of(kind: str, name: str) -> Weights | None:
    """Return the entry of the table of weights with that kind and name; None if there is none."""
    plain = name.replace("\\", "/")
    return next((e for e in catalogue.WEIGHTS if e.kind == kind and e.saved == plain), None)


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
    found, what = weights.detect(tensors), weights.describe(tensors)
    if found == "unknown":
        what = "of an unknown kind"
    if found == kind:
        if kind == "checkpoint":
            return _checkpoint(name, path, tensors)
        if kind == "clip vision":
            return _clip_vision(name, path, tensors)
        return _network(kind, name, path, files.read(path) if kind == "encoder" else tensors)
    wanted = entry_of(kind, name)
    if found in repack.NODES:
        mend = _move(found, kind, name, path)
        why = f"'{name}' is {what}; {LOADERS[kind]} lists it and can't use it."
        return Finding(kind, name, path, WRONG, what, why=why, mend=mend)
    if wanted:
        why = f"'{name}' is {what}; expected {title(wanted)}."
        return _wrong(kind, name, path, what, why)
    return Finding(kind, name, path, OTHER, what)


def _network(kind: str, name: str, path: Path, tensors: Mapping[str, Tensor]) -> Finding:
    what = weights.describe(tensors)
    try:
        repack.check(tensors, kind, name)
    except UnsupportedWeightsError as error:
        return _wrong(kind, name, path, what, str(error))
    except RuntimeError as error:  # the package sam2 is missing, which is reported with the machine
        return Finding(kind, name, path, UNSEEN, f"{what}, not checked: {error}")
    return Finding(kind, name, path, FITS, what)


def _checkpoint(name: str, path: Path, tensors: Mapping[str, Tensor]) -> Finding:
    what, lack = weights.describe(tensors), _lack(tensors, path)
    family = weights.family(tensors)
    if family == "Stable Diffusion 2" and not lack:
        base = TURBO if "turbo" in name.lower() else SD2
        return Finding("checkpoint", name, path, FITS, what, base=base)
    what = f"{what}, {lack}" if family == "Stable Diffusion 2" else what
    wanted = entry_of("checkpoint", name)
    if wanted is None:
        return Finding("checkpoint", name, path, OTHER, what)
    why = f"'{name}' is {what}; expected {title(wanted)}."
    return _wrong("checkpoint", name, path, what, why)


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


def _clip_vision(name: str, path: Path, tensors: Mapping[str, Tensor]) -> Finding:
    projection = tensors.get("visual_projection.weight")
    width = "unknown" if projection is None else projection.shape[0]
    if width == _TAGGER:
        return Finding("clip vision", name, path, FITS, "CLIP vision H")
    what = f"another CLIP vision model ({width} wide, not {_TAGGER})"
    if (wanted := entry_of("clip vision", name)) is None:
        return Finding("clip vision", name, path, OTHER, what)
    why = f"'{name}' is {what}; expected {title(wanted)}."
    return _wrong("clip vision", name, path, what, why)


def title(entry: Weights) -> str:
    """Return a description of an entry for messages."""
    return _TITLES.get(entry.kind) or f"the {entry.purpose}"


def _move(kind: str, listed_as: str, name: str, path: Path) -> str:
    """Return the instruction for moving a network from another kind's folder to its own."""
    swapped = {"adapter": ("controlnet", "unet"), "controlnet": ("unet", "controlnet")}
    before, after = swapped.get(kind, ("", ""))
    plain = name.replace("\\", "/")
    own = plain[: -len(before)] + after if before and plain.endswith(f"/{before}") else plain
    folder = next(entry.folder for entry in catalogue.WEIGHTS if entry.kind == kind)
    root = path.parents[len(Path(plain).parts)]  # models/, of models/controlnet/srlab/unet
    place = root / folder / own
    if not place.exists():
        return f"Move {path} to {place}, which {LOADERS[kind]} reads."
    if _kind_of(place) == listed_as:
        return "Swap {} and {}.".format(*sorted(map(str, (path, place))))
    return f"Move {path} away: {place} is there already."


def _kind_of(place: Path) -> str:
    try:
        return weights.detect({key: w for part in files.parts(place) for key, w in _shapes(part).items()})
    except (UnsupportedWeightsError, OSError):
        return "unknown"


def _wrong(kind: str, name: str, path: Path, what: str, why: str) -> Finding:
    found = Finding(kind, name, path, WRONG, what, why=why)
    return replace(found, mend=replacement(found))


def replacement(found: Finding) -> str:
    """Return the instruction for replacing a wrong file with the right one."""
    entry = entry_of(found.kind, found.name)
    if entry is None:
        return f"Delete {found.path}, and get it again from where it came from."
    return f"Move {found.path} away, then: {catalogue.command(entry.saved)}"
