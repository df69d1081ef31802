"""Files that Pillow does not write: colour profiles, and PNG of any depth."""

import struct
import zlib

import pytest
from PIL import ImageCms

from ugc_sr.photos.png import SIGNATURE, chunk


@pytest.fixture(scope="session")
def profile_of_gamma():
    """Makes an sRGB profile whose curves are replaced by a power, still called sRGB unless renamed."""

    def make(gamma, name="sRGB"):
        content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        for entry in range(132, 132 + 12 * struct.unpack_from(">I", content, 128)[0], 12):
            tag, offset, size = struct.unpack_from(">4sII", content, entry)
            if tag in {b"rTRC", b"gTRC", b"bTRC"}:
                struct.pack_into(">4sIHHi", content, offset, b"para", 0, 0, 0, int(gamma * 65536))
                struct.pack_into(">I", content, entry + 8, 16)
            if tag == b"desc":
                renamed = content[offset : offset + size].replace(
                    *(text.encode("utf-16-be") for text in ("sRGB", name))
                )
                content[offset : offset + size] = renamed
        return bytes(content)

    return make


@pytest.fixture(scope="session")
def grey_profile():
    """Makes a profile of grey with a power as its curve (ICC.1:2001)."""

    def make(gamma):
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
        white = b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1, 0.82491))
        text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78)
        notice = b"text\0\0\0\0-\0"
        body, table, start = b"", b"", 132 + 12 * 4
        for name, data in ((b"desc", text), (b"cprt", notice), (b"wtpt", white), (b"kTRC", curve)):
            table += name + struct.pack(">II", start + len(body), len(data))
            body += data + bytes(-len(data) % 4)
        head = bytearray(128)
        struct.pack_into(">I", head, 0, start + len(body))
        struct.pack_into(">I", head, 8, 0x02400000)
        head[12:24], head[36:40] = b"mntrGRAYXYZ ", b"acsp"
        head[68:80] = white[8:]
        return bytes(head) + struct.pack(">I", 4) + table + body

    return make


@pytest.fixture(scope="session")
def png():
    """Makes a PNG of pixels (H, W, C) uint8 or uint16, with further chunks before its pixels."""

    def make(pixels, **chunks):
        height, width, channels = pixels.shape
        depth = 8 * pixels.dtype.itemsize
        head = struct.pack(">IIBBBBB", width, height, depth, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
        rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
        parts = {"IHDR": head, **chunks, "IDAT": zlib.compress(rows), "IEND": b""}
        return SIGNATURE + b"".join(chunk(kind.encode(), content) for kind, content in parts.items())

    return make
