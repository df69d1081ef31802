"""WebDataset shards: tar files in which the members NAME.hr.png, NAME.lr.png and NAME.txt are one sample.

NAME is a path and may contain dots. The member NAME.source names the photo that the sample was made from.

A tar file is not compressed, so once the headers were read every member can be read directly, and resuming
costs nothing. The reading order keeps accesses close together: shards in random order, the samples of
`TOGETHER` shards shuffled together.
"""

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...degrade.dataset.jobs import numbered
from ...degrade.dataset.join import HR_FOLDERS, LR_FOLDERS
from ...files import atomic_write, printable, read_text
from ...photos.formats import SUFFIXES, PhotoError
from ...photos.listing import TakenNames, suffix_of
from ...photos.reader import Photo, open_photo
from .folders import PhotoFolder
from .sample import shuffled

TOGETHER = 8  # shards whose samples are shuffled together; assumed
ROLES = ("hr", "lr", "txt", "source")
Members = dict[str, tuple[int, int, str]]  # role -> offset, size, name


class Shards:
    """The samples of tar files, on one or several disks.

    Args:
        where: a folder of .tar files, or a .txt list with one path per line.

    Raises:
        FileNotFoundError: if there are no tar files or no samples.
        ValueError: if a tar file is incomplete.
    """

    kind = "shards"

    def __init__(self, where: Path) -> None:
        self.tars = [str(file) for file in list_tars(where)]
        self.names: list[str] = []
        self.problems: dict[str, str] = {}
        shards, places = [], []
        for number, file in enumerate(self.tars):
            for name, members in _read_heads(Path(file)).items():
                if "hr" not in members:
                    self.problems[name] = f"no photo of that name in {file}, only its {', '.join(members)}"
                    continue
                self.names.append(name)
                shards.append(number)
                places.append([members.get(role, (-1, 0))[:2] for role in ROLES])
        if not self.names:
            raise FileNotFoundError(f"{where}: no sample in its shards; expected members like NAME.hr.png.")
        self._shard = np.array(shards, dtype=np.int32)
        self._place = np.array(places, dtype=np.int64)  # (samples, roles, offset and size)
        self.groups = [
            self.read(index, "source").decode("utf-8", errors="replace") or name
            for index, name in enumerate(self.names)
        ]

    @property
    def paired(self) -> bool:
        """Whether all samples have damaged photos."""
        return bool((self._place[:, ROLES.index("lr"), 0] >= 0).all())

    def open(self, index: int, side: str) -> Photo:
        """Return a decoded photo.

        Raises:
            PhotoError: if it isn't a complete photo, or the shard can't be read.
        """
        return open_photo(Path(self.where(index, side)), self.read(index, side))

    def read(self, index: int, role: str) -> bytes:
        """Return the bytes of a member, b"" if there is none.

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
            raise PhotoError(self.where(index, role), f"{error.strerror or error}.") from None

    def caption(self, index: int) -> str:
        """Return the caption in one line, "" if there is none."""
        return " ".join(self.read(index, "txt").decode("utf-8", errors="replace").split())

    def order(self, rng: random.Random) -> list[int]:
        """Return all indices, a few shards at a time."""
        bounds = np.searchsorted(self._shard, range(len(self.tars) + 1))
        shards = shuffled(len(self.tars), rng)
        order = []
        for first in range(0, len(shards), TOGETHER):
            near = [i for s in shards[first : first + TOGETHER] for i in range(bounds[s], bounds[s + 1])]
            rng.shuffle(near)
            order += near
        return order

    def where(self, index: int, side: str) -> str:
        """Return shard and sample, for messages."""
        return f"{self.tars[self._shard[index]]}/{self.names[index]}.{side}"


def list_tars(where: Path) -> list[Path]:
    """Return the .tar files of a folder or list, in order.

    Raises:
        FileNotFoundError: if there are none, or one is missing.
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


def _read_heads(file: Path) -> dict[str, Members]:
    """Return the members of every sample of a shard, by the sample's path.

    Raises:
        ValueError: if the file is incomplete, or two members could be the same photo of a sample.
    """
    samples: dict[str, Members] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                path, role = _part(member.name)
                if not member.isfile() or role is None:
                    continue
                members = samples.setdefault(path, {})
                if role in members:
                    _refuse(file, member.name, members[role][2])
                members[role] = (member.offset_data, member.size, member.name)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{file}: not a complete tar file ({error}). Copy or make it again.") from None
    for path, members in samples.items():
        place, slash, name = path.rpartition("/")
        short = samples.get(place + slash + name.partition(".")[0], {})  # as other readers cut names
        if "hr" in members and "hr" in short and short is not members:
            _refuse(file, members["hr"][2], short["hr"][2])
    return samples


def _refuse(file: Path, name: str, other: str) -> None:
    raise ValueError(
        f"{file}: {printable(other)} and {printable(name)} could be of one sample or of two. Rename one."
    )


def _part(name: str) -> tuple[str, str | None]:
    """Return the sample that a member belongs to, and its role; None if it is ignored."""
    suffix = suffix_of(name)
    stem = name.rstrip(" .")[: -len(suffix)] if suffix else name
    if suffix in (".txt", ".source"):
        return stem, suffix[1:]
    if suffix in SUFFIXES:
        side = _side(suffix_of(stem))
        return (stem[: -len(suffix_of(stem))], side) if side else (stem, "hr")
    return stem, _side(suffix)


def _side(suffix: str) -> str | None:
    return {**dict.fromkeys(HR_FOLDERS, "hr"), **dict.fromkeys(LR_FOLDERS, "lr")}.get(suffix[1:])


def write_shards(source: PhotoFolder, folder: Path, megabytes: int) -> Iterator[int]:
    """Pack the files of all samples, shuffled, into FOLDER/000000.tar and so on.

    Each shard is written completely or not at all. The same files give the same shards, byte for byte.

    Args:
        source: photos or pairs.
        folder: created if missing.
        megabytes: size at which a shard is full; samples are not split.

    Yields:
        The number of samples so far, after each.

    Raises:
        OSError: if a photo can't be read or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = TakenNames()
    order = iter(source.order(random.Random(0)))
    done, number, index = 0, 0, next(order, None)
    while index is not None:
        with (
            atomic_write(folder / f"{number:06}.tar") as temporary,
            temporary.open("xb") as raw,
            tarfile.open(fileobj=raw, mode="w") as tar,
        ):
            while index is not None and raw.tell() < megabytes * 1_000_000:
                _add_sample(tar, source, index, taken)
                done, index = done + 1, next(order, None)
                yield done
        number += 1


def _add_sample(tar: tarfile.TarFile, source: PhotoFolder, index: int, taken: TakenNames) -> None:
    key = taken.take(numbered(source.names[index].replace(".", "_")))  # other readers cut at the first dot
    for side, paths in source.files.items():
        path = Path(paths[index])
        _add(tar, f"{key}.{side}{path.suffix.lower()}", path.read_bytes())
    if caption := source.caption(index):
        _add(tar, f"{key}.txt", caption.encode())
    if source.groups[index] != source.names[index]:
        _add(tar, f"{key}.source", source.groups[index].encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    head = tarfile.TarInfo(name)
    head.size = len(content)
    tar.addfile(head, io.BytesIO(content))
