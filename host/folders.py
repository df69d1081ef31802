"""Where the user's own recipes and training pairs lie in ComfyUI."""

import re
from pathlib import Path

import folder_paths

from ..files import brief, portable

RECIPES = "degradation_recipes"
_NAME = re.compile(r"\w[\w .()+-]{0,99}")
_DEEPEST = 10  # folders


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
    plain = 0 < len(parts) <= _DEEPEST and all(map(portable, parts)) and name.strip()[0] not in "/\\"
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
    if not _NAME.fullmatch(name) or not portable(name):
        raise ValueError(
            f"'{widget}' must be a plain name of letters, digits, spaces and _ . ( ) + -, such as "
            f"'my_recipe'; got {_brief(name)}."
        )
    return name


def _brief(name: str) -> str:
    return repr(name) if len(name) <= 100 else f"{name[:100]!r} and {len(name) - 100} letters more"


def _datasets() -> Path:
    """ComfyUI's folder for data sets, where it would lie in releases that have none yet."""
    folder_paths.add_model_folder_path("datasets", str(Path(folder_paths.base_path) / "datasets"))
    return Path(folder_paths.get_folder_paths("datasets")[0])


def _register() -> None:
    """Add models/degradation_recipes behind the folders that the user gave that name."""
    folder_paths.add_model_folder_path(RECIPES, str(Path(folder_paths.models_dir) / RECIPES))
