from typing import Annotated

import pytest
import torch
from torch import Tensor

from ugc_sr.degrade.effects.effect import OneOf, Range, effect


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
