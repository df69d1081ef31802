"""What holds for every effect: a new one needs a line in CASES, and tests of its own physics elsewhere."""

import re
from pathlib import Path
from typing import Annotated

import pytest
import torch
from torch import Tensor

from ugc_sr.degrade.effects import EFFECTS
from ugc_sr.degrade.effects.camera import PATTERNS
from ugc_sr.degrade.effects.effect import OneOf, Range, effect
from ugc_sr.degrade.effects.lettering import STYLES
from ugc_sr.degrade.effects.resize import MODES
from ugc_sr.degrade.effects.shapes import SHAPES
from ugc_sr.degrade.effects.video import CODECS

CASES = [
    ("gaussian_blur", {"sigma_x": 2.0, "sigma_y": 1.0, "angle": 0.5, "size": 21}),
    ("gaussian_blur", {"sigma_x": 1.2}),
    ("generalized_blur", {"sigma_x": 2.0, "beta": 0.5, "sigma_y": 1.0, "angle": -2.0, "size": 13}),
    ("plateau_blur", {"sigma_x": 0.5, "beta": 2.0, "sigma_y": 1.0, "angle": 3.0, "size": 7}),
    ("sinc_blur", {"size": 9, "cutoff": 1.5}),
    ("defocus_blur", {"radius": 3.0}),
    ("motion_blur", {"length": 11.0, "angle": 0.8}),
    *(("rescale", {"factor": 0.7, "mode": mode, "antialias": True}) for mode in MODES),
    ("shrink", {"mode": "bicubic", "factor": 1.3, "antialias": False}),
    ("fake_hd", {"factor": 2.0, "down": "area", "up": "lanczos"}),
    *(
        (op, {"sigma": 8.0, "grey": grey})
        for op in ("gaussian_noise", "shot_noise")
        for grey in (True, False)
    ),
    *(("poisson_noise", {"scale": 1.0, "grey": grey}) for grey in (True, False)),
    ("correlated_noise", {"sigma": 20.0}),
    *(("sensor_noise", {"shot": 0.05, "read": 0.01, "chroma": 0.7, "grain": grain}) for grain in (0.0, 1.5)),
    *(("demosaic", {"pattern": pattern}) for pattern in PATTERNS),
    *(("denoise", {"strength": 0.6, "radius": radius}) for radius in (1, 3, 12)),
    ("sharpen", {"amount": 1.0, "radius": 10.0}),
    ("usm", {"threshold": 100}),
    *(("chroma_subsample", {"layout": layout}) for layout in ("4:2:0", "4:2:2")),
    ("jpeg", {"quality": 95}),
    ("jpeg", {"quality": 95, "codec": "kornia"}),
    ("webp", {"quality": 95}),
    ("avif", {"quality": 95, "speed": 10}),
    *(("video", {"codec": codec, "crf": 10, "preset": "ultrafast"}) for codec in CODECS),
    ("screenshot", {"factor": 0.7, "shift": 0.4}),
    *(("caption", {"text": "two words", "x": 0.5, "y": 1, "size": 0.3, "style": style}) for style in STYLES),
    *(("sticker", {"kind": kind, "x": 0.1, "y": 0.5, "size": 0.6, "angle": 0.3}) for kind in SHAPES),
    ("color_filter", {"saturation": 1.4, "contrast": 1.2, "warmth": 0.3, "fade": 0.2, "vignette": 0.5}),
]
NOISES = [op for op, effect in EFFECTS.items() if "generator" in effect.context]
CHANGES_FLAT = (*NOISES, "caption", "sticker", "color_filter")
# Gradients flow and values stay beyond white and black where nothing is rounded to 8 bits.
ROUNDS = ("screenshot", "usm", "jpeg")


def cases(keep=lambda op, parameters: True):
    chosen = [case for case in CASES if keep(*case)]
    return pytest.mark.parametrize(("op", "parameters"), chosen, ids=lambda part: str(part)[:70])


def run(op, parameters, image, seed=0):
    height, width = image.shape[2:]
    context = {
        "generator": torch.Generator().manual_seed(seed),
        "lr_size": (max(1, height // 2), max(1, width // 2)),
    }
    effect = EFFECTS[op]
    return effect(image, **{name: context[name] for name in effect.context}, **parameters)


def test_every_effect_has_a_case_and_a_description():
    assert {op for op, _ in CASES} == EFFECTS.keys()
    for op, given in CASES:
        defaults = {name: parameter.default for name, parameter in EFFECTS[op].parameters.items()}
        visibility, words = EFFECTS[op].label(defaults | given)
        assert visibility >= 0 or op == "video"
        assert words


def test_the_documentation_lists_every_effect():
    text = (Path(__file__).parents[3] / "docs" / "degradation.md").read_text(encoding="utf-8")
    section = text[text.index("## Effects") : text.index("## How `ugc` was fitted")]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(EFFECTS)


@cases()
def test_a_photo_comes_out_the_same_alone_and_in_a_batch_and_is_not_changed_itself(op, parameters):
    batch = torch.rand(3, 3, 21, 34)
    before = batch.clone()
    alone, together = run(op, parameters, batch[1:2]), run(op, parameters, batch)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    assert torch.equal(run(op, parameters, batch[1:2]), alone)
    assert torch.equal(batch, before)
    assert run(op, parameters, batch.double()).dtype == torch.float64


@cases()
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 40), (33, 17)])
def test_photos_of_every_size_are_taken_and_those_of_one_colour_stay_so(op, parameters, size):
    flat = torch.tensor([0.8, 0.5, 0.3]).view(1, 3, 1, 1).expand(1, 3, *size)
    out = run(op, parameters, flat)
    assert out.isfinite().all()
    if op not in ("rescale", "shrink"):
        assert out.shape == flat.shape
    if op not in CHANGES_FLAT:
        codec = op in ("jpeg", "webp", "avif", "video", "screenshot")
        torch.testing.assert_close(
            out, flat[..., :1, :1].expand_as(out), atol=6 / 255 if codec else 1e-5, rtol=0
        )


@cases(lambda op, _: EFFECTS[op].in_torch and op not in ROUNDS)
def test_values_beyond_white_and_black_are_not_clamped_and_gradients_flow(op, parameters):
    image = (torch.linspace(-1.5, 2.5, 32) + 0.1 * torch.rand(1, 3, 32, 32)).requires_grad_()
    out = run(op, parameters, image)
    assert out.max() > 1
    assert out.min() < 0
    out.square().sum().backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().sum() > 0


@cases(lambda op, _: op in NOISES)
def test_the_seed_determines_the_noise(op, parameters):
    photo = torch.rand(1, 3, 16, 16)
    first, again, other = (run(op, parameters, photo, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_number_has_a_range_that_holds_its_default_and_others_are_refused_by_name(name):
    given = next(given for op, given in CASES if op == name)
    for parameter_name, parameter in EFFECTS[name].parameters.items():
        if parameter.kind in (int, float):
            assert parameter.allowed is not None
        if parameter.default is not None:
            assert parameter.problem(parameter.default) is None
        beyond = parameter.allowed.high + 1 if isinstance(parameter.allowed, Range) else "no such value"
        if parameter.allowed is not None or parameter.kind is bool:
            with pytest.raises(
                ValueError, match=rf"^{name}: {parameter_name} must be .*, got '?{beyond}'?\.$"
            ):
                run(name, {**given, parameter_name: beyond}, torch.rand(1, 3, 4, 4))


@effect(lambda p: (p["amount"], "tint"))
def tint(
    image: Tensor,
    amount: Annotated[float, Range(0, 2)],
    steps: Annotated[int, Range(1, 9)],
    hue: Annotated[str, OneOf(("red", "blue"))] = "red",
    both: bool = False,
) -> Tensor:
    return image * amount * steps


IMAGE = torch.ones(1, 3, 2, 2)


def test_what_is_in_range_reaches_the_effect():
    assert tint(IMAGE, 2, 9, hue="blue", both=True).max() == 18
    assert tint(IMAGE, amount=0.5, steps=1).max() == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"amount": 2.1, "steps": 1}, r"tint: amount must be a number in 0..2, got 2.1"),
        ({"amount": float("nan"), "steps": 1}, r"tint: amount must be a number in 0..2, got nan"),
        ({"amount": "1", "steps": 1}, r"tint: amount must be a number in 0..2, got '1'"),
        ({"amount": True, "steps": 1}, r"tint: amount must be a number in 0..2, got True"),
        ({"amount": 1, "steps": 1.5}, r"tint: steps must be a whole number in 1..9, got 1.5"),
        ({"amount": 1, "steps": 0}, r"tint: steps must be a whole number in 1..9, got 0"),
        ({"amount": 1, "steps": 1, "hue": "green"}, r"tint: hue must be one of red, blue, got 'green'"),
        ({"amount": 1, "steps": 1, "hue": ["red"]}, r"tint: hue must be one of red, blue, got \['red'\]"),
        ({"amount": 1, "steps": 1, "both": 1}, r"tint: both must be true or false, got 1"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        tint(IMAGE, **arguments)


def test_the_signature_tells_the_parameters():
    found = tint.parameters
    assert list(found) == ["amount", "steps", "hue", "both"]
    assert [parameter.default for parameter in found.values()] == [None, None, "red", False]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@cases(lambda op, _: op in NOISES or "blur" in op)
def test_the_gpu_gives_the_pixels_of_the_cpu(op, parameters):
    photo = torch.rand(2, 3, 40, 33)
    found = run(op, parameters, photo.cuda())
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), run(op, parameters, photo), atol=1e-5, rtol=0)
