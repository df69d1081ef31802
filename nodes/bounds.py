"""Checks of inputs that the host doesn't make: numbers from links, images, unknown inputs, invalid text."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..files import brief
from ..host.naming import naming
from ..image import check_image

_HALF = re.compile("[\ud800-\udfff]")


class Node(io.ComfyNode):
    """Base class of the nodes.

    `execute` refuses unknown inputs, numbers out of bounds, invalid images and invalid text, and puts the
    node's display name in front of the messages of its errors.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        execute = cls.__dict__["execute"].__func__
        if not hasattr(execute, "__wrapped__"):  # the host's copies of the class are wrapped already
            setattr(cls, "execute", classmethod(_bounded(execute)))  # noqa: B010


def _bounded(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    known = signature(execute)

    @wraps(execute)
    def run(cls: type[Node], *args: Any, **values: Any) -> io.NodeOutput:
        schema = cls.SCHEMA or cls.GET_SCHEMA()
        with naming(schema.display_name):
            for name in values:
                if name not in known.parameters:
                    raise ValueError(f"there is no input {brief(name)}. Take it away.")
            given = known.bind_partial(cls, *args, **values).arguments
            _check(schema, given)
            for field in schema.inputs:
                image = given.get(field.id)
                if isinstance(field, io.Image.Input) and isinstance(image, Tensor):  # None if not connected
                    check_image(image, field.id)
            return execute(cls, *args, **values)

    return run


def _check(schema: io.Schema, values: Mapping[str, Any]) -> None:
    """Raise at the first number that is out of bounds or NaN, or at text with a lone surrogate.

    Such text in a message would end the thread in which the host executes its queue.

    Raises:
        ValueError: if a value is invalid; the message names the input.
    """
    for name, value in values.items():
        if isinstance(value, str) and (half := _HALF.search(value)):
            raise ValueError(
                f"'{name}' holds half a character at place {half.start() + 1}; expected text. Delete it."
            )
    for field in schema.inputs:
        if not isinstance(field, (io.Int.Input, io.Float.Input)) or field.id not in values:
            continue
        value, least, most = values[field.id], field.min, field.max
        if least is None or most is None or not isinstance(value, (int, float)) or least <= value <= most:
            continue
        raise ValueError(
            f"'{field.id}' is {brief(value)}; expected {least} to {most}. "
            "Change what is connected to it, or take the link away."
        )
