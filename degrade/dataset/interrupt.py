"""Ctrl-C as a request that the work in hand may answer when it is ready."""

import os
import signal
from types import FrameType


class Interrupts:
    """Notes Ctrl-C and SIGTERM in a `with` statement, in the main thread; a second one ends the program.

    Attributes:
        number: of the signal that came, None before.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> "Interrupts":
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.number is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        os.write(2, b"\nFinishing what is at work; once more ends it at once.\n")
