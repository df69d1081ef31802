"""Encode Tags and Tag Photo as the host calls them; the arithmetic is tested in tests/host/test_tags.py."""

import pytest
import torch

pytestmark = pytest.mark.comfy


class Eye:
    """An image tower whose picture of a photo is its mean colour."""

    model_type = "clip_vision_model"

    def encode_image(self, image):
        return {"image_embeds": image.mean(dim=(1, 2))}


def test_a_batch_gives_a_line_for_each_photo():
    from ugc_sr.host.tags import Tags
    from ugc_sr.nodes.tag_nodes import TagPhoto

    colors = Tags(("red", "green", "blue"), torch.eye(3))
    photos = torch.zeros(2, 8, 12, 3)
    photos[0, ..., 1] = 1
    photos[1, ..., 2] = 1
    assert TagPhoto.execute(Eye(), colors, photos, 1, 0.0).result == ("green\nblue",)


def test_a_batch_makes_one_prompt_of_its_lines():
    from ugc_sr.sample.presets import load

    assert load("synthetic").positive("cat, sofa\ndog, sofa").startswith("cat, sofa, dog, clean")
