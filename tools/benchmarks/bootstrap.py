"""Makes the package and the host importable from a checkout in which neither is installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def package() -> None:
    """Import this checkout as `ugc_sr`, whatever its folder is called."""
    if "ugc_sr" not in sys.modules:
        load_module("ugc_sr", ROOT / "__init__.py", [str(ROOT)])


def load_module(name: str, file: Path, submodules: list[str] | None = None) -> ModuleType:
    """Import a file as the module `name`; `submodules` are the folders of a package.

    Raises:
        FileNotFoundError: if there is no such file, or it is not Python's.
    """
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=submodules)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{file} can't be read.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def host(cpu: bool) -> None:
    """Put ComfyUI on the import path; it uses the CPU if `cpu` is set or there is no GPU."""
    from ugc_sr.restore.server import accelerator, find_host

    # `python -m benchmarks` puts the checkout first, where its `nodes` would shadow the host's.
    sys.path[:] = [str(find_host()), *(p for p in sys.path if Path(p or Path.cwd()).resolve() != ROOT)]
    from comfy.cli_args import args

    args.cpu = cpu or accelerator() is None
