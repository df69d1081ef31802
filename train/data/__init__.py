"""Training data from several sources, mixed by shares; each sample is determined by its seed."""

from .loader import Loader
from .mix import SRLAB_MIX, Data, Part
from .options import add_arguments, places

__all__ = ["SRLAB_MIX", "Data", "Loader", "Part", "add_arguments", "places"]
