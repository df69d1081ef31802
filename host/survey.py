"""Survey of ComfyUI on this machine: its device, its memory mode, and its files of weights.

`python -m ugc_sr.host.survey [OPTION...]`, with ComfyUI's folder on PYTHONPATH and with options of ComfyUI's
command line, prints it as one line of JSON. It runs the host's own code as its main.py does, and in a process
of its own, because that code reads the command line and takes hold of the graphics card when it is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LISTED = {"checkpoint": "checkpoints", "clip vision": "clip_vision"}  # kinds with loaders of the host


def main() -> None:
    """Print the survey."""
    outlet, sys.stdout = sys.stdout, sys.stderr  # keeps the host's prints out of the JSON
    sys.argv[0] = "main.py"
    import comfy.options

    comfy.options.enable_args_parsing()
    _add_extra_paths()
    outlet.write(json.dumps({**_machine(), **_files()}) + "\n")


def _add_extra_paths() -> None:
    import folder_paths
    from utils.extra_config import load_extra_path_config

    config = Path(folder_paths.__file__).resolve().with_name("extra_model_paths.yaml")
    if config.is_file():
        load_extra_path_config(str(config))


def _machine() -> dict[str, Any]:
    import comfy.model_management as management
    import torch
    from comfyui_version import __version__

    device, cpu = management.get_torch_device(), torch.device("cpu")
    return {
        "comfyui": __version__,
        "torch": torch.__version__,
        "device": {
            "name": management.get_torch_device_name(device),
            "type": device.type,
            "total": management.get_total_memory(device),
            "free": management.get_free_memory(device),
        },
        "memory": {"total": management.get_total_memory(cpu), "free": management.get_free_memory(cpu)},
        "mode": "DYNAMIC" if _dynamic() else management.vram_state.name,
    }


def _dynamic() -> bool:
    """Return True if the host would use DynamicVRAM, by the rules of its main.py."""
    import comfy.model_management as management
    from comfy.cli_args import args

    try:
        from comfy.cli_args import enables_dynamic_vram
        from comfy_aimdo import control
    except ImportError:  # an older host without it
        return False
    fits = enables_dynamic_vram() and management.is_nvidia() and not management.is_wsl()
    fits = fits and management.torch_version_numeric >= (2, 8)
    if not (args.enable_dynamic_vram or fits) or not control.init():
        return False
    return control.init_devices([management.get_torch_device().index])


def _files() -> dict[str, Any]:
    """Return folders by name, and the files that the loaders offer, by kind: [{"name", "path"}].

    Pickles, which no loader offers, are listed apart.
    """
    import folder_paths

    from . import paths

    offered = {kind: paths.names(kind) for kind in paths.KINDS}
    folders = {kind: list(paths.KINDS[kind].folders) for kind in paths.KINDS}
    for kind, folder in LISTED.items():
        offered[kind], folders[kind] = folder_paths.get_filename_list(folder), [folder]

    def placed(found: dict[str, list[str]]) -> dict[str, list[dict[str, str]]]:
        return {
            kind: [{"name": name, "path": _place(folders[kind], name)} for name in names]
            for kind, names in found.items()
        }

    every = {name for names in folders.values() for name in names}
    return {
        "folders": {name: folder_paths.get_folder_paths(name) for name in sorted(every)},
        "files": placed(offered),
        "pickles": placed({kind: paths.pickles(kind) for kind in paths.KINDS}),
    }


def _place(folders: list[str], name: str) -> str:
    """Return the path of a file, or of a diffusers folder: the first in search order, as in the loaders."""
    import folder_paths

    roots = [Path(root) for folder in folders for root in folder_paths.get_folder_paths(folder)]
    return next(str(root / name) for root in roots if (root / name).exists())


if __name__ == "__main__":
    main()
