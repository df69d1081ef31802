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


@pytest.fixture
def sent(tmp_path):
    """Saves a picture, of one alpha if that is given, and reads it as a photo."""

    def save(picture, name="photo.png", alpha=None, **options):
        if alpha is not None:
            picture.putalpha(alpha)
        picture.save(tmp_path / name, **options)
        return read(tmp_path / name)

    return save


@pytest.fixture
def result(tmp_path):
    """Finishes what a host gave for a photo, and stores it; gives the file."""

    def store(*given):
        (tmp_path / "result.png").write_bytes(finish(*given))
        return tmp_path / "result.png"

    return store


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


def test_a_photo_that_lies_on_its_side_is_sent_upright_and_its_result_says_so(sent, result):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "Phone"  # turn right to see it
    exif.get_ifd(DETAILS).update({WIDTH: 24, TAKEN: "2024:01:02 03:04:05"})
    photo = sent(marked(), "photo.jpg", exif=exif, quality=95)
    upright = decoded(photo)
    assert upright.size == (40, 24)
    assert upright.getpixel((37, 2))[0] > 180  # the red corner is at the top right now
    assert max(upright.getpixel((2, 2))) < 140
    kept = Image.open(result(result_of((80, 48)), photo, {})).getexif()
    assert kept[MAKER] == "Phone"
    assert kept.get_ifd(DETAILS) == {TAKEN: "2024:01:02 03:04:05"}
    assert ORIENTATION not in kept


def test_a_profile_of_rgb_is_kept_and_its_numbers_are_not_touched(sent, result):
    photo = sent(marked(), icc_profile=SRGB)
    assert decoded(photo).tobytes() == marked().tobytes()
    assert Image.open(result(result_of((8, 8)), photo, {})).info["icc_profile"] == SRGB


def test_transparency_is_enlarged_and_put_back_and_the_hosts_own_words_stay(sent, result):
    ramp = Image.linear_gradient("L")
    photo = sent(marked((16, 16)), alpha=ramp.resize((16, 16)))
    assert decoded(photo).mode == "RGB"
    joined = Image.open(result(result_of((64, 64), prompt="{}"), photo, {"seed": 3}))
    assert (joined.mode, joined.size) == ("RGBA", (64, 64))
    assert joined.convert("RGB").tobytes() == ramp.resize((64, 64)).convert("RGB").tobytes()
    assert joined.getpixel((0, 0))[3] < 20
    assert joined.getpixel((0, 63))[3] > 235
    assert joined.info["prompt"] == "{}"
    assert json.loads(joined.info["ugc_sr"]) == {"seed": 3}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_notes_are_left_behind(sent):
    assert sent(marked(), "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken").exif is None


def test_a_file_that_cannot_be_read_is_told_of_without_its_name(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"^not a photo that can be read; expected one of JPEG, PNG"):
        read(tmp_path / "photo.jpg")


def test_pixels_of_a_result_stay_byte_for_byte_and_its_record_can_be_read_back(sent, result, tmp_path):
    given = result_of((9, 7), workflow="{}")
    record = {"photo": "Straße/写真.jpg", "seed": 1}
    file = result(given, sent(marked()), record)
    assert Image.open(file).tobytes() == Image.open(io.BytesIO(given)).tobytes()
    assert Image.open(file).info["workflow"] == "{}"
    assert record_of(file) == record
    assert record_of(tmp_path / "photo.png") is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (b"RIFF....WEBP", r"saves another format than PNG\. End it with Save Image"),
        (result_of((48, 80))[:60], r"saved a PNG that can't be read: "),
    ],
)
def test_a_result_that_is_no_whole_png_is_refused(sent, given, problem):
    with pytest.raises(ValueError, match=problem):
        finish(given, sent(marked(), alpha=9), {})


@pytest.mark.slow
def test_a_result_of_192_megapixels_is_read_back_joined_and_scored(sent, result):
    """As of a photo of 12 megapixels, four times as large."""
    large = io.BytesIO()
    Image.new("L", (16000, 12000), 9).save(large, "PNG", compress_level=1)
    file = result(large.getvalue(), sent(marked((40, 30)), alpha=99), {"seed": 1})
    assert record_of(file) == {"seed": 1}
    opened = open_photo(file)
    assert opened.size == (16000, 12000)
    assert opened.rgb((11999, 15999, 1, 1), flat=False).tolist() == [[[9, 9, 9]]]
    assert opened.alpha.getpixel((8000, 6000)) == 99


def test_words_of_the_host_of_any_length_stay_with_transparency(sent, result):
    given = result_of((16, 16), workflow="w" * 3_000_000)
    file = result(given, sent(marked((8, 8)), alpha=99), {"seed": 1})
    assert Image.open(file).info["workflow"] == "w" * 3_000_000
    assert record_of(file) == {"seed": 1}


def test_a_profile_that_is_not_srgb_is_converted_and_not_kept(sent):
    """Colours of the numbers that are sent must be those that the model knows: sRGB."""
    linear = bytearray(SRGB)
    for entry in range(132, 132 + 12 * struct.unpack_from(">I", linear, 128)[0], 12):
        tag, offset, _ = struct.unpack_from(">4sII", linear, entry)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">4sIHHi", linear, offset, b"para", 0, 0, 0, 65536)
            struct.pack_into(">I", linear, entry + 8, 16)
    photo = sent(Image.new("RGB", (2, 2), (55, 55, 55)), icc_profile=bytes(linear))
    assert (photo.icc, decoded(photo).getpixel((0, 0))) == (None, (128, 128, 128))
