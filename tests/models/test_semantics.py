import pytest
import torch

from ugc_sr.models.semantics import Semantics


def test_moving_semantics_changes_only_the_tokens():
    semantics = Semantics(torch.rand(2, 12, 5), grid=(3, 4), image_size=(30, 40), encoder="nano")
    half = semantics.to(dtype=torch.float16)
    assert half.tokens.dtype == torch.float16
    assert torch.equal(half.tokens, semantics.tokens.half())
    assert (half.grid, half.image_size, half.encoder) == ((3, 4), (30, 40), "nano")


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


@pytest.mark.parametrize(
    ("tokens", "grid", "size", "message"),
    [
        (
            torch.rand(4, 5),
            (2, 2),
            (8, 8),
            r"\(batch, tokens, width\) tensor .* got \(4, 5\) of torch.float32",
        ),
        (torch.ones(1, 4, 5, dtype=torch.int64), (2, 2), (8, 8), "floating-point .* got .* of torch.int64"),
        (torch.rand(0, 4, 5), (2, 2), (8, 8), r"no empty dimension, got \(0, 4, 5\)"),
        (torch.rand(1, 4, 5), (3, 2), (8, 8), "a grid of 3x2 needs 6 tokens, got 4"),
        (torch.rand(1, 4, 5), (-2, -2), (8, 8), "a grid of -2x-2 needs 4 tokens"),
        (torch.rand(1, 4, 5), (2, 2), (0, 8), r"image_size must be \(height, width\) >= 1, got \(0, 8\)"),
    ],
)
def test_semantics_that_contradict_themselves_are_refused(tokens, grid, size, message):
    with pytest.raises(ValueError, match=message):
        Semantics(tokens, grid=grid, image_size=size, encoder="nano")
