"""Where the user's own recipes and training pairs lie in ComfyUI."""

import re
import unicodedata
from pathlib import Path

import folder_paths

from ..files import brief

RECIPES = "degradation_recipes"
_NAME = re.compile(r"\w[\w .()+-]{0,99}")
_LONGEST = 200  # bytes; file systems allow 255, less our suffixes
_DEEPEST = 10  # folders
_DEVICE = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9])\s*(\..*)?", re.IGNORECASE
)  # of Windows
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # on Windows, where ':' leads to other drives and streams


def recipe_files() -> list[str]:
    """Names of the saved recipes, `NAME.json`, for a combo."""
    _register()
    return [name for name in folder_paths.get_filename_list(RECIPES) if name.lower().endswith(".json")]


def find_recipe(name: str) -> Path:
    """The file of a saved recipe.

    Raises:
        FileNotFoundError: if there is none of that name.
    """
    _register()
    path = folder_paths.get_full_path(RECIPES, name) if name.lower().endswith(".json") else None
    if path is None:
        raise FileNotFoundError(
            f"There is no recipe {brief(name)}. Choose another one, or put its .json file into "
            f"models/{RECIPES} and press R."
        )
    return Path(path)


def new_recipe(name: str) -> Path:
    """Where to save a recipe of that name; '.json' behind it makes no difference.

    Raises:
        ValueError: if it is no name for a file.
    """
    _register()
    name = check_name(re.sub(r"\.json$", "", name.strip(), flags=re.IGNORECASE), "save_as")
    folder = Path(folder_paths.get_folder_paths(RECIPES)[0])
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"


def dataset_folder(name: str) -> Path:
    """The folder of that name among ComfyUI's data sets, there or not.

    Raises:
        ValueError: if it would lie elsewhere, or is no name on every system.
    """
    root = _datasets()
    parts = [part for part in re.split(r"[/\\]", name.strip()) if part]
    target = root.joinpath(*parts)
    plain = 0 < len(parts) <= _DEEPEST and all(map(_portable, parts)) and name.strip()[0] not in "/\\"
    if not plain or root.resolve() not in target.resolve().parents:  # past links
        raise ValueError(
            f"'folder' must name a folder inside {root}, such as 'my_pairs' or 'pets/first'; "
            f"got {_brief(name)}."
        )
    return target


def check_name(name: str, widget: str) -> str:
    """`name`, if files can be called so on every system.

    Raises:
        ValueError: if not, naming the widget that it was typed into.
    """
    if not _NAME.fullmatch(name) or not _portable(name):
        raise ValueError(
            f"'{widget}' must be a plain name of letters, digits, spaces and _ . ( ) + -, such as "
            f"'my_recipe'; got {_brief(name)}."
        )
    return name


def _portable(part: str) -> bool:
    """Whether every system takes it as the name of one file, and one in the folder that it is put into."""
    plain = unicodedata.normalize("NFKC", part)  # some systems compare names so: COM¹ is COM1
    return not (
        len(part.encode("utf-8", "surrogatepass")) > _LONGEST
        or plain.endswith((".", " "))
        or _FORBIDDEN.search(plain)
        or _DEVICE.fullmatch(plain)
        or any(mark in plain for mark in "/\\")
        or any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in part)
    )


def _brief(name: str) -> str:
    return repr(name) if len(name) <= 100 else f"{name[:100]!r} and {len(name) - 100} letters more"


def _datasets() -> Path:
    """ComfyUI's folder for data sets, where it would lie in releases that have none yet."""
    folder_paths.add_model_folder_path("datasets", str(Path(folder_paths.base_path) / "datasets"))
    return Path(folder_paths.get_folder_paths("datasets")[0])


def _register() -> None:
    """Add models/degradation_recipes behind the folders that the user gave that name."""
    folder_paths.add_model_folder_path(RECIPES, str(Path(folder_paths.models_dir) / RECIPES))
