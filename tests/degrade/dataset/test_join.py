from pathlib import Path

import pytest
import torch
from torch.nn.functional import avg_pool2d

from ugc_sr.degrade.dataset.align import measure_offset
from ugc_sr.degrade.dataset.join import find_pairs, load_joined
from ugc_sr.degrade.dataset.pair_folder import encode_png
from ugc_sr.degrade.dataset.whole_photo import PhotoError, load_photo

SIDE_PX = 512  # of the clean photo; the damaged one has 128


@pytest.fixture(scope="module")
def photo():
    """A real photo, 512x528 px: 16 more to the right than a pair needs."""
    whole = load_photo(Path(__file__).parents[3] / "demo" / "photo_gt.jpg")
    return whole[:, :, 300:812, 200:728]


@pytest.fixture
def pair_files(tmp_path):
    """Writes a pair and returns both paths."""

    def write(hr, lr, folders=("hr", "lr"), names=("a.png", "a.png")):
        paths = [tmp_path / folder / name for folder, name in zip(folders, names, strict=True)]
        for path, picture in zip(paths, (hr, lr), strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_png(picture))
        return paths

    return write


def damaged(photo, right=0, noise=0.0, scale=4):
    """The photo, `right` px of it further, made smaller and noisy."""
    shrunk = avg_pool2d(photo[..., right : right + SIDE_PX], scale)
    return (shrunk + noise / 255 * torch.randn(shrunk.shape)).clamp(0, 1)


@pytest.mark.parametrize("noise", [0, 10, 25])
@pytest.mark.parametrize("right", [0, 1, 2, 4, 13])
def test_an_offset_is_measured_to_a_fraction_of_a_pixel(photo, right, noise):
    found = measure_offset(photo[..., :SIDE_PX], damaged(photo, right, noise))
    assert found.down == pytest.approx(0, abs=0.01 + noise / 300)
    assert found.right == pytest.approx(-right / 4, abs=0.05 + noise / 300)
    assert found.error < 0.01 + noise / 150


@pytest.mark.parametrize(
    "change",
    [lambda lr: lr * 0.6 + 0.1, lambda lr: lr.roll(1, dims=1), lambda lr: lr.clamp(0.2, 0.8)],
    ids=["contrast", "colour", "clipping"],
)
def test_other_contrast_and_colours_are_no_offset(photo, change):
    found = measure_offset(photo[..., :SIDE_PX], change(damaged(photo)))
    assert max(abs(found.down), abs(found.right)) < 0.1


def test_flat_and_tiny_photos_can_not_be_measured(photo):
    assert measure_offset(torch.full((1, 3, 128, 128), 0.5), torch.rand(1, 3, 32, 32)) is None
    assert measure_offset(photo[..., :8, :8], photo[..., :2, :2]) is None


def test_an_aligned_pair_is_joined_as_it_is(photo, pair_files):
    clean, small = photo[..., :SIDE_PX], damaged(photo, noise=10)
    joined = load_joined(*pair_files(clean, small), scale=4)
    assert torch.equal(joined.hr, clean)
    assert (joined.lr - small).abs().max() <= 0.502 / 255


@pytest.mark.parametrize("noise", [0, 10])
def test_two_pixels_of_the_clean_photo_are_too_far_at_scale_4(photo, pair_files, noise):
    files = pair_files(photo[..., :SIDE_PX], damaged(photo, right=2, noise=noise))
    with pytest.raises(PhotoError, match=r"a\.png and .*a\.png: .* off by -0\.(4|5)\d px to the right and"):
        load_joined(*files, scale=4)


def test_another_ratio_of_sizes_is_refused(photo, pair_files):
    files = pair_files(photo[..., :SIDE_PX], damaged(photo, scale=2))
    with pytest.raises(PhotoError, match=r"512x512 px and 256x256 px don't differ by 4"):
        load_joined(*files, scale=4)


def test_another_scene_is_refused(photo, pair_files):
    files = pair_files(photo[..., :SIDE_PX], damaged(photo).flip(-1, -2))
    with pytest.raises(PhotoError, match=r"don't show the same \(correlation -?0\.\d\d\)"):
        load_joined(*files, scale=4)


@pytest.mark.parametrize("folders", [("hr", "lr"), ("GT", "LQ"), ("hq", "lq")])
def test_pairs_are_found_by_name_also_with_the_scale_behind_it(photo, pair_files, folders):
    hr, lr = pair_files(photo[..., :8, :8], photo[..., :2, :2], folders, names=("1.png", "1x4.png"))
    pair_files(photo[..., :8, :8], photo[..., :2, :2], folders, names=("2.png", "3.jpg"))
    found = find_pairs(hr.parents[1], scale=4)
    assert found.pairs == {"1.png": (hr, lr)}
    assert list(found.unpaired) == [hr.parent / "2.png", lr.parent / "3.jpg"]
    assert all("no photo of that name on the other side" in why for why in found.unpaired.values())


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a folder hr or gt or hq in it"):
        find_pairs(tmp_path, scale=4)
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr" / "a.png").touch()
    with pytest.raises(FileNotFoundError, match=r"expected a folder lr or lq in it"):
        find_pairs(tmp_path, scale=4)
