"""ComfyUI's folders of weights, and reading of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import comfy.utils
import folder_paths
from torch import Tensor

from ..files import brief
from ..models import catalogue, files


@dataclass(frozen=True)
class Kind:
    """One kind of weights.

    Attributes:
        folders: folders under models/, in the order in which they are searched.
        wanted: description of a suitable file, for messages.
        usual: argument of `fetch` for a name that isn't in the catalogue.
    """

    folders: tuple[str, ...]
    wanted: str
    usual: str


KINDS = {
    "encoder": Kind(
        ("detection", "sam2"),
        wanted="a SAM2.1 checkpoint, for example sam2.1_hiera_tiny.safetensors",
        usual="sam2",
    ),
    "adapter": Kind(("model_patches",), wanted="the UNet of SeeSR or SRlab", usual="srlab"),
    "controlnet": Kind(("controlnet",), wanted="the ControlNet of SeeSR or SRlab", usual="srlab"),
}
_WEIGHTS = re.compile(rf"{files.STEM}(-\d+-of-\d+)?\.\w+")  # names of weights files in diffusers folders
_SHOWN = 3


def names(kind: str) -> list[str]:
    """Return the names for a combo: .safetensors files, and folders of diffusers with such files.

    The names in the host's own folders come first.
    """
    listed = (name for folder in _listed(kind) for name in folder if _is_safetensors(name))
    return list(dict.fromkeys(map(_entry, listed)))


def unlisted(kind: str) -> str:
    """Return a sentence for a tooltip about pickles, which can't be chosen; empty if there are none."""
    found = pickles(kind)
    if not found:
        return ""
    shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return (
        f" Not listed, because a pickle may run code: {shown}. Convert it once: {_command(kind, found[0])}."
    )


def problem(kind: str, name: object) -> str | None:
    """Return the error message if there is no such file, else None.

    `name` is None if the widget is linked to another node; the file is then known only when the graph runs.
    In a graph that was written by hand it may be of any type.
    """
    return None if name is None or _entry(str(name)) in names(kind) else _missing(kind, str(name))


def fingerprint(kind: str, name: str | None) -> str:
    """Return a text that changes when the file changes; empty if the widget is linked to another node.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if name is None:
        return ""
    stats = [part.stat() for part in files.parts(_locate(kind, name))]
    return ":".join([name, *(f"{stat.st_mtime_ns}:{stat.st_size}" for stat in stats)])


def load_weights(kind: str, name: str) -> dict[str, Tensor]:
    """Return the tensors of a file, or of a folder of diffusers, on the CPU.

    Raises:
        FileNotFoundError: if the file or a part of it is missing.
        UnsupportedWeightsError: if it isn't a complete safetensors file with tensors.
    """
    path = _locate(kind, name)
    tensors: dict[str, Tensor] = {}
    for part in files.parts(path):
        files.check(part, name)
        # The host's reader maps the file instead of copying it where possible.
        tensors |= cast("dict[str, Tensor]", comfy.utils.load_torch_file(str(part), safe_load=True))
    files.check_index(path, tensors)
    return tensors


def _listed(kind: str) -> list[list[str]]:
    """Return the names of all files for a kind, folder by folder."""
    _register_sam2()
    return [sorted(folder_paths.get_filename_list(folder)) for folder in KINDS[kind].folders]


def _entry(name: str) -> str:
    """Return the diffusers folder that holds the file, or the name itself if it isn't in one."""
    path = Path(name)
    return str(path.parent) if _WEIGHTS.fullmatch(path.name) and path.parent.name else name


def pickles(kind: str) -> list[str]:
    """Return the names of files and diffusers folders that need conversion, because they are pickles."""
    chosen = set(names(kind))
    found = (
        name for folder in _listed(kind) for name in folder if Path(name).suffix.lower() in files.PICKLED
    )
    return [entry for entry in dict.fromkeys(map(_entry, found)) if entry not in chosen]


def _command(kind: str, entry: str) -> str:
    """Return the command, for a terminal in custom_nodes, that converts a pickle or a folder of them."""
    source = _find(kind, entry, ".bin") or Path(entry)
    name = source.name if source.is_dir() else source.stem
    return f'{catalogue.PROGRAM} convert "{source}" "{source.with_name(name + files.SAFE)}"'


def _locate(kind: str, name: str) -> Path:
    """Return the path of a file or of a diffusers folder.

    Raises:
        FileNotFoundError: if there is neither.
    """
    path = _find(kind, _entry(name), files.SAFE) if name else None
    if path is None or not all(_is_safetensors(part.name) for part in files.parts(path)):
        raise FileNotFoundError(_missing(kind, name))
    return path


def _find(kind: str, entry: str, suffix: str) -> Path | None:
    """Return the first file with that name or diffusers folder with such weights, else None."""
    _register_sam2()
    inside = (f"{files.STEM}{suffix}", f"{files.STEM}{suffix}{files.INDEX}", "config.json")
    for folder in KINDS[kind].folders:
        if path := folder_paths.get_full_path(folder, entry):
            return Path(path)
        for name in inside:
            if path := folder_paths.get_full_path(folder, str(Path(entry, name))):
                return Path(path).parent
    return None


def _missing(kind: str, name: str | None) -> str:
    where = " or ".join(f"models/{folder}" for folder in KINDS[kind].folders)
    unopened = pickles(kind)
    if name and _entry(name) in unopened:
        return (
            f"'{name}' in {where} is a pickle, which may run code when opened, so no node opens it. Convert "
            f"it once, in a terminal in custom_nodes: {_command(kind, _entry(name))} - then press R and "
            "choose the new file."
        )
    found = f"There is no file {brief(name)} in {where}" if name else f"No file of {where} is chosen"
    return (
        f"{found}. In a terminal in custom_nodes, {_fetch(kind, name)} gets {KINDS[kind].wanted}. Then press "
        "R and choose it. Or put one there yourself, saved as .safetensors." + unlisted(kind)
    )


def _fetch(kind: str, name: str | None) -> str:
    """Return the command that downloads a file of the catalogue, or the usual one for another name."""
    wanted = (name or "").replace("\\", "/")
    known = next((one.fetch_name for one in catalogue.WEIGHTS if one.saved == wanted), KINDS[kind].usual)
    return f'{catalogue.command(known)} --models "{folder_paths.models_dir}"'


def _is_safetensors(name: str) -> bool:
    return name.lower().endswith(files.SAFE)


def _register_sam2() -> None:
    """Add models/sam2 after the folders that the user or another extension configured under that name."""
    new = "sam2" not in folder_paths.folder_names_and_paths
    folder_paths.add_model_folder_path("sam2", str(Path(folder_paths.models_dir) / "sam2"))
    if new:  # a new name lists files of every extension unless some are set
        folder_paths.folder_names_and_paths["sam2"][1].update(folder_paths.supported_pt_extensions)
