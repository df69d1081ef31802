"""The text that the benchmark writes on photos, and what it measures there."""

import pytest
import torch

pytestmark = pytest.mark.comfy


def outside(picture, boxes):
    picture = picture.clone()
    for left, top, right, bottom in boxes:
        picture[..., top:bottom, left:right] = 0
    return picture


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("text", ["TEXT", "MISREAD"])
def test_each_line_lies_in_its_box_and_nothing_else_changes(dark, text):
    from benchmarks import regions

    photo = torch.full((1, 3, 512, 512), 128 / 255)
    scene, boxes = regions.write_on(photo, getattr(regions, text), dark), regions.boxes()
    assert len(boxes) == len(regions.LINES)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 512
        assert 0 <= top < bottom <= 512
        written = scene[..., top:bottom, left:right]
        assert written.max() - written.min() > 0.7
    assert torch.equal(outside(scene, boxes), outside(photo, boxes))


@torch.inference_mode()
def test_both_nodes_keep_the_boxes_from_a_model_that_misreads():
    from benchmarks.regions import MISREAD, TEXT, boxes, versions, write_on
    from ugc_sr.host.nano import load_nano
    from ugc_sr.image import resize

    photo = torch.full((1, 3, 512, 512), 0.5)
    lr = resize(write_on(photo, TEXT, dark=False), 128, 128).clamp(0, 1)
    made = versions(load_nano(), lr, misread=write_on(photo, MISREAD, dark=False))

    def off(name, other):
        differs = (made[name] - made[other]).abs()
        return torch.stack(
            [differs[..., top:bottom, left:right].mean() for left, top, right, bottom in boxes()]
        ).mean()

    assert off("misreading, Weigh Regions", "nano") < 0.3 * off("misreading", "nano")
    assert off("misreading, Blend Regions", "bicubic") < 0.3 * off("misreading", "bicubic")
    assert torch.equal(made["misreading, Blend Regions"][..., -20:], made["misreading"][..., -20:])
