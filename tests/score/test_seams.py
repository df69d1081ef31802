import pytest
import torch
from skimage import data
from torch.testing import assert_close

from ugc_sr.score.metrics import evaluate
from ugc_sr.score.seams import Borders, seam_score


@pytest.fixture(scope="module")
def photo():
    return torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1)[None].double()


def with_seam(photo, offset, column=250):
    stepped = photo.clone()
    stepped[..., column:] += offset
    return stepped


def test_a_photo_without_seams_scores_about_one(photo):
    places = tuple(range(32, 512, 64))
    assert seam_score(photo, Borders(rows=places, columns=places)).item() == pytest.approx(1, abs=0.15)
    assert seam_score(torch.full((1, 3, 32, 32), 90.0), Borders(rows=(16,))).item() == 1


def test_a_step_between_two_tiles_shows_where_it_is_and_only_there(photo):
    scores = [seam_score(with_seam(photo, 6), Borders(columns=(at,))).item() for at in (246, 250, 254)]
    whole = [seam_score(photo, Borders(columns=(at,))).item() for at in (246, 250, 254)]
    assert scores[1] > 1.3 * whole[1]
    assert scores[0] <= whole[0] + 0.01
    assert scores[2] <= whole[2] + 0.01


def test_a_step_of_known_height_on_a_known_slope():
    ramp = torch.arange(64.0, dtype=torch.float64).expand(1, 3, 64, 64)
    score = seam_score(with_seam(ramp, 9, column=32), Borders(columns=(32,)))
    assert score.item() == pytest.approx((10 + 0.25) / (1 + 0.25))


def test_the_steps_beside_a_border_are_the_second_to_fifth_on_either_side():
    for apart in range(-7, 8):  # steps of 20, one at a time
        image = with_seam(torch.zeros(1, 3, 64, 64), 20, column=32 + apart)
        beside = 20 / 8 if 2 <= abs(apart) <= 5 else 0
        across = 20 if apart == 0 else 0
        score = seam_score(image, Borders(columns=(32,))).item()
        assert score == pytest.approx((across + 0.25) / (beside + 0.25), rel=1e-6)


def test_grain_hides_no_seam():
    grain = 128 + 4 * torch.randn(1, 3, 256, 256, dtype=torch.float64)
    border = Borders(columns=(128,))
    assert seam_score(grain, border).item() == pytest.approx(1, abs=0.4)
    assert seam_score(with_seam(grain, 6, column=128), border).item() > 2


def test_rows_and_columns_are_treated_alike(photo):
    borders, turned = Borders(rows=(40,), columns=(100, 300)), Borders(rows=(100, 300), columns=(40,))
    assert_close(seam_score(photo, borders), seam_score(photo.mT, turned))


def test_each_image_of_a_batch_has_its_own_score(photo):
    both = torch.cat([photo, with_seam(photo, 8)])
    border = Borders(columns=(250,))
    assert_close(seam_score(both, border), torch.cat([seam_score(x[None], border) for x in both]))


def test_a_tile_plan_brings_the_score_into_the_table(photo):
    assert list(evaluate(photo / 255, borders=Borders(rows=(100,)))) == ["seams"]


@pytest.mark.parametrize(
    ("borders", "message"),
    [
        ({"rows": (32,)}, "border at row 32 lies outside the image of 32 px"),
        ({"columns": (8, 0)}, "border at column 0 lies outside the image of 40 px"),
        ({"columns": tuple(range(1, 40))}, "border at 1 has other borders on every pixel beside it"),
        ({}, "no borders; a picture made in one piece"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(borders, message):
    with pytest.raises(ValueError, match=message):
        evaluate(torch.rand(1, 3, 32, 40), borders=Borders(**borders))
