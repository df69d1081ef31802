"""Conversion of published weights to one safetensors file, with the checks that the loader nodes make."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import atomic_write
from . import files, layout, pickles, weights
from .convert import DUPLICATED, fold_tokens
from .weights import UnsupportedWeightsError

VERSION = "1"  # of the metadata
# safetensors' names; 8-bit floats are kept as they are
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
_HALF = torch.finfo(torch.float16).max
_CHUNK = 1 << 22


class BeyondHalfError(ValueError):
    """A value is too large for float16."""


@dataclass(frozen=True)
class Written:
    """The outcome of a conversion."""

    path: Path
    kind: str
    tensors: int
    parameters: int
    size: int  # bytes
    sha256: str


def read(source: Path) -> dict[str, Tensor]:
    """Return the tensors of a published file or folder; they are mapped from it, not read into memory.

    Raises:
        FileNotFoundError: if it is missing.
        UnsupportedWeightsError: if it can't be read without running code, or is damaged.
    """
    tensors: dict[str, Tensor] = {}
    for part in files.parts(source):
        pickled = part.suffix.lower() in files.PICKLED
        tensors |= pickles.read(part) if pickled else files.read(part)
    files.check_index(source, tensors)
    return pickles.strip(tensors)


def check(state_dict: Mapping[str, Tensor], kind: str, name: str) -> Mapping[str, Tensor]:
    """Return the weights in the host's layout, if the loader node of that kind would load them.

    Raises:
        UnsupportedWeightsError: if the node would refuse them, with the same message.
    """
    if kind != "encoder":
        return layout.converted(state_dict, kind, name)
    from .segmenter import build_encoder

    build_encoder(state_dict, name)
    return state_dict


def convert(
    source: Path,
    target: Path,
    *,
    kind: str = "auto",
    half: bool = False,
    fold: bool = False,
    adapter_only: bool = False,
    force: bool = False,
) -> Written:
    """Write `source` as one safetensors file; nothing is written unless every check passes.

    One tensor is in memory at a time. Two exceptions: a SAM2.1 encoder is built once to check it, and files
    in the format from before PyTorch 1.6 are read whole.

    Args:
        source: a file of PyTorch or safetensors, the index of its parts, or a folder of diffusers.
        target: a .safetensors file.
        kind: "adapter", "controlnet" or "encoder"; "auto" detects it from the keys.
        half: store float16.
        fold: halve the token projections of image attentions that take SAM2's 256 channels twice.
        adapter_only: write a UNet's image attentions without its copy of the base model.
        force: write over an existing file.

    Raises:
        FileNotFoundError: if the source, or the folder of the target, is missing.
        FileExistsError: if the target exists and `force` is off.
        ValueError: if the options contradict each other, or float16 can't hold a value.
        UnsupportedWeightsError: if no node of this extension loads the source.
    """
    _check_target(source, target, force)
    state_dict = read(source)
    name = source.resolve().name
    kind = weights.detect(state_dict) if kind == "auto" else kind
    if kind not in weights.OURS:
        raise UnsupportedWeightsError(
            f"'{name}' is {weights.describe(state_dict)}, which needs no conversion here. "
            f"{weights.KINDS[kind].advice}"
        )
    check(state_dict, kind, name)
    if adapter_only:
        state_dict = _image_attentions(state_dict, kind)
    if fold:
        state_dict = _folded(state_dict, kind)
    _check_values(state_dict, half)
    metadata = _metadata(source, kind, fold=fold, half=half)
    digest = write(target, state_dict, metadata, torch.float16 if half else None)
    parameters = sum(tensor.numel() for tensor in state_dict.values())
    return Written(target, kind, len(state_dict), parameters, target.stat().st_size, digest)


def write(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype | None = None
) -> str:
    """Write a safetensors file atomically, with one tensor in memory at a time, and return its sha256.

    `dtype` None keeps each tensor's own type. Source of the format: huggingface.co/docs/safetensors.
    """
    digest = hashlib.sha256()
    with atomic_write(path) as temporary, temporary.open("xb") as file:
        for piece in _pieces(tensors, metadata, dtype):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def sha256(path: Path, progress: Callable[[int], object] | None = None) -> str:
    """Return the checksum of a file in hexadecimal digits; `progress` gets each number of bytes read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress:
                progress(len(chunk))
    return digest.hexdigest()


def _pieces(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype | None
) -> Iterator[bytes | memoryview]:
    # wide elements first, so that every tensor begins at a multiple of its element's size
    order = sorted(tensors, key=lambda key: (-(dtype or tensors[key].dtype).itemsize, key))
    header: dict[str, dict] = {"__metadata__": dict(metadata)}
    end = 0
    for key in order:
        stored = dtype or tensors[key].dtype
        start, end = end, end + tensors[key].numel() * stored.itemsize
        header[key] = {
            "dtype": DTYPES[stored],
            "shape": list(tensors[key].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for key in order:
        flat = tensors[key].to(dtype or tensors[key].dtype).contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data


def _metadata(source: Path, kind: str, *, fold: bool, half: bool) -> dict[str, str]:
    parts = files.parts(source)
    return {
        "format": "pt",
        "ugcsr_version": VERSION,
        "ugcsr_kind": kind,
        "ugcsr_source": ", ".join(part.name for part in parts),
        "ugcsr_source_sha256": ", ".join(map(sha256, parts)),
        "ugcsr_folded": str(fold).lower(),
        "ugcsr_dtype": "float16" if half else "as published",
    }


def _check_target(source: Path, target: Path, force: bool) -> None:
    """Refuse a target that can't be written.

    Raises:
        ValueError: if its suffix isn't .safetensors, or it is the source itself.
        FileNotFoundError: if its folder is missing.
        FileExistsError: if it exists and `force` is off.
    """
    if target.suffix.lower() != files.SAFE or target.is_dir():
        raise ValueError(f"DST must be a file that ends in {files.SAFE}; got '{target}'.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder '{target.parent}' to write '{target.name}' into.")
    if target.exists():
        inside = source.is_dir() and target.resolve().parent == source.resolve()
        if target.resolve() == source.resolve() or inside:
            raise ValueError(f"DST '{target}' is the source itself. Give another name.")
        if not force:
            raise FileExistsError(f"'{target}' is already there. Give another name, or --force.")


def _image_attentions(state_dict: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return the image attentions of a UNet.

    Raises:
        ValueError: if the weights are of another kind.
    """
    if kind != "adapter":
        raise ValueError(f"--adapter-only is for a UNet; this is {weights.KINDS[kind].what}.")
    return {key: weight for key, weight in state_dict.items() if ".image_attentions." in key}


def _folded(state_dict: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return the weights with token projections of half the width.

    Raises:
        ValueError: if no projection has the width of duplicated tokens.
    """
    if kind == "encoder":
        raise ValueError("--fold is for a UNet or ControlNet; an encoder has no token projections.")
    folded = fold_tokens(state_dict)
    if all(folded[key] is weight for key, weight in state_dict.items()):
        raise ValueError(
            f"--fold needs token projections {DUPLICATED} wide, for SAM2's 256 channels given twice; this "
            "file has others. Leave --fold out."
        )
    return folded


def _check_values(state_dict: Mapping[str, Tensor], half: bool) -> None:
    """Refuse values that can't be stored.

    Raises:
        ValueError: if a tensor isn't floating-point, or a value isn't finite; the message names the tensor.
        BeyondHalfError: if a value is finite but too large for float16.
    """
    for key, weight in state_dict.items():
        if weight.dtype not in DTYPES:
            raise ValueError(f"'{key}' is {weight.dtype}; weights of this kind are floating-point numbers.")
        if weight.numel() == 0:
            continue
        # torch has no aminmax of 8-bit floats
        low, high = torch.aminmax(weight.float() if weight.dtype.itemsize == 1 else weight)
        if not (low > -math.inf and high < math.inf):
            raise ValueError(f"'{key}' holds NaN or infinite values. The file is damaged; get it again.")
        largest = max(-low.item(), high.item())
        if half and largest > _HALF:
            raise BeyondHalfError(
                f"'{key}' reaches {largest:g}, beyond {_HALF:g}, the largest float16. Leave --half out."
            )
