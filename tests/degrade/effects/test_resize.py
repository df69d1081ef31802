import numpy as np
import pytest
import torch
from PIL import Image

from ugc_sr.degrade.effects.resize import MODES, fake_hd, rescale, resize, shrink


@pytest.mark.parametrize(
    ("mode", "pillow"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos", Image.Resampling.LANCZOS),
        ("nearest", Image.Resampling.NEAREST),
    ],
)
@pytest.mark.parametrize("size", [(13, 20), (70, 80), (131, 149)])
def test_resizing_is_pillows(mode, pillow, size):
    photo = torch.rand(1, 1, 65, 75)
    expected = np.asarray(Image.fromarray(photo[0, 0].numpy()).resize((size[1], size[0]), pillow))
    resized = resize(photo, *size, mode)[0, 0].numpy()
    np.testing.assert_allclose(resized, expected, atol=1e-5)


def test_area_averages_what_a_pixel_covers():
    photo = torch.rand(1, 3, 32, 32)
    blocks = photo.view(1, 3, 8, 4, 8, 4).mean(dim=(3, 5))
    torch.testing.assert_close(resize(photo, 8, 8, "area"), blocks)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_size_is_the_same_photo(mode):
    photo = torch.rand(1, 3, 9, 14)
    assert torch.equal(resize(photo, 9, 14, mode), photo)
    assert torch.equal(rescale(photo, 1.0, mode), photo)


@pytest.mark.parametrize(
    ("factor", "size"), [(0.5, (8, 10)), (1.5, (24, 32)), (0.02, (1, 1)), (8, (128, 168))]
)
def test_rescale_rounds_to_whole_pixels_and_keeps_at_least_one(factor, size):
    assert rescale(torch.rand(1, 3, 16, 21), factor, "bilinear").shape[2:] == size


@pytest.mark.parametrize(("factor", "size"), [(1.0, (16, 9)), (0.5, (8, 4)), (1.2, (19, 11)), (0.05, (1, 1))])
def test_shrink_goes_to_a_multiple_of_the_final_size_whatever_the_size_before(factor, size):
    for before in ((64, 36), (50, 41)):
        shrunk = shrink(torch.rand(1, 3, *before), "area", factor, lr_size=(16, 9))
        assert shrunk.shape[2:] == size


def test_fake_hd_keeps_the_size_and_loses_the_detail():
    photo = torch.rand(1, 3, 40, 33)
    fake = fake_hd(photo, 2.0, "area", "bicubic")
    assert fake.shape == photo.shape
    assert fake.std() < photo.std() / 1.5
    assert torch.equal(fake_hd(photo, 1.0, "area", "bicubic"), photo)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"resize: mode must be one of area, .* got 'magic'"):
        resize(torch.rand(1, 3, 16, 16), 8, 8, "magic")
