"""Options of KSampler's menus.

The host accepts a link to such a menu only from an output whose type is this very list.
"""

from comfy.samplers import KSampler

SAMPLERS, SCHEDULERS = KSampler.SAMPLERS, KSampler.SCHEDULERS
