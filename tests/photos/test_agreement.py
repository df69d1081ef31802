"""Over 200 files that differ in format, depth, transparency, profile, turn and animation, read by all.

All show the same four fields. What they must look like is written down here.
"""

import io
import itertools
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from ugc_sr.degrade.dataset.whole_photo import load_photo
from ugc_sr.photos.formats import PhotoError
from ugc_sr.restore.photo import read
from ugc_sr.score.scoring import load
from ugc_sr.train.data.folders import photo_folder
from ugc_sr.train.data.sources import _pixels

SIDE = 16  # of a field, a block of every codec
COLOURS = [[(200, 120, 100), (110, 180, 140)], [(100, 130, 210), (230, 220, 120)]]
GREYS = [[(200,) * 3, (110,) * 3], [(150,) * 3, (235,) * 3]]
BLACK_WHITE = [[(255,) * 3, (0,) * 3], [(0,) * 3, (255,) * 3]]
LINEAR = {200: 147, 120: 48, 100: 33, 110: 40, 180: 117, 140: 67, 130: 57, 210: 164, 230: 202, 220: 184} | {
    150: 78,
    235: 212,
    255: 255,
    0: 0,
}  # 255 * ((v / 255 + 0.055) / 1.055) ** 2.4, rounded
ALPHA = [[255, 0], [128, 255]]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
STORED = {  # EXIF orientation -> how an upright picture has to be stored
    **{1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
    **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90},
    **{7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270},
}
EXACT, CLOSE, LOSSY = 0, 2, 5  # levels: as written, after a conversion of colours, after a lossy codec
# suffix, Pillow's mode or our own name for what Pillow does not write, tolerance, options
PLAIN = [
    *(
        ("png", mode, EXACT, {})
        for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "L16", "LA16", "RGB16")
    ),
    *(
        ("png", mode, EXACT, {})
        for mode in ("RGBA16", "L16 with a key", "RGB16 with a key", "RGB with a key")
    ),
    *(("jpg", mode, LOSSY, {"quality": 98, "subsampling": 0}) for mode in ("L", "RGB", "CMYK")),
    ("jfif", "RGB", LOSSY, {"quality": 98, "progressive": True}),
    *(("webp", mode, EXACT, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    ("webp", "RGB", LOSSY, {"quality": 98}),
    *(("avif", mode, LOSSY, {"quality": 98}) for mode in ("RGB", "RGBA")),
    *(("heic", mode, LOSSY, {"quality": 98}) for mode in ("RGB", "RGBA")),
    *(("tif", mode, EXACT, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "L16", "F")),
    *(("tif", "RGB", EXACT, {"compression": way}) for way in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
]
BARE = [  # formats without profile or orientation
    *(("gif", mode, EXACT, {}) for mode in ("L", "P", "PA")),
    ("tif", "LAB", CLOSE, {}),
    ("tif", "CMYK", EXACT, {}),
    # Pillow 12, the newest for Python 3.10, can't read the YCbCr that it writes; it is refused in words.
    *([("tif", "YCbCr", CLOSE, {})] if int(PIL.__version__.partition(".")[0]) >= 13 else []),
    *(("bmp", mode, EXACT, {}) for mode in ("1", "L", "P", "RGB")),
    *(("jp2", mode, EXACT, {"irreversible": False}) for mode in ("L", "LA", "RGB", "RGBA")),
    *(("ppm", mode, EXACT, {}) for mode in ("L", "RGB", "L16")),
    *(("tga", mode, EXACT, {}) for mode in ("L", "RGB", "RGBA")),
]
ANIMATED = [("png", "RGB", EXACT), ("gif", "P", EXACT), ("webp", "RGB", EXACT), ("avif", "RGB", LOSSY)]
CASES = [
    *(
        (*kind, profile, turn, False)
        for kind, profile, turn in itertools.product(PLAIN, (None, "sRGB", "linear"), (1, 6))
        if not (kind[1] in ("1", "CMYK", "F", "LA16", "L16") and profile == "linear")
    ),
    *((*kind, None, 1, False) for kind in BARE),
    *((*kind, None, turn, False) for kind in (PLAIN[5], PLAIN[9], PLAIN[15]) for turn in (2, 3, 4, 5, 7, 8)),
    *(
        (*kind, {"lossless": True} if kind[0] == "webp" else {}, profile, 1, True)
        for kind in ANIMATED
        for profile in (None, "linear")
        if not (kind[0] == "gif" and profile)
    ),
]


def fields(values, kind=np.uint8):
    """Four fields of the values, (H, W, C)."""
    return np.array(values, kind).repeat(SIDE, axis=0).repeat(SIDE, axis=1)


def shows(mode):
    """The colours of the fields, and whether one is transparent."""
    colours = BLACK_WHITE if mode == "1" else GREYS if mode[0] in "LF" else COLOURS
    return colours, mode in ("LA", "PA", "RGBA", "LA16", "RGBA16") or "key" in mode


def expected(mode):
    """(H, W, 3) in [0, 255]: what a person sees on white."""
    colours, clear = shows(mode)
    seen = fields(colours).astype(float)
    alpha = fields([[255, 0], [255, 255]] if "key" in mode or mode == "PA" else ALPHA)[..., None] / 255
    return seen * alpha + 255 * (1 - alpha) if clear else seen


def encoded(suffix, mode, options, profile, turn, animated, png):
    """The file."""
    colours, clear = shows(mode)
    stored = (
        [[[LINEAR[v] for v in colour] for colour in row] for row in colours]
        if profile == "linear"
        else colours
    )
    picture = Image.fromarray(fields(stored))
    key = picture.getpixel((SIDE, 0))
    picture.putalpha(Image.fromarray(fields(ALPHA)))
    if STORED[turn] is not None:
        picture = picture.transpose(STORED[turn])
    exif = Image.Exif()
    exif[0x0112] = turn
    tags = {"exif": exif} if turn != 1 else {}
    if "16" in mode:
        return deep(picture, suffix, mode, tags | options, key, png)
    if mode in ("P", "PA"):
        palette = picture.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
        if mode == "PA":
            tags["transparency"] = palette.getpixel(clear_place(turn))
        picture = palette
    elif mode == "RGB with a key":
        picture, tags = picture.convert("RGB"), tags | {"transparency": key}
    elif mode == "F":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.float32) / 255)
    else:
        picture = picture.convert(mode) if clear else picture.convert("RGB").convert(mode)
    if animated:
        tags |= {"save_all": True, "append_images": [Image.new(picture.mode, picture.size)] * 2}
    return saved(picture, suffix, {**options, **tags})


def deep(picture, suffix, mode, options, key, png):
    """A file of 16 bits a channel."""
    levels = np.asarray(picture.convert("LA" if mode[0] == "L" else "RGBA")).astype(np.uint16) * 257
    levels = levels if mode in ("LA16", "RGBA16") else levels[..., :-1]
    if suffix in ("tif", "ppm"):
        return saved(Image.fromarray(levels[..., 0]), suffix, options)
    chunks = {}
    if "exif" in options:
        chunks["eXIf"] = options["exif"].tobytes().removeprefix(b"Exif\0\0")
    if "icc_profile" in options:
        chunks["iCCP"] = b"x\0\0" + zlib.compress(options["icc_profile"])
    if "key" in mode:
        chunks["tRNS"] = (np.array(key[: 1 if mode[0] == "L" else 3], ">u2") * 257).astype(">u2").tobytes()
    return png(levels, **chunks)


def saved(picture, suffix, options):
    buffer = io.BytesIO()
    if suffix == "heic":
        import pillow_heif

        heif = pillow_heif.from_pillow(picture)
        if "exif" in options:
            options["exif"] = options["exif"].tobytes()
        heif[0].info.update(options)
        heif.save(buffer, chroma=444, **options)
        return buffer.getvalue()
    kinds = {"jpg": "JPEG", "jfif": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}
    picture.save(buffer, kinds.get(suffix, suffix.upper()), **options)
    return buffer.getvalue()


def clear_place(turn):
    """A pixel of the field that is transparent, at the top right of the upright picture."""
    return {1: (SIDE, 0), 6: (0, 0)}[turn]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:2] + case[4:])))
def test_every_command_sees_the_same_pixels(tmp_path, png, profile_of_gamma, case):
    suffix, mode, tolerance, options, profile, turn, animated = case
    icc = {"sRGB": SRGB, "linear": profile_of_gamma(1.0), None: None}[profile]
    options = options | ({"icc_profile": icc} if icc else {})
    file = tmp_path / f"photo.{suffix}"
    file.write_bytes(encoded(suffix, mode, options, profile, turn, animated, png))

    sent = read(file)
    restored = Image.open(io.BytesIO(sent.png)).convert("RGBA")
    if sent.alpha:
        restored.putalpha(sent.alpha)
    restored = np.asarray(
        Image.alpha_composite(Image.new("RGBA", restored.size, "white"), restored).convert("RGB")
    ).astype(float)
    degraded = load_photo(file)[0].permute(1, 2, 0).numpy() * 255
    trained = _pixels(photo_folder(tmp_path).open(0, "hr")).permute(1, 2, 0).numpy().astype(float)
    assert np.abs(restored - degraded).max() <= 1
    assert np.abs(trained - degraded).max() <= 0.501
    if shows(mode)[1]:
        with pytest.raises(PhotoError, match=r"partly transparent; metrics compare opaque pictures"):
            load(file)
    else:
        assert np.array_equal(load(file)[0].permute(1, 2, 0).numpy() * 255, degraded)

    middles = np.s_[SIDE // 2 :: SIDE, SIDE // 2 :: SIDE]
    slack = max(tolerance, CLOSE if profile == "linear" else EXACT) + (0.51 if shows(mode)[1] else 0.01)
    assert degraded.shape == (2 * SIDE, 2 * SIDE, 3)
    assert np.abs(degraded[middles] - expected(mode)[middles]).max() <= slack
    assert sent.icc == (icc if profile == "sRGB" else None)
    assert (sent.note or "").startswith("is animated") == animated
