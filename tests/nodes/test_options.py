"""Menus that the nodes write out, so that a start of ComfyUI imports nothing that they choose from."""

import pytest

from ugc_sr.models.semantics import VIEWS
from ugc_sr.sample.color_match import METHODS
from ugc_sr.sample.masks import KEEPS
from ugc_sr.sample.presets import NAMES
from ugc_sr.sample.tiles import GRIDS
from ugc_sr.score.sheet import FIND

pytestmark = pytest.mark.comfy

MENUS = {
    ("image", "MatchColor", "method"): METHODS,
    ("presets", "RestorationPreset", "preset"): NAMES,
    ("regions", "BlendRegions", "keep"): KEEPS,
    ("sampling", "TileDiffusion", "grid"): GRIDS,
    ("score", "CompareSheet", "find"): FIND,
    ("semantics", "EncodeSemantics", "view"): VIEWS,
}


@pytest.mark.parametrize(("module", "node", "name"), MENUS)
def test_a_menu_offers_all_that_there_is(module, node, name):
    from importlib import import_module

    schema = getattr(import_module(f"ugc_sr.nodes.{module}"), node).define_schema()
    (menu,) = (entry for entry in schema.inputs if entry.id == name)
    assert menu.options == list(MENUS[module, node, name])
