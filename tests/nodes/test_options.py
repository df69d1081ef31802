"""Menus that the nodes write out, so that a start of ComfyUI is fast; the image sockets of all nodes."""

import asyncio

import pytest
import torch

from ugc_sr.models.semantics import VIEWS
from ugc_sr.sample.color_match import METHODS
from ugc_sr.sample.masks import KEEPS
from ugc_sr.sample.presets import NAMES
from ugc_sr.sample.tiles import GRIDS
from ugc_sr.score.sheet import FIND

pytestmark = pytest.mark.comfy

MENUS = {
    ("image_nodes", "MatchColor", "method"): METHODS,
    ("preset_node", "RestorationPreset", "preset"): NAMES,
    ("region_nodes", "BlendRegions", "keep"): KEEPS,
    ("sampling_nodes", "TileDiffusion", "grid"): GRIDS,
    ("score_nodes", "CompareSheet", "find"): FIND,
    ("semantics_nodes", "EncodeSemantics", "view"): VIEWS,
}


@pytest.mark.parametrize(("module", "node", "name"), MENUS)
def test_a_menu_offers_all_that_there_is(module, node, name):
    from importlib import import_module

    schema = getattr(import_module(f"ugc_sr.nodes.{module}"), node).define_schema()
    (menu,) = (entry for entry in schema.inputs if entry.id == name)
    assert menu.options == list(MENUS[module, node, name])


def test_every_image_socket_refuses_broken_pixels_in_the_name_of_its_node():
    """What else is refused of an image: tests/test_image.py."""
    from comfy_api.latest import io

    from ugc_sr.nodes import Extension

    good, bad = torch.rand(1, 8, 8, 3), torch.full((1, 8, 8, 3), torch.nan)
    checked = 0
    for node in asyncio.run(Extension().get_node_list()):
        schema = node.define_schema()
        inputs = {field.id: good if isinstance(field, io.Image.Input) else None for field in schema.inputs}
        for socket in [name for name, value in inputs.items() if value is good]:
            with pytest.raises(ValueError, match=f"^{schema.display_name}: '{socket}' holds NaN or infinite"):
                node.execute(**inputs | {socket: bad})
            checked += 1
    assert checked > 15
