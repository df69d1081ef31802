"""The baseline of degradation: BasicSR's source from PyPI, and SRlab's chain built from its functions."""

import math
import random
import sys
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import rgb_to_grayscale

from ugc_sr.degrade.recipes.real_esrgan import Settings, Stage

from .bootstrap import ROOT, load_module

FOLDER = ROOT / ".host" / "basicsr"
FAMILIES = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
SIZES = range(7, 22, 2)
LARGEST = 21
MODES = ("area", "bilinear", "bicubic")


@cache
def basicsr(name: str) -> ModuleType:
    """Return one of BasicSR's files, 'degradations', 'diffjpeg' or 'img_process_util', as a module.

    Raises:
        FileNotFoundError: if `make setup` couldn't download it.
    """
    path = FOLDER / f"{name}.py"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. `make setup` brings it from PyPI.")
    # The file imports a module that torchvision has removed.
    gone = ModuleType("torchvision.transforms.functional_tensor")
    gone.__dict__["rgb_to_grayscale"] = rgb_to_grayscale
    sys.modules.setdefault(gone.__name__, gone)
    return load_module(f"basicsr_{name}", path)


class Chain:
    """SRlab's order of operations at scale 4; kernels are drawn per photo, everything else per batch."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.noise = basicsr("degradations")
        self.filter = basicsr("img_process_util").filter2D
        self.sharpen = basicsr("img_process_util").USMSharp()
        self.jpeg = basicsr("diffjpeg").DiffJPEG(differentiable=False)

    @torch.no_grad()
    def __call__(self, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sharpened target and the degraded (B, 3, H // 4, W // 4) of (B, 3, H, W) in [0, 1]."""
        settings, size = self.settings, (gt.shape[2] // 4, gt.shape[3] // 4)
        kernels = [torch.stack(which) for which in zip(*(self._kernels() for _ in gt), strict=True)]
        target = self.sharpen(gt).clamp(0, 1)
        if random.random() < settings.bicubic_prob:
            return target, interpolate(gt, size=size, mode="bicubic").clamp(0, 1)
        out = self.filter(gt, kernels[0])
        out = interpolate(out, scale_factor=_factor(settings.first), mode=random.choice(MODES))
        out = self._compressed(self._noisy(out, settings.first), settings.first)
        if random.random() < settings.second.blur_prob:
            out = self.filter(out, kernels[1])
        factor = _factor(settings.second)
        again = (int(size[0] * factor), int(size[1] * factor))
        out = self._noisy(interpolate(out, size=again, mode=random.choice(MODES)), settings.second)
        if random.random() < 0.5:
            out = self._compressed(self._finished(out, size, kernels[2]), settings.second)
        else:
            out = self._finished(self._compressed(out, settings.second), size, kernels[2])
        return target, out.clamp(0, 1)

    def _noisy(self, image: Tensor, stage: Stage) -> Tensor:
        common = {"gray_prob": stage.gray_noise_prob, "clip": True, "rounds": False}
        if random.random() < stage.gaussian_noise_prob:
            return self.noise.random_add_gaussian_noise_pt(image, sigma_range=stage.noise_range, **common)
        return self.noise.random_add_poisson_noise_pt(image, scale_range=stage.poisson_scale_range, **common)

    def _compressed(self, image: Tensor, stage: Stage) -> Tensor:
        quality = image.new_zeros(len(image)).uniform_(*stage.jpeg_range)
        # The filter needs contiguous memory, which the JPEG's output isn't on the CPU.
        return self.jpeg(image.clamp(0, 1), quality=quality).contiguous()

    def _finished(self, image: Tensor, size: tuple[int, int], kernel: Tensor) -> Tensor:
        return self.filter(interpolate(image, size=size, mode=random.choice(MODES)), kernel)

    def _kernels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the kernels of the first blur, the second blur and the final low-pass filter, each 21x21."""
        if np.random.uniform() < self.settings.final_sinc_prob:
            cutoff = np.random.uniform(np.pi / 3, np.pi)
            last = self.noise.circular_lowpass_kernel(cutoff, random.choice(SIZES), pad_to=LARGEST)
        else:
            last = np.zeros((LARGEST, LARGEST))
            last[LARGEST // 2, LARGEST // 2] = 1
        first, second = self._blur(self.settings.first), self._blur(self.settings.second)
        return torch.FloatTensor(first), torch.FloatTensor(second), torch.FloatTensor(last)

    def _blur(self, stage: Stage) -> np.ndarray:
        size = random.choice(SIZES)
        if np.random.uniform() < stage.sinc_prob:
            cutoff = np.random.uniform(np.pi / 3 if size < 13 else np.pi / 5, np.pi)
            return self.noise.circular_lowpass_kernel(cutoff, size, pad_to=LARGEST)
        kernel = self.noise.random_mixed_kernels(
            FAMILIES,
            stage.kernel_prob,
            size,
            stage.blur_sigma,
            stage.blur_sigma,
            [-math.pi, math.pi],
            stage.betag_range,
            stage.betap_range,
            noise_range=None,
        )
        return np.pad(kernel, (LARGEST - size) // 2)


def _factor(stage: Stage) -> float:
    low, high = stage.resize_range
    options = (random.uniform(1, high), random.uniform(low, 1), 1.0)
    return random.choices(options, stage.resize_prob)[0]
