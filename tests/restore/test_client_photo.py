"""What a photo keeps on its way through a host: its turn, colours, transparency and notes."""

import io
import json
import struct

import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from ugc_sr.photos.reader import open_photo
from ugc_sr.restore.photo import finish, read, record_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKER, DETAILS, WIDTH, TAKEN = 0x0112, 0x010F, 0x8769, 0xA002, 0x9003


def marked(size=(24, 40)):
    """Grey, with a red corner at the top left."""
    picture = Image.new("RGB", size, (128, 128, 128))
    ImageDraw.Draw(picture).rectangle((0, 0, 7, 7), fill=(200, 30, 30))
    return picture


def decoded(photo):
    return Image.open(io.BytesIO(photo.png))


def result_of(size, **chunks):
    """A picture as a host saves it."""
    told = PngInfo()
    for name, text in chunks.items():
        told.add_text(name, text)
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, "PNG", pnginfo=told)
    return file.getvalue()


def test_a_photo_that_lies_on_its_side_is_sent_upright_and_its_result_says_so(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "Phone"  # turn right to see it
    exif.get_ifd(DETAILS).update({WIDTH: 24, TAKEN: "2024:01:02 03:04:05"})
    marked().save(tmp_path / "photo.jpg", exif=exif, quality=95)
    photo = read(tmp_path / "photo.jpg")
    sent = decoded(photo)
    assert sent.size == (40, 24)
    assert sent.getpixel((37, 2))[0] > 180  # the red corner is at the top right now
    assert max(sent.getpixel((2, 2))) < 140
    kept = Image.open(io.BytesIO(finish(result_of((80, 48)), photo, {}))).getexif()
    assert kept[MAKER] == "Phone"
    assert kept.get_ifd(DETAILS) == {TAKEN: "2024:01:02 03:04:05"}
    assert ORIENTATION not in kept


def test_a_profile_of_rgb_is_kept_and_its_numbers_are_not_touched(tmp_path):
    marked().save(tmp_path / "photo.png", icc_profile=SRGB)
    photo = read(tmp_path / "photo.png")
    assert decoded(photo).tobytes() == marked().tobytes()
    assert Image.open(io.BytesIO(finish(result_of((8, 8)), photo, {}))).info["icc_profile"] == SRGB


def test_transparency_is_enlarged_and_put_back_and_the_hosts_own_words_stay(tmp_path):
    clear = marked((16, 16))
    clear.putalpha(Image.linear_gradient("L").resize((16, 16)))
    clear.save(tmp_path / "photo.png")
    photo = read(tmp_path / "photo.png")
    assert decoded(photo).mode == "RGB"
    result = Image.open(io.BytesIO(finish(result_of((64, 64), prompt="{}"), photo, {"seed": 3})))
    assert (result.mode, result.size) == ("RGBA", (64, 64))
    assert (
        result.convert("RGB").tobytes()
        == Image.linear_gradient("L").resize((64, 64)).convert("RGB").tobytes()
    )
    assert result.getpixel((0, 0))[3] < 20
    assert result.getpixel((0, 63))[3] > 235
    assert result.info["prompt"] == "{}"
    assert json.loads(result.info["ugc_sr"]) == {"seed": 3}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_notes_are_left_behind(tmp_path):
    marked().save(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert read(tmp_path / "photo.jpg").exif is None


def test_a_file_that_cannot_be_read_is_told_of_without_its_name(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"^not a photo that can be read; expected one of JPEG, PNG"):
        read(tmp_path / "photo.jpg")


def test_pixels_of_a_result_stay_byte_for_byte_and_its_record_can_be_read_back(tmp_path):
    marked().save(tmp_path / "photo.png")
    sent = result_of((9, 7), workflow="{}")
    record = {"photo": "Straße/写真.jpg", "seed": 1}
    (tmp_path / "result.png").write_bytes(finish(sent, read(tmp_path / "photo.png"), record))
    result = Image.open(tmp_path / "result.png")
    assert result.tobytes() == Image.open(io.BytesIO(sent)).tobytes()
    assert result.info["workflow"] == "{}"
    assert record_of(tmp_path / "result.png") == record
    assert record_of(tmp_path / "photo.png") is None


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (b"RIFF....WEBP", r"saves another format than PNG\. End it with Save Image"),
        (result_of((48, 80))[:60], r"saved a PNG that can't be read: "),
    ],
)
def test_a_result_that_is_no_whole_png_is_refused(tmp_path, result, problem):
    clear = marked()
    clear.putalpha(9)
    clear.save(tmp_path / "clear.png")
    with pytest.raises(ValueError, match=problem):
        finish(result, read(tmp_path / "clear.png"), {})


@pytest.mark.slow
def test_a_result_of_192_megapixels_is_read_back_joined_and_scored(tmp_path):
    """As of a photo of 12 megapixels, four times as large."""
    clear = marked((40, 30))
    clear.putalpha(99)
    clear.save(tmp_path / "photo.png")
    large = io.BytesIO()
    Image.new("L", (16000, 12000), 9).save(large, "PNG", compress_level=1)
    (tmp_path / "result.png").write_bytes(finish(large.getvalue(), read(tmp_path / "photo.png"), {"seed": 1}))
    assert record_of(tmp_path / "result.png") == {"seed": 1}
    result = open_photo(tmp_path / "result.png")
    assert result.size == (16000, 12000)
    assert result.rgb((11999, 15999, 1, 1), flat=False).tolist() == [[[9, 9, 9]]]
    assert result.alpha.getpixel((8000, 6000)) == 99


def test_words_of_the_host_of_any_length_stay_with_transparency(tmp_path):
    clear = marked((8, 8))
    clear.putalpha(99)
    clear.save(tmp_path / "photo.png")
    sent = result_of((16, 16), workflow="w" * 3_000_000)
    (tmp_path / "result.png").write_bytes(finish(sent, read(tmp_path / "photo.png"), {"seed": 1}))
    assert Image.open(tmp_path / "result.png").info["workflow"] == "w" * 3_000_000
    assert record_of(tmp_path / "result.png") == {"seed": 1}


def test_a_profile_that_is_not_srgb_is_converted_and_not_kept(tmp_path):
    """Colours of the numbers that are sent must be those that the model knows: sRGB."""
    linear = bytearray(SRGB)
    for entry in range(132, 132 + 12 * struct.unpack_from(">I", linear, 128)[0], 12):
        tag, offset, _ = struct.unpack_from(">4sII", linear, entry)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">4sIHHi", linear, offset, b"para", 0, 0, 0, 65536)
            struct.pack_into(">I", linear, entry + 8, 16)
    Image.new("RGB", (2, 2), (55, 55, 55)).save(tmp_path / "photo.png", icc_profile=bytes(linear))
    photo = read(tmp_path / "photo.png")
    assert (photo.icc, decoded(photo).getpixel((0, 0))) == (None, (128, 128, 128))
