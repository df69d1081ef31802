"""Where a sampling run starts, as SeeSR and SRlab do it.

Both sample by DDPM on pictures of unit variance. Here x is a latent plus sigma times noise, and the
network sees x / sqrt(sigma^2 + 1): the same picture is another x at another sigma.
"""

from torch import Tensor


def from_lr(latent: Tensor, noise: Tensor, sigma: float, noisiest: float) -> Tensor:
    """The noisy latent (B, C, h, w) that a run from an LR photo begins with.

    SeeSR (arXiv 2311.16518) noises the photo to the last level of the schedule, t = 999, and shows that
    to the network while telling it the level of its first step, t = 981 for 50 steps.

    Args:
        latent: the encoded photo (B, C, h, w), in the scale of the denoiser.
        noise: of unit variance, like `latent`.
        sigma: what the first step is told.
        noisiest: the largest sigma of the model's schedule.
    """
    return (latent + noisiest * noise) * ((sigma**2 + 1) / (noisiest**2 + 1)) ** 0.5


def from_noise(noise: Tensor, sigma: float) -> Tensor:
    """The noisy latent that a run from `noise` (B, C, h, w) alone begins with.

    SRlab (arXiv 2504.09887) shows the network noise of unit variance, a trifle more than t = 981 has.
    """
    return noise * (sigma**2 + 1) ** 0.5


def first_timestep(steps: int, timesteps: int = 1000) -> int:
    """Where DDPM begins in SeeSR's schedule, diffusers' "leading" with an offset of 1: 981 for 50 steps."""
    return 1 + (steps - 1) * (timesteps // steps)
