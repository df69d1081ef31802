import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ugc_sr.degrade.__main__ import main
from ugc_sr.degrade.degradation import Degradation, Draw, apply
from ugc_sr.degrade.grid import GAP_PX, TITLE_PX, grid
from ugc_sr.degrade.labels import describe
from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.steps import step

TOP = 2 * TITLE_PX


def draws(*steps, scale=2):
    made = tuple(Draw(op, parameters, seed=0) for op, parameters in steps)
    return Degradation("test", 5, scale, made)


SHRINK = ("shrink", {"mode": "area", "factor": 1.0, "antialias": True})


def jpeg(quality):
    return "jpeg", {"quality": quality, "subsampling": "4:2:0", "codec": "libjpeg"}


@pytest.fixture
def photo():
    """Flat but for a corner of noise, in 8-bit steps."""
    photo = torch.full((1, 3, 40, 48), 0.4)
    photo[..., 20:, 28:] = torch.rand(1, 3, 20, 20)
    return photo.mul(255).round() / 255


def test_the_first_cell_is_the_clean_photo_and_the_others_are_the_damaged_one(photo):
    degradation = draws(SHRINK, jpeg(30))
    sheet = grid(photo, [degradation], columns=2, crop=0, cell=48)
    first, second = (sheet[:, :, TOP : TOP + 40, left : left + 48] for left in (GAP_PX, 2 * GAP_PX + 48))
    assert torch.equal(first, photo)
    assert torch.equal(second, F.interpolate(apply(degradation, photo).lr, scale_factor=2))


def test_the_part_shown_is_the_one_with_most_detail(photo):
    sheet = grid(photo, [draws(SHRINK)], columns=2, crop=16, cell=16)
    shown = sheet[:, :, TOP : TOP + 16, GAP_PX : GAP_PX + 16]
    places = photo.unfold(2, 16, 2).unfold(3, 16, 2).flatten(2, 3).movedim(2, 0)
    (place,) = (places == shown).flatten(1).all(1).nonzero().flatten().tolist()
    top, left = (2 * steps for steps in divmod(place, 17))
    assert top >= 20
    assert left >= 28


@pytest.mark.parametrize(("count", "columns", "shape"), [(1, 5, (1, 2)), (5, 3, (2, 3)), (3, 1, (4, 1))])
def test_cells_fill_rows(photo, count, columns, shape):
    sheet = grid(photo, [draws(SHRINK)] * count, columns=columns, crop=0, cell=48)
    rows, wide = shape
    assert sheet.shape[3] == GAP_PX + wide * (48 + GAP_PX)
    assert (sheet.shape[2] - TOP) % rows == 0


def test_finished_cells_are_counted(photo):
    seen = []
    grid(photo, [draws(SHRINK)] * 3, columns=2, crop=0, cell=16, done=seen.append)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (7, 5)])
@pytest.mark.parametrize("crop", [0, 1, 512])
def test_photos_and_crops_of_any_size_have_a_grid(size, crop):
    sheet = grid(torch.rand(1, 3, *size), [draws(SHRINK, scale=1)], columns=2, crop=crop, cell=32)
    assert sheet.shape[3] == GAP_PX + 2 * (32 + GAP_PX)


def test_words_name_the_strongest_damage_first():
    noise = ("gaussian_noise", {"sigma": 20.0, "grey": False})
    assert describe(draws(SHRINK, jpeg(80), noise)) == "noise 20, JPEG 80"
    assert describe(draws(SHRINK, noise, jpeg(10)), most=1) == "JPEG 10"
    assert describe(draws(SHRINK, jpeg(99))) == "hardly any damage"


def test_damage_before_the_shrinking_counts_less():
    blur = ("gaussian_blur", {"size": 0, "sigma_x": 2.0, "sigma_y": 1.0, "angle": 0.0})
    assert describe(draws(SHRINK, blur, jpeg(60), scale=8)) == "blur 2.0 px, JPEG 60"
    assert describe(draws(blur, SHRINK, jpeg(60), scale=8)) == "JPEG 60, blur 2.0 px"


def test_noise_that_is_blurred_away_counts_less():
    noise = ("gaussian_noise", {"sigma": 18.0, "grey": False})
    blur = ("gaussian_blur", {"size": 0, "sigma_x": 1.5, "sigma_y": 1.5, "angle": 0.0})
    assert describe(draws(SHRINK, blur, noise)) == "noise 18, blur 1.5 px"
    assert describe(draws(SHRINK, noise, blur)) == "blur 1.5 px, noise 18"


def test_the_effects_of_a_recipe_alone_have_words():
    clean = Recipe("x", 4, [step("shrink", mode="area")], "", clean=[step("color_filter", saturation=1.8)])
    assert describe(clean.draw(0)) == "filter (saturation)"


@pytest.fixture
def file(tmp_path):
    Image.linear_gradient("L").resize((64, 48)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_the_command_draws_the_same_picture_again(file):
    for name in ("a.png", "b.png"):
        options = ["--recipe", "upload", "--count", "3", "--columns", "2", "--crop", "0", "--cell", "64"]
        assert main(["grid", str(file), str(file.with_name(name)), *options]) == 0
    assert file.with_name("a.png").read_bytes() == file.with_name("b.png").read_bytes()
    assert Image.open(file.with_name("a.png")).width == GAP_PX + 2 * (64 + GAP_PX)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "out.png", "--count", "0"], "--count must be at least 1, got 0"),
        (["photo.png", "out.doc"], "out.doc: expected a file that ends in .jpg, .jpeg, .png"),
        (["gone.png", "out.png"], "gone.png: there is no such file"),
        (["photo.png", "out.png", "--recipe", "x"], "There is no recipe or file 'x'"),
        (["photo.png", "out.png", "--scale", "100"], "a photo of 64x48 px can't be shrunk by 100"),
    ],
)
def test_the_command_refuses_in_one_line_what_it_can_not_draw(file, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(file.parent)
    assert main(["grid", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not file.with_name("out.png").exists()
