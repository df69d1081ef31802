"""The freely licensed photos behind the bundled model: where each lies, its licence, and what is held out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

_LOMIRI_16 = "lomiri-wallpapers-16.04/usr/share/backgrounds"
_LOMIRI_20 = "lomiri-wallpapers-20.04/usr/share/backgrounds"
_MATE = "mate-backgrounds/usr/share/backgrounds/mate"
_PLASMA = "plasma-workspace-wallpapers/usr/share/wallpapers"
_OPENCV = "opencv-doc/usr/share/doc/opencv-doc/examples"
_SKIMAGE = "scikit-image/skimage/data"
_SKLEARN = "scikit-learn/sklearn/datasets/images"


@dataclass(frozen=True)
class Source:
    """Photos of one package (Debian or PyPI) that share a licence; paths are relative to the photo folder."""

    folder: str
    names: tuple[str, ...]
    licence: str


TRAINING: tuple[Source, ...] = (
    Source(
        _LOMIRI_16,
        (
            "Picture_0B_by_freespace.jpg",
            "Wine_by_Jakkub_Mede.jpg",
            "aitzgorri_by_Aitzol_Berasategi.jpg",
            "sunset_by_Aitzol_Berasategi.jpg",
            "umang_by_Abhishek_Mudgal.jpg",
        ),
        "CC-BY-4.0",
    ),
    Source(
        _LOMIRI_16,
        (
            "Bridge_by_Sander_Klootwijk.jpg",
            "Dragonfly_by_Bolly.jpg",
            "analogpattern_by_Peter_Nerlich.jpg",
            "free_by_Peter_Nerlich.jpg",
            "greentock_by_Peter_Nerlich.jpg",
        ),
        "CC-BY-SA-4.0",
    ),
    Source(_LOMIRI_16, ("seeding_by_Clements_Engelhardt.jpg",), "CC0-1.0"),
    Source(
        _MATE,
        (
            "abstract/Elephants_5640x3172.jpg",
            "nature/Aqua.jpg",
            "nature/Blinds.jpg",
            "nature/Dune.jpg",
            "nature/FreshFlower.jpg",
            "nature/Garden.jpg",
            "nature/GreenMeadow.jpg",
            "nature/Storm.jpg",
            "nature/TwoWings.jpg",
            "nature/Wood.jpg",
            "nature/YellowFlower.jpg",
        ),
        "GPL-2+",
    ),
    Source(
        _PLASMA,
        tuple(
            f"{name}/contents/images/2560x1600.jpg"
            for name in (
                "Autumn",
                "BytheWater",
                "ColdRipple",
                "DarkestHour",
                "EveningGlow",
                "FallenLeaf",
                "Kite",
                "OneStandsOut",
                "Path",
                "summer_1am",
            )
        ),
        "LGPL-3",
    ),
    Source(
        _SKIMAGE,
        ("chelsea.png", "coffee.png", "rocket.jpg", "brick.png", "grass.png", "gravel.png"),
        "CC0-1.0 or public domain",
    ),
    Source(_SKLEARN, ("china.jpg", "flower.jpg"), "CC-BY-2.0"),
)


@dataclass(frozen=True)
class HeldOut:
    """A 512x512 crop around (`x`, `y`) (fractions) of a photo shrunk by `shrink`; training never sees it."""

    path: str
    shrink: float
    x: float = 0.5
    y: float = 0.5


HELD_OUT: dict[str, HeldOut] = {
    "stream": HeldOut(f"{_LOMIRI_16}/life_by_Aitzol_Berasategi.jpg", 0.5),
    "mountain": HeldOut(f"{_LOMIRI_16}/picosdeeuropa_by_Aitzol_Berasategi.jpg", 0.5, y=0.45),
    "brushes": HeldOut(f"{_LOMIRI_16}/Picture_1A_by_freespace.jpg", 0.75),
    "dogs": HeldOut(f"{_LOMIRI_16}/friends_by_Aitzol_Berasategi.jpg", 0.5),
    "bark": HeldOut(f"{_LOMIRI_20}/Kleiber_by_Lukas_Baubkus.jpg", 0.35, x=0.35),
    "drops": HeldOut(f"{_MATE}/nature/RainDrops.jpg", 0.6),
    "ladybird": HeldOut(f"{_MATE}/nature/LadyBird.jpg", 0.5, x=0.55),
    "cups": HeldOut(f"{_PLASMA}/ColorfulCups/contents/images/2560x1600.jpg", 0.5),
    "astronaut": HeldOut(f"{_SKIMAGE}/astronaut.png", 1.0),
    "aloe": HeldOut(f"{_OPENCV}/data/aloeL.jpg", 0.75, y=0.45),
    "sign": HeldOut(f"{_OPENCV}/text/scenetext03.jpg", 1.0),
    "leuven": HeldOut(f"{_OPENCV}/data/leuvenA.jpg", 1.0, x=0.3),
    "graffiti": HeldOut(f"{_OPENCV}/data/graf1.png", 1.0),
    "dog": HeldOut(f"{_OPENCV}/data/chicky_512.png", 1.0),
    "baboon": HeldOut(f"{_OPENCV}/data/baboon.jpg", 1.0),
    "building": HeldOut(f"{_OPENCV}/data/building.jpg", 1.0),
}


def training_digest() -> str:
    """Which photos a model was trained on: sha256 of their paths."""
    names = sorted(f"{source.folder}/{name}" for source in TRAINING for name in source.names)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def training_photos(folder: Path) -> list[Path]:
    """Every training photo below `folder`.

    Raises:
        FileNotFoundError: naming the first photo that is missing.
    """
    paths = [folder / source.folder / name for source in TRAINING for name in source.names]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. Fetch the photos with  scripts/fetch_photos.sh {folder}"
            )
    return paths
