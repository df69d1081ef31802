"""Nodes that load, change and preview degradation recipes."""

from typing import TYPE_CHECKING

from comfy_api.latest import io, ui
from torch import Tensor, cat

from ..degrade.recipes import RECIPES
from ..files import read_text, replace_file
from ..host import folders
from ..host.progress import progress, say
from ..image import opaque, to_socket
from . import sockets
from .bounds import Node

if TYPE_CHECKING:
    from ..degrade.recipe import Recipe


def recipe_combo() -> io.Combo.Input:
    """Return a combo of all recipes: the shipped ones, then the saved files."""
    return io.Combo.Input(
        "recipe",
        options=[*RECIPES, *folders.recipe_files()],
        tooltip="What the photo goes through. ugc: phone, editor, short-video app. upload: one messenger or "
        "network. srlab_wild, real_esrgan_x4, bsrgan_x4: as published, much harsher. NAME.json: yours, from "
        "models/degradation_recipes.",
    )


def recipe_input() -> io.MultiType.Input:
    """Return an input that takes a recipe by name, or over a link from Load Recipe or Edit Recipe."""
    return io.MultiType.Input(recipe_combo(), [sockets.Recipe])


def recipe_of(recipe: "str | Recipe") -> "Recipe":
    """Return the recipe of a widget's name or of a link.

    Raises:
        FileNotFoundError: if there is no recipe with that name.
        ValueError: if its file is no valid recipe; the message names the file and the field.
    """
    from ..degrade.recipe import Recipe

    if isinstance(recipe, Recipe):
        return recipe
    recipe = str(recipe)  # may be of any type in a graph written by hand
    if recipe in RECIPES:
        return RECIPES[recipe]
    try:
        return Recipe.from_json(read_text(folders.find_recipe(recipe)))
    except ValueError as error:
        raise ValueError(f"'{recipe}' in models/{folders.RECIPES}: {error}") from error


class TakesRecipe:
    """Mixin of the nodes with an input `recipe`, which is checked before the graph runs."""

    @classmethod
    def validate_inputs(cls, recipe: str | None = None) -> bool | str:
        """Return True, or the error message about a recipe; one that comes over a link is None."""
        try:
            if recipe is not None:
                recipe_of(recipe)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, recipe: str | None = None, **_: object) -> str:
        """Return a text that changes when the file of a saved recipe changes."""
        if recipe is None or recipe in RECIPES:
            return ""
        stat = folders.find_recipe(recipe).stat()
        return f"{stat.st_mtime_ns}:{stat.st_size}"


class LoadRecipe(TakesRecipe, Node):
    """Outputs a recipe for several nodes, and its text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_LoadRecipe",
            display_name="Load Recipe",
            category="image/degradation",
            description="Choose how photos are damaged: by a recipe of the extension, or one of your own.",
            search_aliases=["degradation recipe", "real-esrgan degradation", "bsrgan", "srlab"],
            inputs=[recipe_combo()],
            outputs=[
                sockets.Recipe.Output(display_name="recipe", tooltip="For the nodes that damage photos."),
                io.String.Output(
                    display_name="json", tooltip="The whole recipe as text, to read or to edit."
                ),
            ],
        )

    @classmethod
    def execute(cls, recipe: str) -> io.NodeOutput:
        loaded = recipe_of(recipe)
        return io.NodeOutput(loaded, loaded.to_json())


class EditRecipe(TakesRecipe, Node):
    """Changes numbers of a recipe and saves it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_EditRecipe",
            display_name="Edit Recipe",
            category="image/degradation",
            description="Change a recipe line by line, and save it under a name of its own. The text of Load "
            "Recipe shows what there is to change.",
            search_aliases=["degradation recipe", "save recipe", "custom degradation"],
            inputs=[
                recipe_input(),
                io.String.Input(
                    "changes",
                    default="",
                    multiline=True,
                    tooltip="One `path = JSON value` a line, such as `steps[3].probability = 0.5` or "
                    '`steps[3].parameters.quality = {"uniform": [30, 60]}`. Steps count from 0; null removes '
                    "one, an index behind the last adds one. Lines that begin with # do nothing.",
                ),
                io.String.Input(
                    "save_as",
                    default="",
                    tooltip="Name to save the recipe by, as NAME.json in models/degradation_recipes; one "
                    "of that name is replaced. Press R to see it in the lists. Empty: not saved.",
                ),
            ],
            outputs=[
                sockets.Recipe.Output(display_name="recipe", tooltip="The changed recipe."),
                io.String.Output(display_name="json", tooltip="The changed recipe as text."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, recipe: "str | Recipe", changes: str, save_as: str) -> io.NodeOutput:
        from ..degrade.edit import edit

        file = folders.new_recipe(save_as) if save_as.strip() else None
        if file and file.stem in RECIPES:
            raise ValueError(f"'save_as' must not be {file.stem!r}, which comes with the extension.")
        edited = edit(recipe_of(recipe), changes, name=file.stem if file else "")
        text = edited.to_json()
        if file:
            try:
                replace_file(file, text.encode())
            except OSError as error:
                raise RuntimeError(
                    f"Edit Recipe: {file} could not be written ({error.strerror}); it is as it was before."
                ) from error
            say(f"Saved as {file}")
        return io.NodeOutput(edited, text, ui=ui.PreviewText(text))


class PreviewDegradation(TakesRecipe, Node):
    """Draws a sheet of one photo degraded with several seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_PreviewDegradation",
            display_name="Preview Degradation Grid",
            category="image/degradation",
            description="Look at a recipe: the clean photo and what it becomes under one seed after another, "
            "labelled with the strongest damage.",
            search_aliases=["degradation preview", "contact sheet", "recipe preview"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="Clean photo. Each photo of a batch makes a grid of its own."
                ),
                recipe_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Seed of the first cell; each cell after it takes the next one. Degrade Photo "
                    "makes the same of the photo with the same seed.",
                ),
                io.Int.Input(
                    "count", default=5, min=1, max=64, tooltip="Seeds to show; the clean photo is first."
                ),
                io.Int.Input("columns", default=3, min=1, max=16, tooltip="Cells in a row."),
                io.Int.Input(
                    "scale",
                    default=4,
                    min=1,
                    max=8,
                    tooltip="Size of the clean photo / size of the damaged one.",
                ),
                io.Int.Input(
                    "crop",
                    default=512,
                    min=0,
                    max=8192,
                    tooltip="Side of the part that is shown, in pixels of the clean photo, where it has most "
                    "detail. 0 shows the whole photo; the whole photo is damaged either way.",
                ),
            ],
            outputs=[io.Image.Output(display_name="grid", tooltip="The grid as a picture, to save.")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        recipe: "str | Recipe",
        seed: int,
        count: int,
        columns: int,
        scale: int,
        crop: int,
    ) -> io.NodeOutput:
        from ..degrade.grid import grid

        drawn = [recipe_of(recipe).draw(seed + index, scale) for index in range(count)]
        photos = opaque(image).split(1)
        done = progress(count * len(photos))
        grids = [
            grid(
                photo,
                drawn,
                columns=columns,
                crop=crop,
                done=lambda cells, before=index * count: done(before + cells),
            )
            for index, photo in enumerate(photos)
        ]
        picture = to_socket(cat(grids))
        return io.NodeOutput(picture, ui=ui.PreviewImage(picture, cls=cls))
