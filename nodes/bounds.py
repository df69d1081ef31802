"""Checks of inputs that the host doesn't make: numbers from links, images, unknown inputs, text, weights."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ClassVar

from comfy_api.latest import io
from torch import Tensor

from ..files import brief
from ..host import paths
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


class LoadsWeights:
    """Mixin of the nodes that load a file of weights, which is checked before the graph runs.

    Attributes:
        KIND: kind of the file, a key of `paths.KINDS`.
        WIDGET: id of the input with the name of the file.
    """

    KIND: ClassVar[str]
    WIDGET: ClassVar[str]

    @classmethod
    def file_input(cls, tooltip: str) -> io.Combo.Input:
        """Return a combo of the files; its tooltip ends with the names of pickles, which can't be chosen."""
        return io.Combo.Input(
            cls.WIDGET, options=paths.names(cls.KIND), tooltip=tooltip + paths.unlisted(cls.KIND)
        )

    @classmethod
    def validate_inputs(cls, **values: str | None) -> bool | str:
        """Return True, or a message about the missing file."""
        return paths.problem(cls.KIND, values.get(cls.WIDGET)) or True

    @classmethod
    def fingerprint_inputs(cls, **values: str | None) -> str:
        """Return a text that changes when the file changes."""
        return paths.fingerprint(cls.KIND, values.get(cls.WIDGET))


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
            return execute(cls, *args, **values)

    return run


def _check(schema: io.Schema, values: Mapping[str, Any]) -> None:
    """Raise at the first number out of bounds or NaN, the first invalid image, or text with a lone surrogate.

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
        value = values.get(field.id)  # None if not connected
        if isinstance(field, io.Image.Input) and isinstance(value, Tensor):
            check_image(value, field.id)
        if not isinstance(field, (io.Int.Input, io.Float.Input)) or not isinstance(value, (int, float)):
            continue
        least, most = field.min, field.max
        if least is None or most is None or least <= value <= most:
            continue
        raise ValueError(
            f"'{field.id}' is {brief(value)}; expected {least} to {most}. "
            "Change what is connected to it, or take the link away."
        )
