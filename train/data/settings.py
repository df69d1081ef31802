"""The settings of a run's data: its parts, their shares, and the preparation of samples."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Part:
    """One source of a mix."""

    name: str  # name of the path on the command line
    share: float = 1.0  # share of all samples, relative to the other shares
    recipe: str | None = None  # name or file of the recipe that damages clean photos; None for existing pairs
    path: str = ""  # a folder, a list, or a folder of shards or arrays; "" until the command line sets it


# The paper combines 'synthetic' and 'wild' simulations of LSDIR with the official pairs; it doesn't give the
# shares. Assumed: equal ones for the simulations, more for the official pairs than their number would give.
SRLAB_MIX = (
    Part("photos", share=0.4, recipe="srlab_synthetic"),
    Part("photos", share=0.4, recipe="srlab_wild"),
    Part("pairs", share=0.2),
)


@dataclass(frozen=True)
class Data:
    """The data of a run.

    Raises:
        ValueError: if `semantics` or `turn` has no such value, or the shares are negative or all 0.
    """

    parts: tuple[Part, ...]
    scale: int = 4  # side of hr / side of lr
    # 'crop', or 'whole' to give the semantic encoder the whole damaged photo, as in use. Clean photos are
    # then damaged as a whole, which takes longer.
    semantics: str = "crop"
    whole_px: int = 1024  # side of the square that the whole photo is resized to, the encoder's input
    turn: str = "flip"  # augmentation: 'none', 'flip' (horizontal), or 'all' 8 symmetries of the square
    sharpen: bool = False  # sharpen hr as Real-ESRGAN, SeeSR and SRlab do; crisper results, lower PSNR
    hold_out: int = 0  # number of photos of each part to keep for validation
    align: int = 1  # crops of arrays begin at multiples of this number of LR pixels

    def __post_init__(self) -> None:
        for name, allowed in (("semantics", ("crop", "whole")), ("turn", ("none", "flip", "all"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")
        if (
            not self.parts
            or any(part.share < 0 for part in self.parts)
            or not sum(p.share for p in self.parts)
        ):
            raise ValueError(
                f"a mix needs shares >= 0, not all 0; got {[part.share for part in self.parts]}."
            )

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Data":
        """Return the data that `dataclasses.asdict` converted, also from JSON.

        Raises:
            ValueError: naming an unknown field.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"data: unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        return cls(**{**data, "parts": tuple(Part(**part) for part in data["parts"])})

    def at(self, places: Mapping[str, str]) -> "Data":
        """Return the mix with the paths of its parts; parts without a path are left out.

        Raises:
            ValueError: if a name is unknown, or nothing is left.
        """
        names = list(dict.fromkeys(part.name for part in self.parts))
        usage = " ".join(f"--data {name}=PATH" for name in names)
        if unknown := [name for name in places if name not in names]:
            raise ValueError(f"--data {unknown[0]}=…: this preset has no such part; use {usage}.")
        placed = (replace(part, path=places.get(part.name, part.path)) for part in self.parts)
        parts = tuple(part for part in placed if part.path)
        if not parts:
            raise ValueError(f"there is nothing to train on; name at least one place: {usage}.")
        return replace(self, parts=parts)
