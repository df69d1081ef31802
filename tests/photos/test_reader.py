import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from ugc_sr.degrade.dataset.whole_photo import load_photo
from ugc_sr.photos.formats import PhotoError
from ugc_sr.photos.png import SIGNATURE, chunk
from ugc_sr.photos.reader import open_photo

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RENAMED = ("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
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


def png_of(width, height, depth, rows, *more):
    """A grey PNG of some bits a pixel."""
    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return SIGNATURE + b"".join([chunk(b"IHDR", head), *more, chunk(b"IDAT", rows), chunk(b"IEND", b"")])


def blank_png(width, height):
    """One bit a pixel, so that large ones are small files."""
    return png_of(width, height, 1, zlib.compress(bytes((1 + (width + 7) // 8) * height), 1))


def opened(content):
    """The photo of the bytes of a file."""
    return open_photo(Path("a"), content)


def tiff(pixels, **options):
    """The bytes of a TIFF."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


DEEP = np.random.default_rng(5).integers(0, 65536, (9, 13, 4), dtype=np.uint16)


def test_all_sixteen_bits_of_a_png_are_read(png):
    for channels in (1, 2, 3, 4):
        photo = opened(png(DEEP[..., :channels]))
        colours = DEEP[..., :1].repeat(3, axis=2) if channels < 3 else DEEP[..., :3]
        assert np.array_equal(photo.rgb(flat=False), colours)
        if channels in (2, 4):
            alpha = DEEP[..., channels - 1] / 257
            assert np.abs(np.asarray(photo.alpha) - alpha).max() <= 0.5


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"planarconfig": "separate"},
        {"extratags": [(274, "H", 1, 6, True)]},
    ],
    ids=["strips", "zlib", "predictor", "tiles", "BigTIFF", "planes", "turned"],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_all_sixteen_bits_of_a_tiff_are_read(channels, byteorder, options):
    pixels = DEEP[..., :channels]
    stored = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    content = tiff(stored, photometric="rgb", byteorder=byteorder, **extra, **options)
    if "bigtiff" in options and byteorder == ">":  # which Pillow doesn't read
        with pytest.raises(PhotoError, match=r"^a: "):
            opened(content)
        return
    shown = np.rot90(DEEP[..., :3], -1) if "extratags" in options else DEEP[..., :3]
    assert np.array_equal(opened(content).rgb(flat=False), shown)


def test_what_is_cut_to_eight_bits_all_the_same_is_told():
    told = "its colours of more than 8 bits are read as 8"
    planes = DEEP[..., :3].transpose(2, 0, 1)
    separate = tiff(planes, photometric="rgb", planarconfig="separate", compression="zlib")
    for content in (separate, b"P6 13 9 65535\n" + DEEP[..., :3].astype(">u2").tobytes()):
        photo = opened(content)
        assert photo.note == told
        assert np.abs(photo.rgb().astype(int) - DEEP[..., :3] / 257).max() <= 1
    assert opened(tiff(DEEP, photometric="separated")).note == told
    assert opened(b"P6 1 1 255\n" + bytes(3)).note is None


def test_grey_whose_zero_is_white_is_turned_over():
    for depth in (np.uint8, np.uint16):
        pixels = (DEEP[..., 0] // (65535 // np.iinfo(depth).max)).astype(depth)
        read = opened(tiff(pixels, photometric="miniswhite"))
        assert np.array_equal(read.rgb()[..., 0], np.iinfo(depth).max - pixels)


def test_grey_of_12_and_32_bits_is_scaled_by_its_own_white():
    rows = bytes.fromhex("000 800 fff 07f".replace(" ", ""))
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(rows)}
    body = rows.ljust(8, b"\0")
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    levels = opened(head + body + struct.pack("<H", len(tags)) + entries + bytes(4)).rgb()[0, :, 0]
    assert levels.tolist() == [0, 32776, 65535, 2032]  # 0, 2048, 4095 and 127 of 4095
    wide = np.array([[0, 2**31, 2**32 - 1]], dtype=np.uint32)
    assert opened(tiff(wide, photometric="minisblack")).rgb()[0, :, 0].tolist() == [0, 32768, 65535]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(depth):
    white = np.iinfo(depth).max
    stored = np.array(
        [[[white // 5, white // 10, 0, white // 5], [white, 0, white // 3, white]]], dtype=depth
    )
    colours = opened(tiff(stored, photometric="rgb", extrasamples=["assocalpha"])).rgb(flat=False) / white
    assert np.abs(colours - [[[1, 0.5, 0], [1, 0, 1 / 3]]]).max() < 0.01


def test_layouts_of_tiff_that_are_not_read_are_refused_by_name():
    content = tiff((DEEP[..., :3] / 65535).astype(np.float32), photometric="rgb")
    with pytest.raises(PhotoError, match=r"^a: not a photo that can be read \(TIFF: unknown pixel mode\)"):
        opened(content)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_the_usual_white_that_fits(saved, white):
    levels = np.array([[0, 0.2, 1.0]], dtype=np.float32) * white
    assert pixels(saved(levels, "photo.tif"))[0, :, 0].tolist() == [0, 51, 255]


@pytest.mark.parametrize("name", ["sRGB", "mine"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_profile_is_judged_by_its_numbers_not_by_its_name(png, profile_of_gamma, name, depth):
    """0.215 of linear light is middle grey."""
    white = np.iinfo(depth).max
    grey = np.full((2, 2, 3), round(0.2159 * white), dtype=depth)
    photo = opened(png(grey, iCCP=b"x\0\0" + zlib.compress(profile_of_gamma(1.0, name))))
    assert np.abs(photo.rgb() / white - 128 / 255).max() < 0.002
    assert photo.srgb_profile is None
    photo = opened(png(grey, iCCP=b"x\0\0" + zlib.compress(SRGB.replace(*RENAMED))))
    assert np.array_equal(photo.rgb(), grey)
    assert photo.srgb_profile == SRGB.replace(*RENAMED)


def test_sixteen_bits_of_linear_light_keep_their_shadows(png, profile_of_gamma):
    """At 8 bits the darkest levels of linear light would be 13 levels of sRGB apart."""
    ramp = np.arange(0, 512, dtype=np.uint16)[None, :, None].repeat(3, axis=2)
    photo = opened(png(ramp, iCCP=b"x\0\0" + zlib.compress(profile_of_gamma(1.0))))
    shown = photo.rgb()[0, :, 0].astype(int)
    assert abs(shown[-1] - 5544) <= 6  # 65535 * (1.055 * (511 / 65535) ** (1 / 2.4) - 0.055)
    assert (np.diff(shown) > 0).all()


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_profile_of_grey_counts_also_beside_transparency(png, grey_profile, mode, depth):
    white = np.iinfo(depth).max
    pixels = np.array([[[round(0.2159 * white), white], [white, white // 2]]], dtype=depth)[..., : len(mode)]
    photo = opened(png(pixels, iCCP=b"x\0\0" + zlib.compress(grey_profile(1.0))))
    assert np.abs(photo.rgb(flat=False)[0] / white - [[128 / 255] * 3, [1] * 3]).max() < 0.003
    assert photo.srgb_profile is None


def test_a_profile_of_wide_colours_is_converted(saved):
    """Display P3 (200, 100, 50) is sRGB (215, 93, 31), by SMPTE EG 432-1 and IEC 61966-2-1."""
    content = bytearray(SRGB)
    columns = {  # of P3 with the white of D50, as in Apple's profile
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for entry in range(132, 132 + 12 * struct.unpack_from(">I", content, 128)[0], 12):
        tag, offset, _ = struct.unpack_from(">4sII", content, entry)
        if tag in columns:
            struct.pack_into(">3i", content, offset + 8, *(round(65536 * v) for v in columns[tag]))
    shown = pixels(saved(Image.new("RGB", (2, 2), (200, 100, 50)), icc_profile=bytes(content)))
    assert np.abs(shown.astype(int) - [215, 93, 31]).max() <= 2


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt", "iCCP"])
def test_a_photo_with_large_notes_or_a_large_profile_is_a_photo(png, kind):
    large = zlib.compress(SRGB + bytes(2_000_000))
    notes = {
        "zTXt": b"a\0\0" + large,
        "iTXt": b"a\0\1\0\0\0" + large,
        "tEXt": b"a\0" + b"x" * 70_000_000,
        "iCCP": b"a\0\0" + large,
    }
    photo = opened(png(RGB, **{kind: notes[kind]}))
    assert np.array_equal(photo.rgb(), RGB)
    assert bool(photo.icc) == (kind == "iCCP")


def test_the_main_picture_of_a_phone_counts_and_its_previews_are_not_told_of(saved):
    file = saved(RGB.repeat(8, axis=0), "photo.mpo", save_all=True, append_images=[Image.new("RGB", (4, 24))])
    photo = open_photo(file)
    assert (photo.size, photo.note) == ((4, 24), None)


def test_pages_behind_the_first_are_told_of(saved):
    file = saved(RGB, "photo.tif", save_all=True, append_images=[Image.new("RGB", (4, 3))])
    photo = open_photo(file)
    assert np.array_equal(photo.rgb(), RGB)
    assert photo.note == "has several pages; the first is used"


def test_a_transparent_shade_of_two_bits_is_found():
    rows = zlib.compress(b"\0\x1b")  # 0, 1, 2, 3
    photo = opened(png_of(4, 1, 2, rows, chunk(b"tRNS", b"\0\1")))
    assert np.asarray(photo.alpha).tolist() == [[255, 0, 255, 255]]


def test_without_pillow_heif_one_line_says_what_to_install(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(RGB).resize((32, 32))).save(tmp_path / "a.heic")
    assert open_photo(tmp_path / "a.heic").size == (32, 32)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as Python notes a module that isn't there
    with pytest.raises(
        PhotoError, match=r'a\.heic: HEIC needs pillow-heif\. .* pip install "ugc-super-resolution\[heic\]"'
    ):
        open_photo(tmp_path / "a.heic")


def test_a_pipe_is_no_photo_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(PhotoError, match=r"a\.jpg: not a file"):
        open_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("profile", [b"", b"no profile", b"\0" * 200])
def test_a_broken_profile_counts_as_absent(saved, profile):
    assert np.array_equal(pixels(saved(RGB, icc_profile=profile)), RGB)


def test_a_box_takes_the_same_pixels_as_the_whole(saved):
    alpha = np.full((3, 4, 1), 99, dtype=np.uint8)
    photo = open_photo(saved(np.dstack((RGB, alpha))))
    assert np.array_equal(photo.rgb((1, 2, 2, 1)), photo.rgb()[1:3, 2:3])


def test_the_suffix_does_not_matter(saved, tmp_path):
    saved(RGB).rename(tmp_path / "photo.jpg")
    assert np.array_equal(pixels(tmp_path / "photo.jpg"), RGB)


def test_400_megapixels_are_refused_without_being_decoded():
    content = blank_png(20000, 20000)
    with pytest.raises(PhotoError, match=r"^a: 20000x20000 px; more than 256 megapixels"):
        opened(content)


def test_72_megapixels_can_be_cropped_but_not_used_whole(tmp_path):
    (tmp_path / "large.png").write_bytes(blank_png(9000, 8000))
    assert open_photo(tmp_path / "large.png").rgb((7990, 8990, 10, 10)).shape == (10, 10, 3)
    with pytest.raises(PhotoError, match=r"large\.png: 9000x8000 px; more than 64 megapixels .*--crop"):
        load_photo(tmp_path / "large.png")


def test_a_tiff_with_too_few_strips_is_refused(saved):
    content = saved(Image.new("CMYK", (17, 21)), "photo.tif").read_bytes()
    height = struct.pack("<HHII", 257, 4, 1, 21)
    assert height in content
    short = content.replace(height, struct.pack("<HHII", 257, 4, 1, 8_000_000))
    with pytest.raises(PhotoError, match=r"^a: broken: its pixels end before its size is reached"):
        opened(short)


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
