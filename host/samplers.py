"""What KSampler's menus offer: the host takes a link into them from these very lists alone."""

from comfy.samplers import KSampler

SAMPLERS, SCHEDULERS = KSampler.SAMPLERS, KSampler.SCHEDULERS
