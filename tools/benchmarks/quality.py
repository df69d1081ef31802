"""The bundled model against other upscaling methods, on held-out photos or on folders of pairs."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ugc_sr.host.encoder import encode
from ugc_sr.host.nano import LoadedNano, load_nano
from ugc_sr.image import resize
from ugc_sr.sample.frame import finish, fit
from ugc_sr.score.extras import Extras
from ugc_sr.score.metrics import METRICS
from ugc_sr.score.pil_image import to_picture
from ugc_sr.score.sheet import compare, stacked
from ugc_sr.train import realesrgan

from .quickstart import ENDS, SHARP, TRUE, restore, shuffled, zero
from .samples import MEASURED, Sample, folder, held_out

SCORED = ("psnr_y", "ssim_y", "hf_ratio", "grid")
COLUMNS = ("psnr_y", "ssim_y", "st_lpips", "hf_ratio", "grid", "seconds")
DEFAULT_SCALE = 4
WORST = 5
SHOWN = ("stream", "mountain", "brushes", "dogs", "bark", "astronaut")  # held-out photos of known origin
RESAMPLED = 4_000
EQUAL_DB = 50.0  # PSNR from which pictures count as equal; an undamaged photo would have an infinite one
BICUBIC = "bicubic"
X4PLUS = "x4plus"
SHARES = tuple(tenth / 10 for tenth in range(1, 10))  # of x4plus in its blends with bicubic
_TOKENS = " tokens"  # part of the names of versions with other tokens

Way = Callable[[Sample], Tensor]
Scores = dict[str, float]
Table = dict[tuple[str, str], dict[str, Scores]]  # (set, version) -> photo -> scores


def run(
    photos: str | None = None,
    pairs: Sequence[str] = (),
    peers: bool = False,
    tokens: bool = False,
    recipes: Sequence[str] = MEASURED,
    scales: Sequence[int] = (DEFAULT_SCALE,),
    pictures: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the medians of each version for each set, and what nano gains over others there.

    The gains are those of the true end over bicubic, with `peers` those of the sharp end over an x4plus that
    is as sharp, and with `tokens` those of the true tokens over others, which are for all sets together.

    Args:
        photos: folder that tools/fetch_photos.sh filled; each recipe gives one set of the held-out photos.
        pairs: folders with `lr/` and `hr/`; each is a set.
        peers: measure Real-ESRGAN's networks as well.
        tokens: measure the sharpest version with other tokens as well, and yield the paired differences.
        recipes: recipes for the sets of held-out photos.
        scales: size of the original / size of the degraded photo, whole numbers; each gives separate sets.
        pictures: folder for sheets of the photos of known origin, and of those with the worst scores.

    Raises:
        ValueError: if there is nothing to measure on.
    """
    sets = {Path(place).name: partial(folder, Path(place)) for place in pairs}
    if photos:
        sets |= {
            name if scale == DEFAULT_SCALE else f"{name} x{scale}": partial(
                held_out, Path(photos), name, scale
            )
            for name, scale in itertools.product(recipes, scales)
        }
    if not sets:
        raise ValueError("Give --photos, --pairs or both.")
    ways = versions(load_nano(), peers=peers, tokens=tokens)
    scores: Table = {}
    for name, samples in sets.items():
        sheets = _Sheets()
        for version, photo, row in _measured(samples(), ways, sheets if pictures else None):
            scores.setdefault((name, version), {})[photo] = row
        if pictures:
            sheets.save(Path(pictures), name)
        for version in ways:
            yield {"name": version, "set": name, **medians(scores[name, version].values())}
        yield from _gained(scores, name, ways)
    for version in filter(lambda version: _TOKENS in version, ways):
        yield {"name": f"{SHARP}, less: {version}", **gains(scores, tuple(sets), version, SHARP)}


def _gained(scores: Table, name: str, ways: Mapping[str, Way]) -> Iterator[dict[str, Any]]:
    """Yield what nano gains over bicubic, and over x4plus if that is measured, in a set."""
    if {BICUBIC, TRUE} <= ways.keys():
        yield {"name": f"{TRUE}, less: {BICUBIC}", "set": name, **gains(scores, [name], BICUBIC, TRUE)}
    if X4PLUS in ways:
        yield {"name": f"{SHARP}, less: {X4PLUS} as sharp", "set": name, **gain_at_equal(scores, name)}


def _measured(
    samples: Iterable[Sample], ways: Mapping[str, Way], sheets: "_Sheets | None"
) -> Iterator[tuple[str, str, Scores]]:
    """Yield (version, photo's name, scores) for every version of every sample."""
    network = Extras(["st_lpips"])
    for sample in samples:
        made = {version: _timed(way, sample) for version, way in ways.items()}
        rows = {v: scored(picture, sample, network) | {"seconds": s} for v, (picture, s) in made.items()}
        if X4PLUS in made:
            blends = {blend(x): made[BICUBIC][0].lerp(made[X4PLUS][0], x) for x in SHARES}
            rows |= {v: scored(picture, sample, network) for v, picture in blends.items()}
        if sheets:
            sheets.add({v: picture for v, (picture, _) in made.items()}, sample, rows[SHARP])
        yield from ((version, sample.name, row) for version, row in rows.items())


def versions(nano: LoadedNano, *, peers: bool, tokens: bool) -> dict[str, Way]:
    """Return name -> function that upscales a sample, for every version in the table."""
    ways: dict[str, Way] = {BICUBIC: lambda sample: finish(*fit(sample.lr, sample.scale))}
    for name, options in ENDS.items():
        ways[name] = partial(_nano, nano, **options)
    if tokens:
        ways[f"{SHARP}, another photo's tokens"] = _Stranger(nano)
        ways[f"{SHARP}, shuffled tokens"] = partial(_nano, nano, tokens=shuffled)
        ways[f"{SHARP}, zero tokens"] = partial(_nano, nano, tokens=zero)
    if peers:
        for name in ("animevideov3", X4PLUS):
            ways[name] = partial(_peer, realesrgan.load(name))
    return ways


def _nano(nano: LoadedNano, sample: Sample, **options: Any) -> Tensor:
    return restore(nano, sample.lr, sample.scale, **options)


class _Stranger:
    """Restores each photo with the tokens of the previous one; the first with those of its mirror image."""

    def __init__(self, nano: LoadedNano) -> None:
        self.nano, self.before = nano, None

    def __call__(self, sample: Sample) -> Tensor:
        other = encode(self.nano.encoder, sample.lr.flip(-1) if self.before is None else self.before)
        self.before = sample.lr
        return restore(self.nano, sample.lr, sample.scale, tokens=lambda _: other)


def _peer(network: torch.nn.Module, sample: Sample) -> Tensor:
    """Return the sample upscaled 4 times, then resized to the original's size, as Real-ESRGAN does."""
    height, width = sample.hr.shape[-2:]
    return resize(realesrgan.upscale(network, sample.lr), height, width).clamp(0, 1)


def scored(picture: Tensor, sample: Sample, network: Extras) -> Scores:
    """Return the metrics of SCORED and ST-LPIPS."""
    references = {"gt": [sample.hr], "nothing": []}
    metrics = {name: METRICS[name] for name in SCORED if min(picture.shape[-2:]) >= METRICS[name].least_side}
    found = {n: m.measure(picture, *references[m.reference]).item() for n, m in metrics.items()}
    return found | network.measure(picture, sample.hr)


def medians(rows: Iterable[Scores]) -> dict[str, Any]:
    """Return the number of photos, and the median of each metric that at least one of them has."""
    rows = list(rows)
    columns = {name: [row[name] for row in rows if name in row] for name in COLUMNS}
    found = {name: round(median(column), 4) for name, column in columns.items() if column}
    return {"photos": len(rows), **found}


def gains(scores: Table, sets: Sequence[str], version: str, best: str) -> dict[str, Any]:
    """Return metric -> "mean [low, high]" of `best` less `version`, on the same photos and sets.

    The interval is the 95 % bootstrap interval; photos are resampled, each with all its sets. A PSNR above 50
    counts as 50.
    """
    result = {}
    names = dict.fromkeys(photo for each in sets for photo in scores[each, best])
    for metric in COLUMNS[:-1]:
        table = [
            [
                min(scores[each, best][photo][metric], EQUAL_DB)
                - min(scores[each, version][photo][metric], EQUAL_DB)
                for each in sets
                if metric in scores[each, best].get(photo, {})
            ]
            for photo in names
        ]
        means = np.array([np.mean(row) for row in table if row])
        drawn = np.random.default_rng(0).integers(len(means), size=(RESAMPLED, len(means)))
        low, high = np.percentile(means[drawn].mean(axis=1), (2.5, 97.5))
        result[metric] = f"{means.mean():.4f} [{low:.4f}, {high:.4f}]"
    return result


def blend(share: float) -> str:
    """Return the name of a blend of bicubic with that share of x4plus."""
    return f"{X4PLUS} {share:.1f}"


def gain_at_equal(scores: Table, name: str) -> dict[str, float | None]:
    """Return by how many dB the sharp end is truer than x4plus of the same ST-LPIPS, as medians of a set.

    x4plus is blended with bicubic until its median ST-LPIPS is that of the sharp end. The value is None if no
    blend has it, or if the photos are too small for ST-LPIPS.
    """
    ours = medians(scores[name, SHARP].values())
    if "st_lpips" not in ours:
        return {"psnr_y": None}
    softer = [medians(scores[name, v].values()) for v in (BICUBIC, *map(blend, SHARES), X4PLUS)]
    for before, after in reversed(list(itertools.pairwise(softer))):  # the sharpest of several
        span = before["st_lpips"] - after["st_lpips"]
        share = (before["st_lpips"] - ours["st_lpips"]) / span if span else -1
        if 0 <= share <= 1:
            theirs = before["psnr_y"] + share * (after["psnr_y"] - before["psnr_y"])
            return {"psnr_y": round(ours["psnr_y"] - theirs, 2)}
    return {"psnr_y": None}


def _timed(way: Way, sample: Sample) -> tuple[Tensor, float]:
    begun = time.perf_counter()
    with torch.inference_mode():
        picture = way(sample)
    return picture, time.perf_counter() - begun


class _Sheets:
    """Sheets of the versions side by side: photos of known origin, and those with the worst scores."""

    def __init__(self) -> None:
        self.shown: list[Image.Image] = []
        self.worst: list[tuple[float, str, Image.Image]] = []

    def add(self, pictures: Mapping[str, Tensor], sample: Sample, scores: Scores) -> None:
        """Draw a photo's sheet, and keep it if it belongs to one of the two groups."""
        panels = {v: picture for v, picture in pictures.items() if _TOKENS not in v} | {"original": sample.hr}
        title = f"{sample.name}: ST-LPIPS {scores.get('st_lpips', 0):.3f} at our sharp end"
        sheet = compare([(label, to_picture(p)) for label, p in panels.items()], crops=1, title=title)
        ranked = [*self.worst, (scores.get("st_lpips", 0), sample.name, sheet)]
        self.worst = sorted(ranked, key=lambda entry: entry[0], reverse=True)[:WORST]
        if sample.name in SHOWN:
            self.shown.append(sheet)

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.jpg and NAME_worst.jpg, each with its sheets below each other."""
        folder.mkdir(parents=True, exist_ok=True)
        for stem, sheets in ((name, self.shown), (f"{name}_worst", [sheet for *_, sheet in self.worst])):
            if sheets:
                stacked(sheets).save(folder / f"{stem}.jpg", quality=90)
