"""Our own recipes: the damage of phones, editors, messengers and short-video platforms."""

import math

from ..recipe import Recipe
from ..steps import Branch, Choice, Either, Entry, Step, Uniform, Words

_GREY = Choice((False, True), (0.6, 0.4))
_CHROMA = Choice(("4:2:0", "4:4:4"), (0.8, 0.2))
_MODE = Choice(("area", "bilinear", "bicubic"), (0.6, 0.15, 0.25))
_SCALER = Choice(("bilinear", "bicubic", "lanczos"))  # of players, editors and platforms
_HUE = Uniform(0.0, 1.0)


def _caption(probability: float, y: Uniform, size: Uniform) -> Step:
    """A caption across the photo, as in short-video apps."""
    return Step(
        "caption",
        {
            "text": Words("caption"),
            "x": 0.5,
            "y": y,
            "size": size,
            "style": Choice(("plain", "outline", "box", "shadow"), (0.15, 0.4, 0.25, 0.2)),
            "hue": _HUE,
            "opacity": Uniform(0.85, 1.0),
        },
        probability,
    )


def _small(kind: str, probability: float) -> Step:
    """A hashtag or price near the border."""
    text = {"text": Words(kind), "x": Uniform(0.15, 0.85), "y": Uniform(0.05, 0.95)}
    return Step(
        "caption",
        {**text, "size": Uniform(0.03, 0.06), "style": "plain", "hue": _HUE, "opacity": 1.0},
        probability,
    )


def _sticker(probability: float) -> Either:
    """A price tag, a badge or a drawing, anywhere inside."""
    place = {"x": Uniform(0.1, 0.9), "y": Uniform(0.1, 0.9), "size": Uniform(0.08, 0.22)}
    look = {**place, "angle": Uniform(-0.4, 0.4), "hue": _HUE}
    tag = Step("sticker", {"kind": "price", "text": Words("price"), **look})
    badge = Step("sticker", {"kind": "badge", "text": Words("badge"), **look})
    drawing = Choice(("arrow", "heart", "star", "emoji", "bubble", "circle"))
    drawn = Step("sticker", {"kind": drawing, **look})
    shares = ((0.2, (tag,)), (0.2, (badge,)), (0.6, (drawn,)))
    branches = [Branch(probability * share, steps) for share, steps in shares]
    return Either((*branches, Branch(1 - probability, ())))


_OVERLAYS: tuple[Entry, ...] = (
    Step(
        "color_filter",
        {
            "saturation": Uniform(0.8, 1.35),
            "contrast": Uniform(0.9, 1.2),
            "brightness": Uniform(-0.05, 0.08),
            "warmth": Uniform(-0.15, 0.2),
            "fade": Uniform(0.0, 0.12),
            "vignette": Uniform(0.0, 0.25),
        },
        probability=0.3,
    ),
    _sticker(0.25),
    _small("price", 0.1),
    _small("hashtag", 0.15),
    _caption(0.5, Uniform(0.72, 0.92), Uniform(0.045, 0.08)),
    _caption(0.15, Uniform(0.06, 0.2), Uniform(0.06, 0.11)),
)

_CAMERA: tuple[Entry, ...] = (
    Either(
        (
            Branch(0.2, (Step("defocus_blur", {"radius": Uniform(0.5, 1.5)}),)),
            Branch(
                0.1, (Step("motion_blur", {"length": Uniform(2.0, 5.0), "angle": Uniform(0.0, math.pi)}),)
            ),
            Branch(0.7, ()),
        )
    ),
    Step(
        "sensor_noise",
        {"shot": Uniform(0.01, 0.07), "read": Uniform(0.0, 0.008), "chroma": Uniform(0.2, 1.0)},
        probability=0.5,
    ),
    Step("demosaic", {"pattern": Choice(("RGGB", "BGGR", "GRBG", "GBRG"))}, probability=0.3),
    Step("denoise", {"strength": Uniform(0.1, 0.6), "radius": Uniform(1, 3)}, probability=0.5),
    Step("sharpen", {"amount": Uniform(0.3, 1.5), "radius": Uniform(0.7, 2.0)}, probability=0.6),
    Step("chroma_subsample", {"layout": "4:2:0"}, probability=0.5),
)


def _video(low: int, high: int, probability: float = 1.0) -> Either:
    """One pass through the video encoder of an editor or a platform."""
    clip = {
        "crf": Uniform(low, high),
        "frames": Choice((1, 2, 4), (0.5, 0.25, 0.25)),
        "motion": Uniform(0.0, 1.0),
        "angle": Uniform(-math.pi, math.pi),
    }
    h264 = Step("video", {"codec": "h264", "preset": Choice(("veryfast", "fast")), **clip})
    h265 = Step("video", {"codec": "h265", "preset": "ultrafast", **clip})
    return Either(
        (
            Branch(0.8 * probability, (h264,)),
            Branch(0.2 * probability, (h265,)),
            Branch(1 - probability, ()),
        )
    )


def _recompress(low: int, high: int) -> Either:
    """One more save as a still picture by a messenger or a network."""
    return Either(
        (
            Branch(0.6, (Step("jpeg", {"quality": Uniform(low, high), "subsampling": _CHROMA}),)),
            Branch(0.35, (Step("webp", {"quality": Uniform(low, high)}),)),
            Branch(0.05, (Step("avif", {"quality": Uniform(low, high)}),)),
        )
    )


_SHRINK = Step("shrink", {"mode": Choice(("area", "bilinear", "bicubic", "lanczos"))})
_PLATFORM: tuple[Entry, ...] = (
    _video(16, 22, probability=0.5),  # export of an editing app
    Step("fake_hd", {"factor": Uniform(1.2, 1.6), "down": _SCALER, "up": _SCALER}, probability=0.2),
    Step("rescale", {"factor": Choice((0.75, 2 / 3, 0.533)), "mode": _SCALER}, probability=0.25),
    _SHRINK,
    _video(19, 29, probability=0.8),
    Either(
        (
            Branch(
                0.2,  # downloaded, enlarged and uploaded again
                (
                    Step("rescale", {"factor": Uniform(1.0, 2.0), "mode": _SCALER}),
                    _video(20, 30),
                    _SHRINK,
                ),
            ),
            Branch(0.8, ()),
        )
    ),
    Step("screenshot", {"factor": Uniform(0.7, 1.6), "shift": Uniform(0.0, 1.0)}, probability=0.1),
    Either((Branch(0.35, (_recompress(55, 95),)), Branch(0.65, ()))),
)

UGC = Recipe(
    name="ugc",
    scale=4,
    source="assumed; fitted to figures measured on 46 published short-video clips: little noise, soft "
    "detail, halos, mild blocking, captions on most",
    clean=_OVERLAYS,
    steps=_CAMERA + _PLATFORM,
)
UPLOAD = Recipe(
    name="upload",
    scale=4,
    source="assumed: one upload of a decent phone photo",
    steps=(
        Step("gaussian_blur", {"sigma_x": Uniform(0.2, 1.4)}, probability=0.7),
        Step("shrink", {"mode": _MODE}),
        Step("gaussian_noise", {"sigma": Uniform(0.0, 4.0), "grey": _GREY}, probability=0.5),
        Step("jpeg", {"quality": Uniform(60, 95), "subsampling": _CHROMA}, probability=0.75),
    ),
)
REUPLOAD = Recipe(
    name="reupload",
    scale=4,
    source="assumed; blur, resize, noise, JPEG, twice, as in Real-ESRGAN (arXiv 2107.10833), but milder",
    steps=(
        Step(
            "gaussian_blur",
            {"sigma_x": Uniform(0.2, 2.2), "sigma_y": Uniform(0.2, 2.5), "angle": Uniform(0.0, math.pi)},
            probability=0.8,
        ),
        Step("rescale", {"factor": Uniform(0.35, 0.9), "mode": _MODE}, probability=0.3),
        Step("gaussian_noise", {"sigma": Uniform(1.0, 8.0), "grey": _GREY}, probability=0.2),
        Step("jpeg", {"quality": Uniform(50, 95), "subsampling": _CHROMA}, probability=0.4),
        Step("shrink", {"mode": _MODE}),
        Step("gaussian_noise", {"sigma": Uniform(0.0, 9.0), "grey": _GREY}, probability=0.5),
        Step("shot_noise", {"sigma": Uniform(0.0, 9.0), "grey": _GREY}, probability=0.3),
        Step("jpeg", {"quality": Uniform(40, 95), "subsampling": _CHROMA}, probability=0.8),
    ),
)
MESSENGER = Recipe(
    name="messenger",
    scale=4,
    source="assumed: one fixed chain of soft focus, resize, sensor noise and a quality-70 upload",
    steps=(
        Step("gaussian_blur", {"sigma_x": 1.2}),
        Step("shrink", {"mode": "area"}),
        Step("gaussian_noise", {"sigma": 4.0, "grey": False}),
        Step("jpeg", {"quality": 70, "subsampling": "4:2:0"}),
    ),
)
