"""A data set on disk: hr/NAME.png, lr/NAME.png, manifest.jsonl with a line per pair, dataset.json.

A pair belongs to the data set once its line is in the manifest, which is written after both files. So every
pair of the manifest is complete, however a run ended.
"""

import hashlib
import json
import os
import sys
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...files import TEMPORARY, brief, parse_json, read_text, refuse_link, replace_file
from ...score.pil_image import to_picture
from ..degradation import Degradation, Pair
from ..effects.codecs import save

SIDES = ("hr", "lr")


def write_pair(
    folder: Path,
    name: str,
    pair: Pair,
    source: str,
    *,
    origin: str = "recipe",
    crop: tuple[int, int, int, int] | None = None,
    degradation: Degradation | None = None,
) -> str:
    """Write both photos of a pair (1, 3, H, W) as PNG files.

    Args:
        folder: the data set.
        name: name of both files, with the suffix.
        pair: the photos.
        source: the photo that it was made from, relative to the input folder.
        origin: 'recipe', or 'joined' for an existing pair that was added.
        crop: top, left, height and width of the part that was used; None for the whole photo.
        degradation: how the damaged photo was made; None for a joined pair.

    Returns:
        The pair's line of the manifest.

    Raises:
        OSError: if a file can't be written; neither photo is left then.
    """
    files = {side: encode_png(photo) for side, photo in zip(SIDES, pair, strict=True)}
    try:
        for side, content in files.items():
            replace_file(folder / side / name, content)
    except OSError:
        remove_pair(folder, name)
        raise
    line = {
        "name": name,
        **{f"{side}_sha256": hashlib.sha256(content).hexdigest() for side, content in files.items()},
        "source": source,
        "origin": origin,
        "crop": crop,
        "recipe": degradation and degradation.recipe,
        "seed": degradation and degradation.seed,
        "degradation": degradation and json.loads(degradation.to_json()),
    }
    return json.dumps(line) + "\n"


def remove_pair(folder: Path, name: str) -> None:
    """Remove both photos of a pair that has no line in the manifest."""
    for side in SIDES:
        (folder / side / name).unlink(missing_ok=True)


def encode_png(photo: Tensor) -> bytes:
    """Return (1, 3, H, W) in [0, 1] as an 8-bit PNG file."""
    # Run lengths alone pack photos better than the default matching of level 1, and faster: 512x512 px in
    # 14 ms and 272 kB against 18 ms and 308 kB; level 6 takes 65 ms for 260 kB (measured).
    return save(to_picture(photo), "PNG", compress_level=1, compress_type=zlib.Z_RLE)


class PairFolder:
    """A data set to which pairs are added, by one writer at a time; use it in a `with` statement.

    Args:
        folder: created if missing. Remains of an interrupted run are removed.
        settings: settings common to all pairs, stored in dataset.json; None if they differ from pair to pair.

    Raises:
        ValueError: if its pairs have other settings, its files are not ours, or one is a symbolic link.
        RuntimeError: if another run is writing into it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.pairs: dict[str, tuple[str | None, int | None]] = {}  # name -> source, seed
        self.mix: Counter[str] = Counter()  # pairs of each origin
        self._dataset = folder / "dataset.json"
        for part in (*SIDES, "manifest.jsonl"):
            refuse_link(folder / part)
        for side in SIDES:
            (folder / side).mkdir(parents=True, exist_ok=True)
        self._open_manifest()
        try:
            self._recover()
            self._settings = self._checked_settings(settings)
            self._write_settings()
        except BaseException:
            self._manifest.close()
            raise

    def __enter__(self) -> "PairFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, pair: Pair, source: str, **how: Any) -> None:
        """Write a pair, by the arguments of `write_pair`, and its line.

        Raises:
            OSError: if the disk is full; the manifest is unchanged then.
        """
        self.append(write_pair(self.folder, name, pair, source, **how))

    def append(self, line: str) -> None:
        """Add the line of a pair whose files are already written.

        Raises:
            OSError: if the disk is full; the manifest is unchanged then.
        """
        self._write(line.encode())
        self._count(json.loads(line))

    def close(self) -> None:
        """Write the number of pairs of each origin, and release the lock."""
        try:
            self._write_settings()
        finally:
            self._manifest.close()

    def _open_manifest(self) -> None:
        self._manifest = (self.folder / "manifest.jsonl").open("a+b", buffering=0)
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._manifest.close()
            raise RuntimeError(
                f"{self.folder}: another run is writing there. Wait for its end, or use another folder."
            ) from None

    def _write(self, rest: bytes) -> None:
        end = self._manifest.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[self._manifest.write(rest) :]
        except OSError:
            self._manifest.truncate(end)
            raise

    def _recover(self) -> None:
        """Drop an incomplete last line, lines whose files are missing, and temporary files."""
        for place in ("", *SIDES):
            for temporary in (self.folder / place).glob(TEMPORARY):
                temporary.unlink(missing_ok=True)
        both = set.intersection(*({file.name for file in os.scandir(self.folder / side)} for side in SIDES))
        complete = []
        self._manifest.seek(0)
        content = self._manifest.read()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(keepends=True), start=1):
            entry = self._parse(line, number)
            if entry["name"] in both:
                complete.append(line)
                self._count(entry)
        if len(whole) < len(content):
            self._manifest.truncate(len(whole))
        if sum(map(len, complete)) < len(whole):
            self._manifest.truncate(0)
            self._write(b"".join(complete))

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = parse_json(line)
            if isinstance(entry["name"], str) and isinstance(entry.get("origin", ""), str):
                return entry
        except (ValueError, TypeError, KeyError):
            pass
        where = f"{self._manifest.name}, line {number}"
        raise ValueError(f"{where}: expected a pair in JSON. Fix or delete the line.")

    def _count(self, line: Mapping[str, Any]) -> None:
        self.pairs[line["name"]] = (line.get("source"), line.get("seed"))
        self.mix[line.get("origin", "recipe")] += 1

    def _checked_settings(self, wanted: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the settings to keep: those of the existing pairs, else the wanted ones.

        Raises:
            ValueError: if both are there and differ.
        """
        try:
            stored = parse_json(read_text(self._dataset)) if self._dataset.exists() else {}
            stored.pop("mix", None)
        except (ValueError, AttributeError, TypeError):
            raise ValueError(f"{self._dataset}: expected settings in JSON. Fix or delete it.") from None
        if wanted is None:
            return stored
        for name, value in wanted.items():
            if self.pairs and stored.get(name) != value:
                was, now = _brief(stored.get(name)), _brief(value)
                raise ValueError(
                    f"{self.folder}: its pairs were made with {name} {was}, these would be with "
                    f"{now if now != was else 'a changed one of that name'}. "
                    "Use the same settings, or another folder."
                )
        return dict(wanted)

    def _write_settings(self) -> None:
        text = json.dumps({**self._settings, "mix": dict(sorted(self.mix.items()))}, indent=2) + "\n"
        if not self._dataset.exists() or self._dataset.read_bytes() != text.encode():
            replace_file(self._dataset, text.encode())


def _brief(setting: Any) -> str:
    return brief(setting.get("name") if isinstance(setting, dict) else setting)
