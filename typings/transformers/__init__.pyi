# For pyright, which would read a thousand files of this package for the few names that are used of it.
from typing import Any

def __getattr__(name: str) -> Any: ...
