import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ugc_sr.degrade.dataset.files import load_photo
from ugc_sr.photos.formats import PhotoError
from ugc_sr.photos.reader import open_photo

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.stack((GREY, GREY[::-1], 255 - GREY), axis=-1)


@pytest.fixture
def saved(tmp_path):
    """Writes a picture and returns its path."""

    def save(picture, name="photo.png", **options):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def pixels(path):
    return (load_photo(path)[0].permute(1, 2, 0) * 255).round().byte().numpy()


def png(width, height, depth, kind, rows):
    """A PNG as Pillow doesn't write it: `rows` of bytes, each with its filter byte."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def blank_png(width, height):
    """One bit a pixel, so that large ones are small files."""
    return png(width, height, 1, 0, zlib.compress(bytes((1 + (width + 7) // 8) * height), 1))


def profile_of_gamma(gamma):
    """An sRGB profile whose curves are replaced by a power, under another name."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * struct.unpack_from(">I", content, 128)[0], 12):
        name, offset, size = struct.unpack_from(">4sII", content, entry)
        if name in {b"rTRC", b"gTRC", b"bTRC"}:
            struct.pack_into(">4sIHHi", content, offset, b"para", 0, 0, 0, int(gamma * 65536))
            struct.pack_into(">I", content, entry + 8, 16)
        if name == b"desc":
            renamed = content[offset : offset + size].replace(
                *(t.encode("utf-16-be") for t in ("sRGB", "mine"))
            )
            content[offset : offset + size] = renamed
    return bytes(content)


def test_a_photo_is_rgb_from_0_to_1(saved):
    photo = load_photo(saved(RGB))
    assert (photo.shape, photo.dtype) == ((1, 3, 3, 4), torch.float32)
    assert torch.equal((photo[0].permute(1, 2, 0) * 255).round(), torch.from_numpy(RGB).float())
    assert photo.is_contiguous()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "YCbCr", "HSV"])
def test_greyscale_palettes_and_other_modes_become_what_pillow_shows(saved, mode):
    picture = Image.fromarray(RGB).convert(mode)
    name = "photo.tif" if mode in ("YCbCr", "HSV") else "photo.png"
    file = saved(picture.convert("RGB") if mode == "HSV" else picture, name)
    assert np.array_equal(open_photo(file).rgb(), np.asarray(picture.convert("RGB")))


def test_transparency_lies_on_white(saved):
    alpha = np.array([[0, 128, 255, 255]] * 3, dtype=np.uint8)
    shown = pixels(saved(np.dstack((RGB, alpha))))
    assert (shown[:, 0] == 255).all()
    assert np.array_equal(shown[:, 2:], RGB[:, 2:])
    assert np.abs(shown[:, 1].astype(int) - (RGB[:, 1].astype(int) + 255) / 2).max() <= 1


def test_a_transparent_palette_colour_lies_on_white(saved):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8), "P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    shown = pixels(saved(picture, "photo.gif", transparency=0))
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[0, 1].tolist() == [200, 100, 50]


@pytest.mark.parametrize("name", ["photo.png", "photo.tif", "photo.pgm"])
def test_16_bit_greyscale_is_scaled_not_clipped(saved, name):
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert pixels(saved(deep, name))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bit_rgb_is_scaled_not_clipped(tmp_path):
    values = np.array([[[0, 257 * 40, 65535], [257 * 128, 257, 0]]], dtype=">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, zlib.compress(rows)))
    assert pixels(tmp_path / "deep.png")[0].tolist() == [[0, 40, 255], [128, 1, 0]]


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_the_usual_white_that_fits(saved, white):
    levels = np.array([[0, 0.2, 1.0]], dtype=np.float32) * white
    assert pixels(saved(levels, "photo.tif"))[0, :, 0].tolist() == [0, 51, 255]


def test_cmyk_looks_as_it_does_in_a_viewer(saved):
    shown = pixels(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "photo.jpg", quality=100))
    assert np.abs(shown.astype(int) - [255, 0, 0]).max() <= 2


def test_a_photo_is_turned_upright(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the file
    assert np.array_equal(pixels(saved(RGB, exif=exif)), np.rot90(RGB, k=-1))


@pytest.mark.parametrize("name", ["photo.gif", "photo.webp", "photo.png"])
def test_of_an_animation_the_first_frame_counts(saved, name):
    first, second = Image.new("RGB", (4, 4), "white"), Image.new("RGB", (4, 4), "black")
    assert (pixels(saved(first, name, save_all=True, append_images=[second], lossless=True)) == 255).all()


def test_an_embedded_profile_is_converted_to_srgb(saved):
    profile = profile_of_gamma(1.0)
    shown = pixels(saved(np.full((2, 2, 3), 55, dtype=np.uint8), icc_profile=profile))
    assert np.abs(shown.astype(int) - 128).max() <= 2  # 0.215 of linear light is middle grey


@pytest.mark.parametrize("profile", [b"", b"no profile", b"\0" * 200])
def test_a_broken_profile_counts_as_absent(saved, profile):
    assert np.array_equal(pixels(saved(RGB, icc_profile=profile)), RGB)


def test_one_pixel_is_a_photo(saved):
    assert pixels(saved(np.full((1, 1, 3), 7, dtype=np.uint8))).tolist() == [[[7, 7, 7]]]


def test_a_box_takes_the_same_pixels_as_the_whole(saved):
    alpha = np.full((3, 4, 1), 99, dtype=np.uint8)
    photo = open_photo(saved(np.dstack((RGB, alpha))))
    assert np.array_equal(photo.rgb((1, 2, 2, 1)), photo.rgb()[1:3, 2:3])


def test_the_suffix_does_not_matter(saved, tmp_path):
    saved(RGB).rename(tmp_path / "photo.jpg")
    assert np.array_equal(pixels(tmp_path / "photo.jpg"), RGB)


def test_400_megapixels_are_refused_without_being_decoded(tmp_path):
    (tmp_path / "vast.png").write_bytes(blank_png(20000, 20000))
    with pytest.raises(PhotoError, match=r"vast\.png: 20000x20000 px; more than 256 megapixels"):
        open_photo(tmp_path / "vast.png")


def test_72_megapixels_can_be_cropped_but_not_used_whole(tmp_path):
    (tmp_path / "large.png").write_bytes(blank_png(9000, 8000))
    assert open_photo(tmp_path / "large.png").rgb((7990, 8990, 10, 10)).shape == (10, 10, 3)
    with pytest.raises(PhotoError, match=r"large\.png: 9000x8000 px; more than 64 megapixels .*--crop"):
        load_photo(tmp_path / "large.png")


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.webp", "photo.tif", "photo.bmp"])
def test_a_truncated_photo_is_named(saved, name):
    path = saved(torch.randint(0, 255, (40, 40, 3), dtype=torch.uint8).numpy(), name)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(
        PhotoError, match=rf"{name}: (broken, can't be decoded|not a photo that can be read) \(.+\)"
    ):
        load_photo(path)


def test_what_is_no_photo_is_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("buy milk")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(PhotoError, match=r"notes\.jpg: not a photo that can be read; expected one of JPEG"):
        load_photo(tmp_path / "notes.jpg")
    with pytest.raises(PhotoError, match=r"empty\.jpg: the file is empty"):
        load_photo(tmp_path / "empty.jpg")
    with pytest.raises(PhotoError, match=r"gone\.jpg: there is no such file"):
        load_photo(tmp_path / "gone.jpg")
    with pytest.raises(PhotoError, match=r"folder: not a file; expected a photo"):
        load_photo(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "gif", "tif", "bmp", "avif"])
def test_whatever_bytes_are_wrong_only_one_kind_of_error_comes(saved, tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 3
    content = saved(RGB, f"photo.{kind}", **({} if kind in {"gif", "bmp"} else {"exif": exif})).read_bytes()
    rng = np.random.default_rng(0)
    said = []
    for _ in range(60):
        harmed = np.frombuffer(content, dtype=np.uint8).copy()
        harmed[rng.integers(0, len(harmed), 4)] = rng.integers(0, 256, 4)
        (tmp_path / "harmed").write_bytes(harmed.tobytes()[: rng.integers(1, 2 * len(harmed))])
        try:
            load_photo(tmp_path / "harmed")
        except PhotoError as error:
            said.append(str(error))
    assert said
    assert not [line for line in said if "\n" in line]
