"""Makes the package and the host importable from a checkout in which neither is installed."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def package() -> None:
    """Import this checkout as `ugc_sr`, whatever its folder is called.

    Raises:
        RuntimeError: if the checkout has no __init__.py.
    """
    if "ugc_sr" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "ugc_sr", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    if spec is None or spec.loader is None:
        raise RuntimeError(f"No package in {ROOT}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["ugc_sr"] = module
    spec.loader.exec_module(module)


def host(cpu: bool) -> None:
    """Put ComfyUI on the import path; it uses the CPU if `cpu` is set or there is no GPU."""
    from ugc_sr.restore.server import accelerator, find_host

    # `python -m benchmarks` puts the checkout first, where its `nodes` would shadow the host's.
    sys.path[:] = [str(find_host()), *(p for p in sys.path if Path(p or Path.cwd()).resolve() != ROOT)]
    from comfy.cli_args import args

    args.cpu = cpu or accelerator() is None
