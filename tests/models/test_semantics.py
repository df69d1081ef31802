import pytest
import torch

from ugc_sr.models.semantics import Semantics


@pytest.mark.parametrize(
    ("size", "padding", "fits"),
    [
        ((120, 160), 0, True),
        ((121, 161), 0, True),  # 4.03 times, rounded
        ((120, 163), 0, False),
        ((128, 192), 63, True),
        ((128, 192), 15, False),
        ((256, 192), 63, False),
    ],
)
def test_sizes_that_a_photo_can_be_scaled_and_padded_to(size, padding, fits):
    semantics = Semantics(torch.rand(1, 4, 5), grid=(2, 2), image_size=(30, 40), encoder="nano")
    assert semantics.can_become(size, padding) is fits


@pytest.mark.parametrize(
    ("view", "message"), [("tile", "need a reader .* got tile"), ("half", "got half and")]
)
def test_views_without_a_reader_are_refused(view, message):
    with pytest.raises(ValueError, match=rf"one of global, tile, both.* {message}"):
        Semantics(torch.rand(1, 4, 5), grid=(2, 2), image_size=(8, 8), encoder="nano", view=view)


def test_semantics_cannot_be_changed_after_the_fact():
    semantics = Semantics(torch.rand(1, 4, 5), grid=(2, 2), image_size=(8, 8), encoder="nano")
    with pytest.raises(AttributeError):
        semantics.grid = (1, 4)
