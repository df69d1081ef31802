"""Our own recipes: the damage of phones, editors, messengers and short-video platforms."""

import math

from ..recipe import Recipe
from ..steps import Distribution, Step, choice, either, step, uniform, words

_GREY = choice((False, True), (0.6, 0.4))
_CHROMA = choice(("4:2:0", "4:4:4"), (0.8, 0.2))
_MODE = choice(("area", "bilinear", "bicubic"), (0.6, 0.15, 0.25))
_SCALER = choice(("bilinear", "bicubic", "lanczos"))  # of players, editors and platforms
_HUE = uniform(0.0, 1.0)


def _caption(probability: float, y: Distribution, size: Distribution) -> Step:
    """A caption across the photo, as in short-video apps."""
    return step(
        "caption",
        probability,
        text=words("caption"),
        x=0.5,
        y=y,
        size=size,
        style=choice(("plain", "outline", "box", "shadow"), (0.15, 0.4, 0.25, 0.2)),
        hue=_HUE,
        opacity=uniform(0.85, 1.0),
    )


def _small(kind: str, probability: float) -> Step:
    """A hashtag or price near the border."""
    return step(
        "caption",
        probability,
        text=words(kind),
        x=uniform(0.15, 0.85),
        y=uniform(0.05, 0.95),
        size=uniform(0.03, 0.06),
        style="plain",
        hue=_HUE,
        opacity=1.0,
    )


def _sticker(probability: float) -> Step:
    """A price tag, a badge or a drawing, anywhere inside."""
    look = {"x": uniform(0.1, 0.9), "y": uniform(0.1, 0.9), "size": uniform(0.08, 0.22)}
    look |= {"angle": uniform(-0.4, 0.4), "hue": _HUE}
    drawing = choice(("arrow", "heart", "star", "emoji", "bubble", "circle"))
    return either(
        (probability * 0.2, [step("sticker", kind="price", text=words("price"), **look)]),
        (probability * 0.2, [step("sticker", kind="badge", text=words("badge"), **look)]),
        (probability * 0.6, [step("sticker", kind=drawing, **look)]),
        (1 - probability, []),
    )


_OVERLAYS = [
    step(
        "color_filter",
        0.3,
        saturation=uniform(0.8, 1.35),
        contrast=uniform(0.9, 1.2),
        brightness=uniform(-0.05, 0.08),
        warmth=uniform(-0.15, 0.2),
        fade=uniform(0.0, 0.12),
        vignette=uniform(0.0, 0.25),
    ),
    _sticker(0.25),
    _small("price", 0.1),
    _small("hashtag", 0.15),
    _caption(0.5, uniform(0.72, 0.92), uniform(0.045, 0.08)),
    _caption(0.15, uniform(0.06, 0.2), uniform(0.06, 0.11)),
]

_CAMERA = [
    either(
        (0.2, [step("defocus_blur", radius=uniform(0.5, 1.5))]),
        (0.1, [step("motion_blur", length=uniform(2.0, 5.0), angle=uniform(0.0, math.pi))]),
        (0.7, []),
    ),
    step("sensor_noise", 0.5, shot=uniform(0.01, 0.07), read=uniform(0.0, 0.008), chroma=uniform(0.2, 1.0)),
    step("demosaic", 0.3, pattern=choice(("RGGB", "BGGR", "GRBG", "GBRG"))),
    step("denoise", 0.5, strength=uniform(0.1, 0.6), radius=uniform(1, 3)),
    step("sharpen", 0.6, amount=uniform(0.3, 1.5), radius=uniform(0.7, 2.0)),
    step("chroma_subsample", 0.5, layout="4:2:0"),
]


def _video(low: int, high: int, probability: float = 1.0) -> Step:
    """One pass through the video encoder of an editor or a platform."""
    clip = {
        "crf": uniform(low, high),
        "frames": choice((1, 2, 4), (0.5, 0.25, 0.25)),
        "motion": uniform(0.0, 1.0),
        "angle": uniform(-math.pi, math.pi),
    }
    return either(
        (0.8 * probability, [step("video", codec="h264", preset=choice(("veryfast", "fast")), **clip)]),
        (0.2 * probability, [step("video", codec="h265", preset="ultrafast", **clip)]),
        (1 - probability, []),
    )


def _recompress(low: int, high: int) -> Step:
    """One more save as a still picture by a messenger or a network."""
    return either(
        (0.6, [step("jpeg", quality=uniform(low, high), subsampling=_CHROMA)]),
        (0.35, [step("webp", quality=uniform(low, high))]),
        (0.05, [step("avif", quality=uniform(low, high))]),
    )


_SHRINK = step("shrink", mode=choice(("area", "bilinear", "bicubic", "lanczos")))
_UPLOADED_AGAIN = [  # after it was downloaded and enlarged
    step("rescale", factor=uniform(1.0, 2.0), mode=_SCALER),
    _video(20, 30),
    _SHRINK,
]
_PLATFORM = [
    _video(16, 22, probability=0.5),  # export of an editing app
    step("fake_hd", 0.2, factor=uniform(1.2, 1.6), down=_SCALER, up=_SCALER),
    step("rescale", 0.25, factor=choice((0.75, 2 / 3, 0.533)), mode=_SCALER),
    _SHRINK,
    _video(19, 29, probability=0.8),
    either((0.2, _UPLOADED_AGAIN), (0.8, [])),
    step("screenshot", 0.1, factor=uniform(0.7, 1.6), shift=uniform(0.0, 1.0)),
    either((0.35, [_recompress(55, 95)]), (0.65, [])),
]

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
    steps=[
        step("gaussian_blur", 0.7, sigma_x=uniform(0.2, 1.4)),
        step("shrink", mode=_MODE),
        step("gaussian_noise", 0.5, sigma=uniform(0.0, 4.0), grey=_GREY),
        step("jpeg", 0.75, quality=uniform(60, 95), subsampling=_CHROMA),
    ],
)
REUPLOAD = Recipe(
    name="reupload",
    scale=4,
    source="assumed; blur, resize, noise, JPEG, twice, as in Real-ESRGAN (arXiv 2107.10833), but milder",
    steps=[
        step(
            "gaussian_blur",
            0.8,
            sigma_x=uniform(0.2, 2.2),
            sigma_y=uniform(0.2, 2.5),
            angle=uniform(0.0, math.pi),
        ),
        step("rescale", 0.3, factor=uniform(0.35, 0.9), mode=_MODE),
        step("gaussian_noise", 0.2, sigma=uniform(1.0, 8.0), grey=_GREY),
        step("jpeg", 0.4, quality=uniform(50, 95), subsampling=_CHROMA),
        step("shrink", mode=_MODE),
        step("gaussian_noise", 0.5, sigma=uniform(0.0, 9.0), grey=_GREY),
        step("shot_noise", 0.3, sigma=uniform(0.0, 9.0), grey=_GREY),
        step("jpeg", 0.8, quality=uniform(40, 95), subsampling=_CHROMA),
    ],
)
MESSENGER = Recipe(
    name="messenger",
    scale=4,
    source="assumed: one fixed chain of soft focus, resize, sensor noise and a quality-70 upload",
    steps=[
        step("gaussian_blur", sigma_x=1.2),
        step("shrink", mode="area"),
        step("gaussian_noise", sigma=4.0, grey=False),
        step("jpeg", quality=70, subsampling="4:2:0"),
    ],
)
ENLARGED = Recipe(
    name="enlarged",
    scale=4,
    source="assumed: a small or cropped photo that an app enlarged, some without smoothing, before it was "
    "saved again",
    steps=[
        step("gaussian_blur", 0.5, sigma_x=uniform(0.2, 1.4)),
        step("shrink", mode=_MODE, factor=uniform(0.2, 0.8)),
        step("gaussian_noise", 0.4, sigma=uniform(0.0, 5.0), grey=_GREY),
        step("jpeg", 0.8, quality=uniform(40, 95), subsampling=_CHROMA),
        step("shrink", mode=choice(("nearest", "bilinear", "bicubic", "lanczos"), (0.35, 0.3, 0.25, 0.1))),
        step("sharpen", 0.2, amount=uniform(0.3, 1.0), radius=uniform(0.7, 2.0)),
        step("jpeg", 0.7, quality=uniform(60, 95), subsampling=_CHROMA),
    ],
)
