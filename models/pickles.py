"""Reader of PyTorch's own files that never runs the code in a pickle. No node uses it."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .weights import UnsupportedWeightsError

# Keys under which training scripts store a state dict; averaged weights (EMA) come first.
WRAPPERS = ("params_ema", "state_dict", "model_state_dict", "model", "params", "module")
PREFIXES = ("module.", "_orig_mod.")
_DEPTH = 4
# The exceptions that torch.load was observed to raise for broken and hostile files.
_BROKEN = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError),
    *(AssertionError, MemoryError, struct.error),
)


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .pt, .pth, .bin or .ckpt file; they are mapped from it, not read into memory.

    Files in the format from before PyTorch 1.6 are read into memory whole.

    Raises:
        UnsupportedWeightsError: if the file needs code to be run, is damaged, or holds no state dict.
    """
    if path.stat().st_size == 0:
        raise UnsupportedWeightsError(f"'{path.name}' is an empty file. Download it again.")
    try:
        if zipped := zipfile.is_zipfile(path):
            _require_stored(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (pickle.UnpicklingError, zipfile.BadZipFile, *_BROKEN) as error:
        raise UnsupportedWeightsError(_refusal(path.name, str(error))) from None
    return unwrap(content, path.name)


def _require_stored(path: Path) -> None:
    """Refuse an archive with compressed entries: PyTorch writes none, and a small one may unpack to any size.

    Raises:
        ValueError: if there is one; the message names it.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"'{entry.filename}' is packed")


def unwrap(content: object, name: str) -> dict[str, Tensor]:
    """Return the state dict in a training script's checkpoint, without the prefixes of wrappers.

    Raises:
        UnsupportedWeightsError: if there is none, or it holds other values than tensors.
    """
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return _tensors(content, name)
        content = inner
    raise UnsupportedWeightsError(
        f"'{name}' holds {type(content).__name__}, not a dictionary of tensors. Use the file as published."
    )


def _tensors(content: Mapping, name: str) -> dict[str, Tensor]:
    if not content:
        raise UnsupportedWeightsError(f"'{name}' holds no tensors. Download it again.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UnsupportedWeightsError(
                f"'{name}' holds {type(value).__name__} under {key!r}; a state dict holds tensors alone. "
                "Use the file as published."
            )
        if not _is_plain(value):
            raise UnsupportedWeightsError(
                f"'{name}' holds a tensor under {key!r} that isn't stored in full, as weights are. "
                "Use the file as published."
            )
    return strip({key: value.detach() for key, value in content.items()})


def _is_plain(tensor: Tensor) -> bool:
    """Return True if the file holds each element once; an expanded view could have any size."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.itemsize <= tensor.untyped_storage().nbytes()


def strip(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict without the prefixes that wrappers of a network put in front of every key."""
    for prefix in PREFIXES:
        if state_dict and all(key.startswith(prefix) for key in state_dict):
            return strip({key.removeprefix(prefix): value for key, value in state_dict.items()})
    return state_dict


def _refusal(name: str, reason: str) -> str:
    # PyTorch's message goes on with how to run the code nevertheless, so it is cut.
    if wanted := re.search(r"GLOBAL ([\w.]+)", reason):
        return (
            f"'{name}' is a pickle that would run code when opened, so it was not: it wants '{wanted[1]}'. "
            "Get a file with tensors alone, or have its publisher save one."
        )
    return f"'{name}' is not a whole file of PyTorch. Download it again."
