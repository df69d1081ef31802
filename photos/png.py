"""The chunks of PNG files, which hold text and colour profiles besides the pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
AFTER_HEADER = 33  # signature, and IHDR: length, type, 13 bytes, checksum
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
MOST_NOTES = 1 << 20  # bytes of notes that Pillow gets to see, unpacked; it takes no more of one
MOST_PROFILE = 1 << 24  # bytes, unpacked; those of printers have some 2 MB


class Chunk(NamedTuple):
    """A chunk: type, content, and its start and end in the file."""

    kind: bytes
    content: memoryview
    start: int
    end: int


def chunks(file: bytes) -> Iterator[Chunk]:
    """Yield the complete chunks of a PNG file in order; checksums are not verified."""
    view, place = memoryview(file), len(SIGNATURE)
    while place + 12 <= len(file):
        length, kind = struct.unpack_from(">I4s", file, place)
        end = place + 12 + length
        if end > len(file):
            return
        yield Chunk(kind, view[place + 8 : end - 4], place, end)
        place = end


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk as bytes."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def text_of(file: bytes, key: str) -> bytes | None:
    """Return the text of the first uncompressed iTXt chunk with the keyword `key`, None if there is none."""
    head = key.encode() + b"\0\0\0"
    for kind, content, _, _ in chunks(file):
        if kind == b"iTXt" and content[: len(head)] == head:
            return bytes(content[len(head) :]).split(b"\0", 2)[-1]
    return None


def without_large_notes(file: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG file that Pillow opens even if texts or the profile were large.

    Pillow refuses files with a text of more than 1 MB, to avoid texts that unpack to gigabytes. Such texts
    are removed here; the pixels are unchanged.

    Returns:
        The file, and the colour profile if that was removed for its size.
    """
    parts, seen, profiles, profile, place = [], 0, 0, None, 0
    for kind, content, start, end in chunks(file):
        if kind == b"IEND":
            break
        if kind not in (*TEXTS, b"iCCP"):
            continue
        if kind == b"iCCP":
            profiles += 1
            size, unpacked = _unpacked(kind, content, MOST_PROFILE) if profiles == 1 else (0, b"")
            if size <= MOST_NOTES and profiles == 1:
                continue
            profile = unpacked if MOST_NOTES < size <= MOST_PROFILE else profile
        elif seen <= MOST_NOTES:  # later ones are removed unread: unpacking thousands would take minutes
            seen += _unpacked(kind, content, MOST_NOTES)[0]
            if seen <= MOST_NOTES:
                continue
        parts.append(file[place:start])
        place = end
    return (b"".join([*parts, file[place:]]), profile) if parts else (file, None)


def _unpacked(kind: bytes, content: memoryview, limit: int) -> tuple[int, bytes]:
    """Return the size of a chunk's text or profile, at most `limit` + 1, and its bytes if compressed."""
    head, _, rest = bytes(content).partition(b"\0")
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] != b"\1"):
        return len(content), b""
    packed = rest[1:] if kind != b"iTXt" else rest[2:].split(b"\0", 2)[-1]
    try:
        unpacked = zlib.decompressobj().decompress(packed, limit + 1)
    except zlib.error:
        return len(head), b""  # Pillow leaves broken ones out
    return len(unpacked), unpacked
