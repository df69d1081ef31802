import pytest
import torch

from ugc_sr.models.semantics import Semantics


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_pooled_tokens_are_means_of_squares(factor):
    tokens = torch.rand(2, 8 * 4, 5)
    pooled = Semantics(tokens, grid=(8, 4), image_size=(30, 40), encoder="nano").pooled(factor)
    rows, columns = pooled.grid
    assert (rows, columns) == (8 // factor, 4 // factor)
    squares = tokens.reshape(2, rows, factor, columns, factor, 5).mean(dim=(2, 4)).flatten(1, 2)
    torch.testing.assert_close(pooled.tokens, squares)
    assert (pooled.image_size, pooled.encoder) == ((30, 40), "nano")


def test_an_odd_grid_is_pooled_to_the_next_smaller_one():
    row = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1)
    pooled = Semantics(row, grid=(1, 3), image_size=(1, 3), encoder="nano").pooled(2)
    assert pooled.grid == (1, 2)
    assert pooled.tokens.flatten().tolist() == [1.5, 3.0]


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
