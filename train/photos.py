"""The freely licensed photos behind the bundled model: paths, licences, and the held-out ones."""

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
class PhotoPackage:
    """Photos of one package (Debian, PyPI) or repository (GitHub, owner-name) under one licence.

    Paths are relative to the photo folder.
    """

    folder: str
    names: tuple[str, ...]
    licence: str


TRAINING: tuple[PhotoPackage, ...] = (
    PhotoPackage(
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
    PhotoPackage(_LOMIRI_16, ("seeding_by_Clements_Engelhardt.jpg",), "CC0-1.0"),
    PhotoPackage(
        _SKIMAGE,
        ("chelsea.png", "coffee.png", "rocket.jpg", "brick.png", "grass.png", "gravel.png"),
        "CC0-1.0 or public domain",
    ),
    PhotoPackage(_SKLEARN, ("china.jpg", "flower.jpg"), "CC-BY-2.0"),
    PhotoPackage(
        "drewnoakes-metadata-extractor-images/jpg",
        (
            "Apple iPhone 5.jpg",
            "Apple iPhone 6 plus.jpg",
            "Apple iPhone 6.jpg",
            "Blackberry Z10.jpg",
            "Bushnell Trophy HD Aggressor 119775C firmware BS685BWYx08237.jpg",
            "Canon EOS 20D (1).jpg",
            "Canon EOS 450D.jpg",
            "Canon EOS 5D.jpg",
            "Canon EOS-1D Mark III (via Adobe Lightroom).jpg",
            "Canon EOS-1DS (after Noise Ninja).jpg",
            "Canon IXUS 430.jpg",
            "Canon PowerShot A610.jpg",
            "Canon PowerShot A80.jpg",
            "Canon PowerShot A85.jpg",
            "Canon PowerShot G11.jpg",
            "Canon PowerShot G2.jpg",
            "Canon PowerShot S40 (1).jpg",
            "Canon Powershot S90.jpg",
            "Casio QV-3000EX.jpg",
            "Epson PhotoPC 3000Z.jpg",
            "FujiFilm FinePix A303.jpg",
            "FujiFilm FinePix F40fd.jpg",
            "HTC One M8.jpg",
            "HTC One.jpg",
            "Issue 266.jpg",
            "Issue 354 (Java).jpg",
            "Issue 525.jpg",
            "Kodak DX4900 Zoom.jpg",
            "Kodak Easyshare M5370.jpg",
            "Kodak PIXPRO AZ521.jpg",
            "Kodak PIXPRO S-1.jpg",
            "Kodak PIXPRO SP360.jpg",
            "Kyocera FC-S3.jpg",
            "Minolta DiMAGE A1.jpg",
            "Minolta DiMAGE S304.jpg",
            "Motorola XT1068 (Moto G).jpg",
            "Nexus 4.jpg",
            "Nikon Coolpix 775.jpg",
            "Nikon D100.jpg",
            "Nikon D3100.jpg",
            "Nikon D60.jpg",
            "Nikon D70.jpg",
            "Nikon D90.jpg",
            "Nikon E990.jpg",
            "Nokia Lumia 800.jpg",
            "Noritsu Koki QSS.jpg",
            "Olympus C40Z.jpg",
            "Olympus E-20.jpg",
            "Olympus FE230-X790.jpg",
            "Oppo R7 Plus.jpg",
            "Panasonic DMC-LC33 (Lumix).jpg",
            "Panasonic DMC-LC70 (Lumix).jpg",
            "Panasonic FX7.jpg",
            "Panasonic FZ5.jpg",
            "Panasonic LZ2.jpg",
            "Pentax Optio 430.jpg",
            "Samsung GT-I9505 (Galaxy S4).jpg",
            "Samsung S730.jpg",
            "Samsung SM-G935L (Galaxy S7 Edge).jpg",
            "Samsung SM-N900A (Galaxy Note 3).jpg",
            "Sanyo S1.JPG",
            "Sigma DP1.jpg",
            "Sony D5403 (Xperia Z2).jpg",
            "Sony DSC-H9.jpg",
            "Sony DSC-T5.jpg",
            "Sony Mavica.jpg",
            "VTech Kidizoom camera.jpg",
        ),
        "free for any use",
    ),
    PhotoPackage(
        "BuddiesOfBudgie-budgie-backgrounds/backgrounds",
        (
            "abstract-spiral.jpg",
            "beacon-street-sunset.jpg",
            "casa-mila.jpg",
            "lake-sherburne.jpg",
            "oakland-zoo-otters.jpg",
            "ocean-waves.jpg",
            "perched-osprey.jpg",
            "roman-colosseum.jpg",
            "singaporean-cityscape.jpg",
            "tea-gardens.jpg",
            "the-spices-of-life.jpg",
        ),
        "CC0-1.0 or public domain",
    ),
    PhotoPackage(
        "pop-os-wallpapers/wallpapers/backgrounds",
        (
            "Ashim DSilva.jpg",
            "Morskie Oko.jpg",
            "Mr. Lee.jpg",
            "Photo by SpaceX.jpg",
            "Snow-Capped Mountain.jpg",
            "Sunset by the Pier.jpg",
        ),
        "CC0-1.0 or public domain",
    ),
    PhotoPackage(
        "pop-os-wallpapers/wallpapers/original",
        (
            "jad-limcaco-183877.jpg",
            "jake-hills-36605.jpg",
            "jared-evans-119758.jpg",
            "kait-herzog-8242.jpg",
            "nasa-45068.jpg",
            "nasa-53884.jpg",
            "nasa-89127.jpg",
            "samuel-zeller-337041.jpg",
            "sean-afnan-244576.jpg",
            "spacex-81773.jpg",
            "tony-webster-97532.jpg",
        ),
        "CC0-1.0 or public domain",
    ),
)


@dataclass(frozen=True)
class HeldOut:
    """A crop of 512x512 px that is never trained on.

    The sides of the photo are first multiplied by `shrink`; `x` and `y`, fractions of them, are the centre.
    """

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
    """Return an identifier of the training photos: the sha256 of their paths."""
    names = sorted(f"{source.folder}/{name}" for source in TRAINING for name in source.names)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def training_photos(folder: Path) -> list[Path]:
    """Return the paths of all training photos below `folder`.

    Raises:
        FileNotFoundError: naming the first photo that is missing.
    """
    paths = [folder / source.folder / name for source in TRAINING for name in source.names]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. Fetch the photos with  tools/fetch_photos.sh {folder}"
            )
    return paths
