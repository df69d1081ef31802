"""Where weights files lie in ComfyUI, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import comfy.utils
import folder_paths
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..models.weights import UnsupportedWeightsError


@dataclass(frozen=True)
class Kind:
    """One sort of weights: the folders under models/ that may hold it, in the order they are searched."""

    folders: tuple[str, ...]
    wanted: str


KINDS = {
    "encoder": Kind(
        ("detection", "sam2"), wanted="a SAM2.1 checkpoint, for example sam2.1_hiera_tiny.safetensors"
    ),
    "adapter": Kind(("model_patches",), wanted="the UNet of SeeSR or SRlab"),
    "controlnet": Kind(("controlnet",), wanted="the ControlNet of SeeSR or SRlab"),
}


def names(kind: str) -> list[str]:
    """Names of the .safetensors files of a kind, for a combo; empty when there is none."""
    _register_sam2()
    found = {name for folder in KINDS[kind].folders for name in folder_paths.get_filename_list(folder)}
    return sorted(name for name in found if _is_safetensors(name))


def problem(kind: str, name: str | None) -> str | None:
    """What to tell the user when there is no such file, else None.

    `name` is None where the widget is linked to another node: the file is only known when the graph runs.
    """
    return None if name is None or name in names(kind) else _missing(kind, name)


def fingerprint(kind: str, name: str | None) -> str:
    """Changes when the file does; empty where the widget is linked to another node.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if name is None:
        return ""
    stat = _locate(kind, name).stat()
    return f"{name}:{stat.st_mtime_ns}:{stat.st_size}"


def load_weights(kind: str, name: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        UnsupportedWeightsError: if it is not a whole safetensors file with tensors in it.
    """
    path = _locate(kind, name)
    try:
        with safe_open(path, framework="pt") as file:
            empty = not file.keys()
    except (SafetensorError, OSError) as error:
        raise UnsupportedWeightsError(f"'{name}' {_damage(path)} ({error}).") from error
    if empty:
        raise UnsupportedWeightsError(f"'{name}' holds no tensors. Download it again.")
    # The host's reader, because it maps the file instead of copying it where the host can.
    return cast("dict[str, Tensor]", comfy.utils.load_torch_file(str(path), safe_load=True))


def _damage(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    if not start:
        return "is an empty file. Download it again"
    if start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":
        return (
            "is a PyTorch pickle under another name, which may run code when opened. "
            "Get the .safetensors file, or convert it on a computer that you trust"
        )
    if start[8:] == b"{":
        return "is cut short or damaged. Download it again"
    return "is not a safetensors file. Download it again"


def _locate(kind: str, name: str) -> Path:
    _register_sam2()
    if name and _is_safetensors(name):
        for folder in KINDS[kind].folders:
            path = folder_paths.get_full_path(folder, name)
            if path is not None:
                return Path(path)
    raise FileNotFoundError(_missing(kind, name))


def _missing(kind: str, name: str) -> str:
    where = " or ".join(f"models/{folder}" for folder in KINDS[kind].folders)
    found = f"There is no file '{name}' in {where}" if name else f"No file of {where} is chosen"
    return f"{found}. Put {KINDS[kind].wanted}, saved as .safetensors, there; then press R and choose it."


def _is_safetensors(name: str) -> bool:
    return name.lower().endswith(".safetensors")


def _register_sam2() -> None:
    """Add models/sam2 behind the folders that the user or another extension gave that name."""
    new = "sam2" not in folder_paths.folder_names_and_paths
    folder_paths.add_model_folder_path("sam2", str(Path(folder_paths.models_dir) / "sam2"))
    if new:  # a new name lists every file until it is given extensions
        folder_paths.folder_names_and_paths["sam2"][1].update(folder_paths.supported_pt_extensions)
