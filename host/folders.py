"""ComfyUI's folders of the user's recipes and training pairs."""

import re
from pathlib import Path

import folder_paths

from ..files import brief, portable

RECIPES = "degradation_recipes"
_NAME = re.compile(r"\w[\w .()+-]{0,99}")
_DEEPEST = 10  # folders


def recipe_files() -> list[str]:
    """Return the names of the saved recipes, `NAME.json`."""
    _register()
    return [name for name in folder_paths.get_filename_list(RECIPES) if name.lower().endswith(".json")]


def find_recipe(name: str) -> Path:
    """Return the path of a saved recipe.

    Raises:
        FileNotFoundError: if there is no recipe with that name.
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
    """Return the path for a new recipe, with or without '.json' in `name`; creates its folder.

    Raises:
        ValueError: if the name is no valid file name.
    """
    _register()
    name = check_name(re.sub(r"\.json$", "", name.strip(), flags=re.IGNORECASE), "save_as")
    folder = Path(folder_paths.get_folder_paths(RECIPES)[0])
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"


def dataset_folder(name: str) -> Path:
    """Return the path of a folder in ComfyUI's folder of data sets; it may not exist yet.

    Raises:
        ValueError: if the path would lie elsewhere or isn't valid on every system.
    """
    root = _datasets()
    parts = [part for part in re.split(r"[/\\]", name.strip()) if part]
    target = root.joinpath(*parts)
    plain = 0 < len(parts) <= _DEEPEST and all(map(portable, parts)) and name.strip()[0] not in "/\\"
    if not plain or root.resolve() not in target.resolve().parents:  # past links
        raise ValueError(
            f"'folder' must name a folder inside {root}, such as 'my_pairs' or 'pets/first'; "
            f"got {brief(name)}."
        )
    return target


def check_name(name: str, widget: str) -> str:
    """Return `name` if it is a valid file name on every system.

    Raises:
        ValueError: if it isn't; the message names the widget.
    """
    if not _NAME.fullmatch(name) or not portable(name):
        raise ValueError(
            f"'{widget}' must be a plain name of letters, digits, spaces and _ . ( ) + -, such as "
            f"'my_recipe'; got {brief(name)}."
        )
    return name


def _datasets() -> Path:
    """Return ComfyUI's folder of data sets, also for releases that define none."""
    folder_paths.add_model_folder_path("datasets", str(Path(folder_paths.base_path) / "datasets"))
    return Path(folder_paths.get_folder_paths("datasets")[0])


def _register() -> None:
    """Add models/degradation_recipes after the folders that the user configured under that name."""
    folder_paths.add_model_folder_path(RECIPES, str(Path(folder_paths.models_dir) / RECIPES))
