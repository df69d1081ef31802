"""Training data from several sources, mixed by shares; each sample is determined by its seed."""

from .loader import Loader
from .settings import SRLAB_MIX, Data, Part

__all__ = ["SRLAB_MIX", "Data", "Loader", "Part"]
