"""The names of nodes in messages, which the layers below don't know."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming(node: str) -> Iterator[None]:
    """Put the display name of a node in front of the messages of the errors inside.

    Raises:
        ValueError: with the name, if one is raised.
        FileNotFoundError: with the name, if one is raised.
    """
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        error.args = (f"{node}: {error}", *error.args[1:])
        raise
