"""Weigh Regions and Blend Regions as the host calls them."""

import pytest
import torch
from PIL import Image, ImageDraw
from torch.testing import assert_close

pytestmark = pytest.mark.comfy


@pytest.fixture
def blend():
    from ugc_sr.nodes.region_nodes import BlendRegions

    def run(sr, original, mask, feather=16, keep="detail", frame=None):
        return BlendRegions.execute(sr, original, mask, feather, keep, frame).result[0]

    return run


def test_transparency_of_the_restoration_stays_and_that_of_the_photo_is_left_aside(blend):
    sr, original = torch.rand(1, 16, 16, 4), torch.rand(1, 16, 16, 4)
    out = blend(sr, original, torch.ones(1, 16, 16), keep="all")
    assert torch.equal(out, torch.cat([original[..., :3], sr[..., 3:]], dim=-1))


def test_a_padded_hint_and_a_finished_photo_are_refused(blend):
    hint = torch.rand(1, 128, 192, 3)
    with pytest.raises(ValueError, match=r"^Blend Regions: 'sr' has 160x96 px but 'original' has 192x128"):
        blend(torch.rand(1, 96, 160, 3), hint, torch.ones(1, 24, 40))


def test_text_stays_through_the_quick_start(client, photo, anatomy, pictures, tmp_path):
    """A mask painted on the small photo protects a region; the rest is what it was without the nodes."""
    painted = Image.open(photo).convert("RGBA")
    opacity = Image.new("L", painted.size, 255)
    ImageDraw.Draw(opacity).rectangle((0, 0, 15, 23), fill=0)  # the host's masks are white where clear
    painted.putalpha(opacity)
    painted.save(tmp_path / "painted.png")

    def graph():
        made = anatomy(client.upload(photo))
        made["9"]["inputs"]["seed"] = 2
        made["20"] = {"class_type": "LoadImage", "inputs": {"image": client.upload(tmp_path / "painted.png")}}
        return made

    def restored(made):
        return pictures(client.run(made)["13"])[0].convert("RGB")

    plain, kept = restored(graph()), graph()
    mask_and_frame = {"mask": ["20", 1], "frame": ["3", 1]}
    kept["21"] = {
        "class_type": "UGCSR_WeighRegions",
        "inputs": {"model": ["7", 0], "latent": ["8", 0], "strength": 1.0, **mask_and_frame},
    }
    kept["9"]["inputs"]["model"] = ["21", 0]
    kept["22"] = {
        "class_type": "UGCSR_BlendRegions",
        "inputs": {"sr": ["11", 0], "original": ["3", 0], "feather": 16, "keep": "all", **mask_and_frame},
    }
    kept["12"]["inputs"]["image"] = ["22", 0]
    out = restored(kept)
    assert out.size == plain.size == (160, 96)
    enlarged = Image.open(photo).resize((160, 96), Image.Resampling.BICUBIC)
    region = (0, 0, 60, 96)
    assert_close(pixels(out, region), pixels(enlarged, region), rtol=0, atol=0.02)
    assert (pixels(plain, region) - pixels(enlarged, region)).abs().max() > 0.02
    assert (pixels(out, (90, 0, 160, 96)) - pixels(plain, (90, 0, 160, 96))).abs().mean() < 0.02


def pixels(picture, region):
    part = picture.crop(region)
    return torch.frombuffer(bytearray(part.tobytes()), dtype=torch.uint8).float() / 255
