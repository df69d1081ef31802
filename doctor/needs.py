"""The files that presets and workflows need, and the command that fetches the missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..models import catalogue
from ..models.entry import Weights
from ..restore.workflow import SHIPPED
from ..sample.presets import NAMES
from .findings import FITS, LOADERS, OTHER, SD2, TURBO, UNSEEN, Finding, title
from .machine import Problem

BUNDLED = "nano"  # the preset of the bundled model


@dataclass
class Need:
    """The files that a preset or a workflow needs.

    Attributes:
        name: the preset's or workflow's name.
        sort: "preset" or "workflow".
        uses: kind of weights -> the file that is used.
        lacks: entries for which there is no file.
    """

    name: str
    sort: str
    uses: dict[str, Finding] = field(default_factory=dict)
    lacks: list[Weights] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """True if no file is missing."""
        return not self.lacks

    @property
    def command(self) -> str:
        """The command that fetches the missing files; empty if none is missing."""
        sets = dict.fromkeys(catalogue.PRESETS.get(self.name, ()) + catalogue.WORKFLOWS.get(self.name, ()))
        # a file of several sets is fetched with the first of them
        homes = [next(name for name in sets if name in entry.sets) for entry in self.lacks]
        return catalogue.command(*dict.fromkeys(homes)) if homes else ""

    @property
    def choices(self) -> list[str]:
        """The files that have to be selected in a shipped workflow, because they have other names there."""
        given = {entry.kind: entry.saved for entry in entries(self.name)}
        other = ((kind, file) for kind, file in self.uses.items() if file.plain != given[kind])
        return [f"{file.name} in {LOADERS[kind]}" for kind, file in other if self.sort == "workflow"]


def needs(found: Sequence[Finding]) -> list[Need]:
    """Return the needs of every preset, nano first, and of every shipped workflow."""
    presets = dict.fromkeys((BUNDLED, *NAMES))
    every = [Need(name, "preset") for name in presets] + [Need(name, "workflow") for name in SHIPPED]
    for need in every:
        for entry in entries(need.name):
            if chosen := _choose(entry, found):
                need.uses[entry.kind] = chosen
            else:
                need.lacks.append(entry)
    return every


def entries(name: str) -> list[Weights]:
    """Return the entries that a preset or workflow needs besides the bundled model."""
    known = name in catalogue.PRESETS or name in catalogue.WORKFLOWS
    return catalogue.find([name]) if known else []


def incomplete(presets: Iterable[Need], found: Sequence[Finding]) -> list[Problem]:
    """Return a problem if some networks are there, but no preset can use them; else nothing."""
    begun = any(one.kind in ("adapter", "controlnet") and one.state == FITS for one in found)
    networks = [need for need in presets if need.name != BUNDLED]
    if not begun or any(need.ready for need in networks):
        return []
    return [unmet(min(networks, key=lambda need: len(need.lacks)), found)]


def unmet(need: Need, found: Sequence[Finding]) -> Problem:
    """Return the problem that files are missing, with the wrong files that are in their place."""
    lacks = " and ".join(f"{title(entry)} (models/{entry.folder}/{entry.saved})" for entry in need.lacks)
    kinds = {entry.kind for entry in need.lacks}
    instead = [one for one in found if one.kind in kinds and one.state == OTHER]
    shown = "".join(f"; {one.name} is {one.what}" for one in instead[:3])
    return Problem(f"{need.name} lacks {lacks}{shown}.", need.command)


def _choose(entry: Weights, found: Sequence[Finding]) -> Finding | None:
    """Return the file with the entry's own name, else the first of its kind that fits, else None."""
    base = {"512-base-ema.safetensors": SD2, "sd_turbo.safetensors": TURBO}.get(entry.saved, "")
    same = [one for one in found if one.kind == entry.kind]
    fitting = [one for one in same if one.state == FITS and one.base == base]
    unseen = [one for one in same if one.state == UNSEEN]
    own = [one for one in fitting + unseen if one.plain == entry.saved]
    series = entry.sets[0] if entry.sets else ""
    return next(iter(own + [one for one in fitting if series in one.plain.lower()] + fitting), None)
