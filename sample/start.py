"""Starting latents of a sampling run, as in SeeSR and SRlab.

Both sample by DDPM on variables of unit variance. Here x is the latent plus sigma times noise, and the
network takes x / sqrt(sigma^2 + 1), so that the same network input corresponds to a different x at each
sigma.
"""

from torch import Tensor


def from_lr(latent: Tensor, noise: Tensor, sigma: float, noisiest: float) -> Tensor:
    """Return the noisy latent (B, C, h, w) from which a run starts on an LR photo.

    SeeSR (arXiv 2311.16518) noises the photo to the last level of the schedule, t = 999, but conditions the
    network on the timestep of its first step, t = 981 for 50 steps.

    Args:
        latent: encoded photo (B, C, h, w), in the scale of the denoiser.
        noise: noise of unit variance, with the shape of `latent`.
        sigma: noise level of the first step.
        noisiest: largest sigma of the model's schedule.
    """
    return (latent + noisiest * noise) * ((sigma**2 + 1) / (noisiest**2 + 1)) ** 0.5


def from_noise(noise: Tensor, sigma: float) -> Tensor:
    """Return the noisy latent from which a run starts on `noise` (B, C, h, w) alone.

    SRlab (arXiv 2504.09887) gives the network noise of unit variance, slightly more than the level t = 981
    has.
    """
    return noise * (sigma**2 + 1) ** 0.5


def first_timestep(steps: int, timesteps: int = 1000) -> int:
    """Return the first timestep of DDPM in SeeSR's schedule, 981 for 50 steps.

    The schedule is "leading" with an offset of 1 in diffusers.
    """
    return 1 + (steps - 1) * (timesteps // steps)
