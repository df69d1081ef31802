"""WebDataset shards: tar files in which the members NAME.hr.png, NAME.lr.png and NAME.txt are one sample.

A tar file isn't packed, so a member can be read wherever it lies once the heads were read: every sample
is at hand at any time, and going on with a run costs nothing. The order keeps reads close together, for
disks and networks that like that: shards in random order, `TOGETHER` of them at a time, shuffled within.
"""

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ...degrade.dataset.files import PhotoError, open_photo
from ...degrade.dataset.join import HR_FOLDERS, LR_FOLDERS
from ...degrade.dataset.listing import unused
from ...files import read_text
from .files import Files, may_be_photo
from .sample import shuffled

TOGETHER = 8  # shards whose samples are mixed; assumed
ROLES = ("hr", "lr", "txt")


class Shards:
    """The samples of many tar files, on one disk or several.

    Args:
        where: a folder of .tar files, or a .txt list with the path of one a line.

    Raises:
        FileNotFoundError: if there are none, or no sample in them.
        ValueError: if one can't be read to its end.
    """

    kind = "shards"

    def __init__(self, where: Path) -> None:
        self.tars = [str(file) for file in list_tars(where)]
        self.names: list[str] = []
        shards, places = [], []
        for number, file in enumerate(self.tars):
            for name, members in _read_heads(Path(file)):
                self.names.append(name)
                shards.append(number)
                places.append([members.get(role, (-1, 0)) for role in ROLES])
        if not self.names:
            raise FileNotFoundError(f"{where}: no sample in its shards; expected members like NAME.hr.png.")
        self._shard = np.array(shards, dtype=np.int32)
        self._place = np.array(places, dtype=np.int64)  # (samples, roles, offset and size)
        self.groups = self.names
        self.problems: dict[str, str] = {}

    @property
    def paired(self) -> bool:
        """Whether there are damaged photos too."""
        return bool((self._place[:, ROLES.index("lr"), 0] >= 0).all())

    def open(self, index: int, side: str) -> Image.Image:
        """A decoded photo.

        Raises:
            PhotoError: if it isn't a whole photo, or the shard can't be read.
        """
        return open_photo(Path(self.where(index, side)), self.read(index, side))

    def read(self, index: int, role: str) -> bytes:
        """The bytes of a member, none if it isn't there.

        Raises:
            PhotoError: if the shard can't be read.
        """
        offset, size = self._place[index, ROLES.index(role)]
        if offset < 0:
            return b""
        try:
            with Path(self.tars[self._shard[index]]).open("rb") as tar:
                tar.seek(int(offset))
                return tar.read(int(size))
        except OSError as error:
            raise PhotoError(f"{self.where(index, role)}: {error.strerror or error}.") from None

    def caption(self, index: int) -> str:
        """What was written about the photo, in one line."""
        return " ".join(self.read(index, "txt").decode("utf-8", errors="replace").split())

    def order(self, rng: random.Random) -> list[int]:
        """All samples, a few shards at a time."""
        bounds = np.searchsorted(self._shard, range(len(self.tars) + 1))
        shards = shuffled(len(self.tars), rng)
        order = []
        for first in range(0, len(shards), TOGETHER):
            near = [i for s in shards[first : first + TOGETHER] for i in range(bounds[s], bounds[s + 1])]
            rng.shuffle(near)
            order += near
        return order

    def where(self, index: int, side: str) -> str:
        """The shard and the sample in it, for messages."""
        return f"{self.tars[self._shard[index]]}/{self.names[index]}.{side}"


def list_tars(where: Path) -> list[Path]:
    """The .tar files that a folder or list means, in order.

    Raises:
        FileNotFoundError: if there are none.
    """
    if where.is_dir():
        tars = sorted(where.glob("*.tar"))
    else:
        lines = read_text(where).splitlines()
        tars = [where.parent / line.strip() for line in lines if line.strip()]
    missing = [tar for tar in tars if not tar.is_file()]
    if missing or not tars:
        raise FileNotFoundError(f"{missing[0] if missing else where}: there is no such shard (.tar).")
    return tars


def _read_heads(file: Path) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """Every sample of a shard: its name, and the offset and size of each member.

    Raises:
        ValueError: if the file ends before its end.
    """
    name, members = "", {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                place, _, suffix = member.name.rpartition("/")
                stem, _, suffix = suffix.partition(".")
                role = _role(suffix.lower())
                if not member.isfile() or role is None:
                    continue
                key = f"{place}/{stem}" if place else stem
                if key != name and "hr" in members:
                    yield name, members
                name, members = key, ({} if key != name else members)
                members[role] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{file}: not a whole tar file ({error}). Copy or make it again.") from None
    if "hr" in members:
        yield name, members


def _role(suffix: str) -> str | None:
    side = suffix.partition(".")[0]
    if side in HR_FOLDERS:
        return "hr"
    if side in LR_FOLDERS:
        return "lr"
    if suffix == "txt":
        return "txt"
    return "hr" if may_be_photo(f"photo.{suffix}") else None


def write_shards(files: Files, folder: Path, megabytes: int) -> Iterator[int]:
    """Pack samples, shuffled and their files as they are, into FOLDER/000000.tar and so on.

    Every shard is written whole or not at all. The same files give the same shards, byte for byte.

    Args:
        files: photos or pairs.
        folder: made if it isn't there.
        megabytes: after which a shard is full; a sample is never cut in two.

    Yields:
        How many samples were written so far, after each.

    Raises:
        OSError: if a photo can't be read or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    order = iter(files.order(random.Random(0)))
    done, number, index = 0, 0, next(order, None)
    while index is not None:
        shard = folder / f"{number:06}.tar"
        part = shard.with_suffix(".part")
        try:
            part.unlink(missing_ok=True)  # of a run that was killed, or a link
            with part.open("xb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
                while index is not None and raw.tell() < megabytes * 1_000_000:
                    _add_sample(tar, files, index, taken)
                    done, index = done + 1, next(order, None)
                    yield done
            part.replace(shard)
        finally:
            part.unlink(missing_ok=True)
        number += 1


def _add_sample(tar: tarfile.TarFile, files: Files, index: int, taken: set[str]) -> None:
    key = unused(files.names[index].replace(".", "_"), taken)  # readers cut a name at its first dot
    for side, paths in files.files.items():
        path = Path(paths[index])
        _add(tar, f"{key}.{side}{path.suffix.lower()}", path.read_bytes())
    if caption := files.caption(index):
        _add(tar, f"{key}.txt", caption.encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    head = tarfile.TarInfo(name)
    head.size = len(content)
    tar.addfile(head, io.BytesIO(content))
