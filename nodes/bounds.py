"""Checks of inputs that the host doesn't make: numbers from links, unknown inputs, invalid text."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any

from comfy_api.latest import io

from ..files import brief
from ..host.naming import naming

_HALF = re.compile("[\ud800-\udfff]")


class Node(io.ComfyNode):
    """Base class of the nodes.

    `execute` refuses unknown inputs, numbers out of bounds and invalid text, and puts the node's display name
    in front of the messages of its errors.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        execute = cls.__dict__["execute"].__func__
        if not hasattr(execute, "__wrapped__"):  # the host's copies of the class are wrapped already
            setattr(cls, "execute", classmethod(_bounded(execute)))  # noqa: B010


def _bounded(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    known = signature(execute).parameters

    @wraps(execute)
    def run(cls: type[Node], *args: Any, **values: Any) -> io.NodeOutput:
        schema = cls.SCHEMA or cls.GET_SCHEMA()
        with naming(schema.display_name):
            for name in values:
                if name not in known:
                    raise ValueError(f"there is no input {brief(name)}. Take it away.")
            _check(schema, values)
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
