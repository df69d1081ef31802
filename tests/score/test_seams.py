import pytest
import torch
from skimage import data
from torch.testing import assert_close

from ugc_sr.sample.tiles import blend, split
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.seams import Borders, seam_score, tile_borders


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


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "plans"),
    [
        ((512, 832), 512, 256, [{"columns": (160, 320, 512, 672)}]),
        ((1024, 512), 512, 0, [{"rows": (512,)}]),
        ((513, 300), 512, 0, [{"rows": (64, 512)}]),  # on a canvas of 576x320
        (
            (700, 500),  # on a canvas of 704x512: tiles begin every 149.33 px, which is no whole cell
            256,
            64,
            [
                {"rows": (152, 256, 296, 408, 448, 552), "columns": (128, 256, 384)},
                {"rows": (148, 256, 300, 404, 448, 556), "columns": (128, 256, 384)},
            ],
        ),
        (
            (1024, 1536),  # every 341.33 px
            512,
            128,
            [
                {"rows": (256, 512, 768), "columns": (344, 512, 680, 856, 1024, 1192)},
                {"rows": (256, 512, 768), "columns": (340, 512, 684, 852, 1024, 1196)},
            ],
        ),
    ],
)
def test_borders_lie_where_tiles_of_cells_of_8_or_of_4_px_begin_and_end(size, tile, overlap, plans):
    assert tile_borders(*size, tile=tile, overlap=overlap) == tuple(Borders(**plan) for plan in plans)


def test_a_seam_of_the_bundled_model_is_seen_between_the_cells_of_stable_diffusion(photo):
    """Its tiles begin at 148 px where those of Stable Diffusion would at 152."""
    picture = torch.nn.functional.interpolate(photo, (700, 500)) / 255
    plans = tile_borders(700, 500, tile=256, overlap=64)
    assert [148 in plan.rows for plan in plans] == [False, True]
    stepped = picture.clone()
    for row, step in ((148, 0.1), (300, -0.1), (404, 0.1), (556, -0.1)):
        stepped[..., row:, :] += step
    seen, whole = (evaluate(p.clamp(0, 1), borders=plans)["seams"] for p in (stepped, picture))
    assert seen > 1.15 * whole


def test_tiles_of_other_brightness_are_found_at_their_borders_unless_the_overlap_hides_them(photo):
    """Blended as tiled sampling does it."""

    def growth(tile, overlap):
        plan = split(64, 64, tile=tile // 8, overlap=overlap // 8)
        cuts = (12.0 * (i % 2) * torch.ones(1, box.height, box.width) for i, box in enumerate(plan))
        offset = blend(plan, cuts, 64, 64).repeat_interleave(8, 1).repeat_interleave(8, 2)[None]
        borders = tile_borders(512, 512, tile=tile, overlap=overlap)
        return (seam_score(photo + offset, borders) / seam_score(photo, borders)).item()

    assert growth(tile=256, overlap=0) > 1.3
    assert growth(tile=288, overlap=96) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (512, 256, "photo of 500x300 px is one tile of 512 px and has no seams. Leave the tile size out"),
        (256, 256, "tiles are 256 px with an overlap of 256 px; .* at least 8 px smaller"),
        (15, 9, "tiles are 15 px with an overlap of 9 px"),
        (4, 0, "tiles are 4 px"),
        (256, -1, "overlap of -1 px"),
    ],
)
def test_tiles_that_have_no_borders_are_refused(tile, overlap, message):
    with pytest.raises(ValueError, match=message):
        tile_borders(300, 500, tile=tile, overlap=overlap)
