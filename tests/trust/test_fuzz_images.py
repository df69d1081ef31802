"""Hostile pictures: opened or refused by name, in bounds; none starts another program."""

import io
import os
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from ugc_sr.degrade.__main__ import main as degrade
from ugc_sr.degrade.dataset.whole_photo import load_photo
from ugc_sr.restore.photo import read
from ugc_sr.score.__main__ import main as score

ROUNDS = 2000 if os.environ.get("UGCSR_FUZZ") == "full" else 25
PIXELS = np.random.default_rng(1).integers(0, 256, (21, 17, 4), dtype=np.uint8)


KINDS = {
    "png": {"mode": "RGBA"},
    "jpg": {"mode": "RGB"},
    "cmyk.jpg": {"mode": "CMYK"},
    "webp": {"mode": "RGBA"},
    "gif": {"mode": "P"},
    "tif": {"mode": "RGB", "compression": "tiff_lzw"},
    "cmyk.tif": {"mode": "CMYK"},
    "bmp": {"mode": "RGB"},
    "avif": {"mode": "RGB"},
    "jp2": {"mode": "RGB"},
    "ppm": {"mode": "RGB"},
    "tga": {"mode": "RGBA"},
    "deep.png": {"mode": "I;16"},
    "float.tif": {"mode": "F"},
    "bit.png": {"mode": "1"},
    "coloured.deep.png": {"mode": "RGB;16"},
    "coloured.deep.tif": {"mode": "RGB;16"},
    "heic": {"mode": "RGB"},
    "animated.gif": {"mode": "P", "save_all": True},
    "animated.webp": {"mode": "RGB", "save_all": True},
    "animated.png": {"mode": "RGB", "save_all": True},
}
# What Pillow's own writers never make.
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\nshowpage\n%%EOF\n"


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, rows, *, depth=8, color=0, extra=b""):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def packed(kind, size, times=1):
    """A PNG of one pixel with chunks that are that many bytes each once they are unpacked."""
    return png(1, 1, bytes(2), extra=chunk(kind, b"a\0\0" + zlib.compress(bytes(size), 9)) * times)


def bmp(width, height):
    return (
        b"BM"
        + struct.pack("<IHHI", 58, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)
    )


def gif(width, height):
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0, 0, 0)
        + b",\0\0\0\0"
        + struct.pack("<HHB", width, height, 0)
    )


def tiff(width, height):
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 2**32 - 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


MADE = {
    "nothing": b"",
    "text": b"buy milk",
    "PostScript": EPS,
    "PostScript behind a preview": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(EPS)) + bytes(20) + EPS,
    "PDF": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%%EOF",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:1/'/></svg>",
    "Python": b"import os; os.mkdir('made')",
    "PNG of 2^31 pixels a side": png(2**31 - 1, 2**31 - 1, b""),
    "PNG of no pixels": png(0, 5, b""),
    "PNG with too few rows": png(100, 100, bytes(50)),
    "PNG of packed text": packed(b"zTXt", 2**28),
    "PNG of packed profile": packed(b"iCCP", 2**28),
    "PNG of thousands of packed texts": packed(b"zTXt", 2**21, times=20_000),
    "PNG of thousands of packed profiles": packed(b"iCCP", 2**25, times=1_000),
    "BMP": bmp(2**31 - 1, 2**31 - 1),
    "BMP, upside down": bmp(2**15, -(2**31)),
    "GIF": gif(65535, 65535),
    "TIFF": tiff(2**31, 2**31),
    "TIFF of a long strip": tiff(16, 16),
    "PPM": b"P6 99999999999 99999999999 255\n",
    "PPM of a long number": b"P6 " + b"9" * 10_000 + b" 1 255\n",
    "JPEG": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9",
    "TGA": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 65535, 65535, 24, 0),
}


def saved(kind, mode, **options):
    if mode == "RGB;16":
        deep = PIXELS[..., :3].astype(np.uint16) * 257
        if kind == "tif":
            content = io.BytesIO()
            tifffile.imwrite(content, deep, photometric="rgb", compression="zlib")
            return content.getvalue()
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
        return png(deep.shape[1], deep.shape[0], rows, depth=16, color=2)
    content = io.BytesIO()
    if kind == "heic":
        pillow_heif.from_pillow(Image.fromarray(PIXELS[..., :3])).save(content)
        return content.getvalue()
    picture = Image.fromarray(PIXELS if mode != "I;16" else PIXELS[..., 0].astype(np.uint16) * 257)
    picture = picture if mode == "I;16" else picture.convert("RGB").convert(mode)
    if options.get("save_all"):
        options["append_images"] = [picture.rotate(90)]
    name = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000", "ppm": "PPM"}.get(kind, kind.upper())
    picture.save(content, name, **options)
    return content.getvalue()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "hostile.png"


@pytest.mark.parametrize("name", KINDS)
def test_a_harmed_picture_is_opened_or_refused_by_name(file, refusal, name):
    options = dict(KINDS[name])
    whole = saved(name.split(".")[-1], options.pop("mode"), **options)
    rng = np.random.default_rng(len(name))
    file.write_bytes(whole)
    refused = 0
    for _ in range(ROUNDS):
        harmed = np.frombuffer(whole, np.uint8).copy()
        # most of what a header says stands in its first bytes
        reach = len(harmed) if rng.random() < 0.5 else min(60, len(harmed))
        harmed[rng.integers(0, reach, 3)] = rng.choice([0, 1, 127, 128, 255, 32], 3)
        cut = len(harmed) if rng.random() < 0.5 else int(rng.integers(1, len(harmed)))
        file.write_bytes(harmed.tobytes()[:cut])
        words = refusal(load_photo, file)
        refused += words is not None
        assert words is None or file.name in words
    assert refused


@pytest.mark.parametrize("what", MADE)
def test_what_no_camera_makes_is_refused_or_small(file, refusal, what):
    file.write_bytes(MADE[what])
    words = refusal(load_photo, file)
    assert file.name in words if words else load_photo(file).numel() < 10_000
    assert (refusal(read, file) is None) == (words is None)  # restore's reader, which names no file


@pytest.mark.parametrize("what", MADE)
def test_the_commands_tell_of_it_in_one_line_and_go_on(tmp_path, run_command, what):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "hostile.png").write_bytes(MADE[what])
    Image.fromarray(PIXELS[..., :3]).save(photos / "zebra.png")
    status, said = run_command(
        degrade, photos, tmp_path / "pairs", "--recipe", "upload", "--workers", 1, "--scale", 1
    )
    assert status in (0, 1)
    assert (tmp_path / "pairs" / "lr" / "zebra.png").is_file()
    assert [line for line in said.splitlines() if "hostile.png" in line] or status == 0
    status, said = run_command(score, photos / "hostile.png", "--json", tmp_path / "scores.json")
    assert (status, said.count("\n")) in ((0, 0), (2, 1))
    assert not list(tmp_path.glob("**/made"))
