"""Match Color and Tile Diffusion as the host calls them."""

import pytest
import torch
from torch.testing import assert_close

pytestmark = pytest.mark.comfy


@pytest.fixture
def match():
    from ugc_sr.nodes.image_nodes import MatchColor

    return lambda image, reference, method: MatchColor.execute(image, reference, method).result[0]


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


def test_an_overlap_as_large_as_the_tile_is_refused():
    from ugc_sr.nodes.sampling_nodes import TileDiffusion

    with pytest.raises(ValueError, match="'overlap' must be smaller than 'tile_size', 512 px; got 512 px"):
        TileDiffusion.execute(model=None, tile_size=512, overlap=512, tile_batch=1)
