"""Prepare Photo, Finish Photo, Match Color and Tile Diffusion as the host calls them."""

import pytest
import torch
from torch.testing import assert_close

pytestmark = pytest.mark.comfy


def run(node, **inputs):
    return node.execute(**inputs).result


@pytest.fixture
def prepare():
    from ugc_sr.nodes.image_nodes import PrepareImage

    return lambda image, scale: run(PrepareImage, image=image, scale=scale)


@pytest.fixture
def finish():
    from ugc_sr.nodes.image_nodes import FinishImage

    return lambda image, frame: run(FinishImage, image=image, frame=frame)[0]


@pytest.fixture
def match():
    from ugc_sr.nodes.image_nodes import MatchColor

    return lambda image, reference, method: run(MatchColor, image=image, reference=reference, method=method)[
        0
    ]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (17, 40)])
def test_a_photo_keeps_its_channels_and_gets_its_size(prepare, finish, channels, size):
    hint, frame = prepare(torch.rand(2, *size, channels), 2.5)
    assert hint.shape[-1] == 3
    out = finish(hint, frame)
    assert tuple(out.shape) == (2, int(size[0] * 2.5 + 0.5), int(size[1] * 2.5 + 0.5), channels)
    assert out.min() >= 0
    assert out.max() <= 1


def test_at_scale_one_the_photo_comes_back_bit_for_bit(prepare, finish):
    image = torch.rand(1, 30, 50, 4)
    hint, frame = prepare(image, 1.0)
    assert torch.equal(finish(hint, frame), image)


@pytest.mark.parametrize("method", ["wavelet", "adain", "lab"])
def test_match_color_removes_a_cast_and_passes_transparency(match, method):
    reference = 0.2 + 0.6 * torch.rand(1, 24, 24, 3)
    alpha = torch.rand(1, 24, 24, 1)
    image = torch.cat([reference + torch.tensor([0.05, -0.05, 0.02]), alpha], dim=-1)
    out = match(image, reference, method)
    assert torch.equal(out[..., 3:], alpha)
    assert_close(out[..., :3], reference, rtol=0, atol=5e-3)


def test_match_color_leaves_the_transparency_of_the_reference_aside(match):
    image, reference = torch.rand(1, 8, 8, 3), torch.rand(1, 8, 8, 4)
    assert torch.equal(match(image, reference, "wavelet"), match(image, reference[..., :3], "wavelet"))


def test_match_color_clamps_at_the_end(match):
    out = match(torch.rand(1, 16, 16, 3), torch.ones(1, 16, 16, 3), "wavelet")
    assert out.max() == 1
    assert out.min() >= 0


def test_a_huge_scale_is_refused(prepare):
    with pytest.raises(ValueError, match=r"^Prepare Photo: 'scale' 16 would make 32000x32000 px"):
        prepare(torch.zeros(1, 2000, 2000, 3), 16.0)


def test_an_overlap_as_large_as_the_tile_is_refused():
    from ugc_sr.nodes.sampling_nodes import TileDiffusion

    with pytest.raises(ValueError, match="'overlap' must be smaller than 'tile_size', 512 px; got 512 px"):
        run(TileDiffusion, model=None, tile_size=512, overlap=512, tile_batch=1)
