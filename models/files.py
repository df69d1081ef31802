"""Readers of published weights: one safetensors file, parts with an index, or a folder of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import brief, parse_json, portable, read_text
from .architecture import HEAD_DIM
from .weights import UnsupportedWeightsError

STEM = "diffusion_pytorch_model"  # name of the weights in a folder in diffusers' layout
SAFE = ".safetensors"
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
INDEX = ".index.json"


def parts(source: Path) -> list[Path]:
    """Return the files with the tensors of `source`: a file, an index of parts, or a folder of diffusers.

    Raises:
        FileNotFoundError: if the source or one of its parts is missing.
        UnsupportedWeightsError: if the folder holds something else, or heads of another width.
    """
    if source.is_dir():
        return parts(_of_folder(source))
    if source.name.endswith(INDEX):
        return _of_index(source)
    if not source.is_file():
        raise FileNotFoundError(f"There is no file or folder '{source}'.")
    return [source]


def read(source: Path) -> dict[str, Tensor]:
    """Return the tensors of safetensors parts; they are mapped from the files, not read into memory.

    Raises:
        UnsupportedWeightsError: if a part isn't a whole safetensors file, or no part holds a tensor.
    """
    tensors: dict[str, Tensor] = {}
    for part in parts(source):
        check(part)
        with safe_open(part, framework="pt") as file:
            tensors.update((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118 - no mapping
    return tensors


def check(path: Path, name: str | None = None) -> None:
    """Refuse a file that isn't a whole safetensors file with tensors; messages call it `name`.

    Raises:
        UnsupportedWeightsError: if it isn't; the message says what the file seems to be.
    """
    name = path.name if name is None else name
    try:
        with safe_open(path, framework="pt") as file:
            empty = not file.keys()
    except (SafetensorError, OSError) as error:
        raise UnsupportedWeightsError(f"'{name}' {_damage(path)} ({error}).") from error
    if empty:
        raise UnsupportedWeightsError(f"'{name}' holds no tensors. Download it again.")


def check_index(folder_or_index: Path, state_dict: Mapping[str, Tensor]) -> None:
    """Refuse parts that lack a tensor that their index lists.

    Raises:
        UnsupportedWeightsError: if a tensor is missing; the message names the first.
    """
    index = _of_folder(folder_or_index) if folder_or_index.is_dir() else folder_or_index
    if not index.name.endswith(INDEX):
        return
    for key in _weight_map(index):
        if key not in state_dict:
            raise UnsupportedWeightsError(
                f"'{index.name}' promises '{key}', which is in none of its parts. Download the folder again."
            )


def _damage(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    if not start:
        return "is an empty file. Download it again"
    if start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":
        return (
            "is a PyTorch pickle under another name, which may run code when opened. "
            "Get the .safetensors file, or convert it on a computer that you trust: give it its own "
            "ending, .pt, then python -m ugc_sr.models convert"
        )
    if start == b"version h":
        return "is a note of Git LFS in place of the file. Download it again, through the browser"
    if start[8:] == b"{":
        return "is cut short or damaged. Download it again"
    if start.lstrip().startswith(b"<"):
        return (
            "is a web page, such as a login or a note that a quota is used up, saved in place of the file. "
            "Download it again"
        )
    return "is not a safetensors file. Download it again"


def _of_folder(folder: Path) -> Path:
    """Return the file or index in a folder in diffusers' layout; safetensors before pickles.

    Raises:
        FileNotFoundError: if the folder has a config.json without weights.
        UnsupportedWeightsError: if the folder has another layout.
    """
    for name in (f"{STEM}{SAFE}", f"{STEM}{SAFE}{INDEX}", f"{STEM}.bin", f"{STEM}.bin{INDEX}"):
        if (folder / name).is_file():
            _check_heads(folder)
            return folder / name
    inner = [name for name in ("unet", "controlnet") if (folder / name).is_dir()]
    if inner:
        raise UnsupportedWeightsError(
            f"'{folder.name}' is a whole set. Choose one of its folders: {' or '.join(inner)}."
        )
    if (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"The folder '{folder.name}' has its config.json but not its weights, {STEM}{SAFE}. "
            "Download the folder again."
        )
    raise UnsupportedWeightsError(
        f"The folder '{folder.name}' holds no {STEM}{SAFE} (or .bin). Choose a folder such as "
        "seesr/unet or seesr/controlnet, or a file."
    )


def _of_index(index: Path) -> list[Path]:
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        if Path(name).name != name or not portable(name):
            raise UnsupportedWeightsError(f"'{index.name}' names {brief(name)}, which is no file beside it.")
        if not (index.parent / name).is_file():
            raise FileNotFoundError(
                f"'{index.name}' needs {len(names)} parts, but '{name}' is missing beside it. Download it."
            )
    return [index.parent / name for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    table = _json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(v, str) for v in table.values()):
        raise UnsupportedWeightsError(f"'{index.name}' is no index of weights: it has no 'weight_map'.")
    return table


def _json(path: Path) -> dict:
    try:
        content = parse_json(read_text(path))
    except ValueError as error:
        raise UnsupportedWeightsError(
            f"'{path.name}' is not JSON ({error}). Download the folder again."
        ) from error
    return content if isinstance(content, dict) else {}


def _check_heads(folder: Path) -> None:
    """Refuse heads of another width than this extension uses; only config.json states the width.

    Raises:
        UnsupportedWeightsError: if a level has another width; the message names the first.
    """
    if not (folder / "config.json").is_file():
        return
    config = _json(folder / "config.json")
    widths = config.get("block_out_channels")
    # attention_head_dim holds the number of heads in diffusers, unless num_attention_heads is set
    heads = config.get("num_attention_heads") or config.get("attention_head_dim")
    if not isinstance(widths, list) or not heads:
        return
    counts = heads if isinstance(heads, list) else [heads] * len(widths)
    for width, count in zip(widths, counts, strict=False):
        if not isinstance(width, int) or not isinstance(count, int):
            raise UnsupportedWeightsError(
                f"The config.json of '{folder.name}' has {count!r} heads for {width!r} channels; expected "
                "whole numbers. Download the folder again."
            )
        if width != count * HEAD_DIM:
            raise UnsupportedWeightsError(
                f"The network in '{folder.name}' has {count} heads for {width} channels; expected "
                f"{width // HEAD_DIM}, each {HEAD_DIM} wide. It was made for another base model than "
                "Stable Diffusion 2."
            )
