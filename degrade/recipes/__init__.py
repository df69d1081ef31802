"""Named recipes as data, each with the source of its numbers; 'assumed' marks our own."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..recipe import Recipe

# name -> module of this folder, which has it in capitals
_HOMES = {
    "ugc": "ugc",
    "upload": "ugc",
    "reupload": "ugc",
    "messenger": "ugc",
    "enlarged": "ugc",
    "srlab_wild": "real_esrgan",
    "srlab_synthetic": "real_esrgan",
    "real_esrgan_x4": "real_esrgan",
    "mild": "real_esrgan",
    "bsrgan_x4": "bsrgan",
}


class _Recipes(Mapping[str, "Recipe"]):
    """Recipes by name, built on access, since ComfyUI lists the names at every start."""

    def __getitem__(self, name: str) -> "Recipe":
        return getattr(import_module(f".{_HOMES[name]}", __name__), name.upper())

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


RECIPES: Mapping[str, "Recipe"] = _Recipes()
