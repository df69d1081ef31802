"""The samples of a run, drawn from its sources by their shares."""

import hashlib
import random
from pathlib import Path

from ...degrade.pairs_command import find_recipe
from ...degrade.recipe import Recipe
from ...files import read_text
from ...photos.formats import PhotoError
from .folders import pair_folder, photo_folder
from .sample import Sample, Source
from .settings import Data, Part
from .shards import Shards
from .sources import Arrays, DamagedPhotos, StoredPairs

TRIES = 32  # unusable photos in a row that end a run; assumed


class Mix:
    """The samples of a mix by number.

    Args:
        data: the mix, with a path in every part.
        key: identifies run and stage; determines the order of the photos.
        held_out: use the photos that are excluded from training, and only those, without augmentation.

    Raises:
        FileNotFoundError: if a path is missing or empty.
        ValueError: if its content is not as expected.
    """

    def __init__(self, data: Data, key: str, held_out: bool = False) -> None:
        if held_out and not data.hold_out:
            raise ValueError("no photo is held out; set hold_out to the number of photos of each part.")
        self.data, self.key = data, key
        self.turn = "none" if held_out else data.turn
        total = sum(part.share for part in data.parts)
        self.shares = [part.share / total for part in data.parts]
        self.sources = [_open_source(part, data.scale) for part in data.parts]
        self.chosen = [
            _choose(source, data.hold_out, held_out, part)
            for source, part in zip(self.sources, data.parts, strict=True)
        ]
        self._orders: dict[tuple[int, int], list[int]] = {}

    def sample(self, number: int, seed: int, crop: int) -> tuple[str, Sample, dict[str, str]]:
        """Return a sample and its name.

        Args:
            number: number of the sample in the stage. It selects the photo: a part with the whole share
                uses each photo once before any is repeated.
            seed: determines everything else.
            crop: side of the damaged crop in pixels.

        Returns:
            Name, sample, and the photos that couldn't be used on the way: name -> reason.

        Raises:
            RuntimeError: if too many in a row can't be used.
        """
        bad: dict[str, str] = {}
        for attempt in range(TRIES):
            rng = random.Random(f"{seed}:{attempt}")
            (which,) = rng.choices(range(len(self.sources)), self.shares)
            source = self.sources[which]
            index = rng.choice(self.chosen[which]) if attempt else self._next(which, number)
            name = f"{self.data.parts[which].name}/{source.names[index]}"
            try:
                return name, source.sample(index, rng, self.data, crop).turned(rng, self.turn), bad
            except PhotoError as error:
                bad[name] = str(error)
        lines = "\n".join(list(bad.values())[-3:])
        raise RuntimeError(f"{TRIES} photos in a row can't be used; the last of them:\n{lines}")

    def describe(self) -> str:
        """Return a line per part: share, number and kind of samples, path."""
        rows = zip(self.shares, self.sources, self.chosen, self.data.parts, strict=True)
        return "\n".join(
            f"{share:6.1%}  {len(chosen):,} {source.kind}: {part.path}"
            for share, source, chosen, part in rows
        )

    def _next(self, which: int, number: int) -> int:
        """Return the next sample of a part; one with the share 1/3 advances at about every third number."""
        epoch, place = divmod(int(number * self.shares[which]), len(self.chosen[which]))
        if (which, epoch) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != which}
            chosen = set(self.chosen[which])
            order = self.sources[which].order(random.Random(f"{self.key}:{which}:{epoch}"))
            self._orders[which, epoch] = [index for index in order if index in chosen]
        return self._orders[which, epoch][place]


def _open_source(part: Part, scale: int) -> Source:
    """Return the source of a part; its kind is detected from the content.

    Raises:
        FileNotFoundError: if there is nothing to read.
        ValueError: if the content is not as expected.
    """
    path = Path(part.path)
    if not part.path or not path.exists():
        raise FileNotFoundError(f"{part.name}: there is no folder or list {part.path!r}.")
    recipe = _recipe(part) if part.recipe else None
    if recipe:
        return DamagedPhotos(Shards(path) if _has_shards(path) else photo_folder(path), recipe)
    if _has_shards(path):
        store = Shards(path)
        if not store.paired:
            raise ValueError(f"{path}: samples without lr in the shards of {part.name}; expected pairs.")
        return StoredPairs(store)
    if (path / "lr.npy").is_file():
        return Arrays(path, scale)
    return StoredPairs(pair_folder(path, scale))


def _choose(source: Source, hold_out: int, held_out: bool, part: Part) -> list[int]:
    """Return the samples to use: those held out, or all others.

    The selection is by a hash of the name, so that adding other photos to the folder hardly changes it.

    Raises:
        ValueError: if nothing would be left to train on.
    """
    groups = sorted(
        set(source.groups), key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest()
    )
    if hold_out >= len(groups):
        raise ValueError(
            f"{part.path}: it has {len(groups)} photos, and hold_out keeps {hold_out} of them from training. "
            "Hold out fewer: --set data.hold_out=0 trains on all."
        )
    reserved = set(groups[:hold_out])
    return [index for index, group in enumerate(source.groups) if (group in reserved) == held_out]


def _has_shards(path: Path) -> bool:
    if path.is_dir():
        return next(path.glob("*.tar"), None) is not None
    return path.suffix == ".txt" and read_text(path, errors="surrogateescape").strip().endswith(".tar")


def _recipe(part: Part) -> Recipe:
    try:
        return find_recipe(part.recipe or "")
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from None
