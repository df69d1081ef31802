"""ST-LPIPS: a perceptual distance by a trained network that tolerates small shifts.

Ghildyal, Liu 2022, "Shift-tolerant Perceptual Similarity Metric" (ECCV 2022, arXiv 2207.13686). The weights
are those of the PyPI package stlpips_pytorch 0.0.2 (BSD-2-Clause), whose code is not imported. Its files are
pickles, which are not unpickled: each tensor is stored as plain float32 at an offset of `_FILES`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PACKAGE = "stlpips_pytorch"
INSTALL = 'pip install "ugc-super-resolution[perceptual]"'
NETS = ("alex", "vgg")
TILE_PX = 1024  # larger pictures would take gigabytes
LEAST_SIDE = 32  # pixels: the deepest layer of either net mirrors 2 px at the edges

_WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}  # of the compared features
# Mean and deviation of ImageNet's colours, of RGB in [-1, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class _File:
    name: str
    sha256: str
    offsets: tuple[int, ...]  # bytes, where each parameter of the network begins, in the network's order


# The offsets hold for the file of that checksum alone.
_FILES = {
    "alex": _File(
        "alex_shift_tolerant.pth",
        "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
        (
            *(9801456, 9894392, 2666400, 2665624, 5752, 4208, 6255544, 3895208, 3896240, 2662280),
            *(9898008, 9896200, 9894656, 9896976, 9898272),
        ),
    ),
    "vgg": _File(
        "vgg_shift_tolerant.pth",
        "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
        (
            *(58894194, 58901114, 36896762, 46500890, 28337594, 9450378, 48860478, 36896242, 30991818),
            *(46481418, 28632514, 7786, 46501154, 18888090, 32173530, 36892130, 9450898, 18889122, 18900402),
            *(36894186, 37044226, 32171474, 49450310, 11130, 13186, 58892118),
            *(58904986, 58901378, 58903954, 58901898, 58905250),
        ),
    ),
}


class Halving(nn.Module):
    """A blur with the 3x3 binomial window and a stride of 2; borders are mirrored by 2 px."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) at half size: (B, C, (H + 1) // 2 + 1, (W + 1) // 2 + 1)."""
        row = x.new_tensor((0.25, 0.5, 0.25))
        kernel = (row[:, None] * row).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


class STLPIPS(nn.Module):
    """The distance of two pictures, and feature maps of the network by name.

    The weights are frozen; gradients flow to the pictures. `stages` are the parts of the network, each of
    which ends with one of the compared feature maps.
    """

    def __init__(self, net: str = "alex") -> None:
        """Read the weights of the installed package.

        Args:
            net: "alex" (AlexNet, 2.5 M parameters) or "vgg" (VGG-16, 14.7 M).

        Raises:
            ValueError: for another net, or a file that isn't as published.
            FileNotFoundError: if the file isn't there; the message says what to install.
        """
        super().__init__()
        if net not in NETS:
            raise ValueError(f"There is no ST-LPIPS of '{net}'; known are {', '.join(NETS)}.")
        with torch.device("meta"):
            self.stages = nn.ModuleDict(_alexnet() if net == "alex" else _vgg16())
            self.weights = nn.ParameterList(torch.empty(width) for width in _WIDTHS[net])
        _fill(self, net)
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of RGB pictures (B, 3, H, W) in [0, 1]: (B,), 0 for equal ones.

        Raises:
            ValueError: if a side is shorter than 32 px.
        """
        total, dtype = a.new_zeros(len(a)), a.dtype
        a, b = self._input(a), self._input(b)
        for stage, weight in zip(self.stages.values(), self.weights, strict=True):
            a, b = stage(a), stage(b)
            apart = (_unit(a.to(dtype)) - _unit(b.to(dtype))).square()  # in full, also under autocast
            total = total + torch.einsum("bchw,c->bhw", apart, weight).mean(dim=(1, 2))
        return total

    def features(self, image: Tensor, *names: str) -> dict[str, Tensor]:
        """Return feature maps of RGB (B, 3, H, W) in [0, 1] by stage; all stages if no name is given.

        VGG-16 has relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 at strides 1, 2, 4, 8 and 16; AlexNet has
        relu1 to relu5 at strides 2, 4, 8, 8 and 8. Because of the mirrored borders they are some pixels
        larger than H and W over the stride.

        Raises:
            ValueError: for an unknown name, or if a side is shorter than 32 px.
        """
        wanted = names or tuple(self.stages)
        if unknown := set(wanted) - set(self.stages):
            raise ValueError(f"There are no features {sorted(unknown)}; known are {', '.join(self.stages)}.")
        found, x = {}, self._input(image)
        for name, stage in self.stages.items():
            x = stage(x)
            found[name] = x
            if set(wanted) <= set(found):
                break
        return {name: found[name] for name in wanted}

    def _input(self, image: Tensor) -> Tensor:
        """Return the normalised input of the network.

        Raises:
            ValueError: if a side is too short.
        """
        height, width = image.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise ValueError(f"The image is {width}x{height} px; ST-LPIPS needs {LEAST_SIDE} px a side.")
        shift, scale = (image.new_tensor(values).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))
        return (2 * image - 1 - shift) / scale


def installed(net: str) -> Path | None:
    """Return the weight file of the installed package; None if there is none."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == _FILES[net].name), None)


def in_tiles(network: STLPIPS, a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of pictures of any size: (B, 3, H, W) twice -> (B,).

    It is the mean over equal tiles of at most 1024 px a side, weighted by area; smaller pictures are one
    tile.
    """
    height, width = a.shape[-2:]
    rows, columns = (-(-side // TILE_PX) for side in (height, width))
    total = a.new_zeros(len(a))
    for row in range(rows):
        for column in range(columns):
            y = slice(height * row // rows, height * (row + 1) // rows)
            x = slice(width * column // columns, width * (column + 1) // columns)
            share = (y.stop - y.start) * (x.stop - x.start) / (height * width)
            total = total + share * network(a[..., y, x], b[..., y, x])
    return total


def _fill(module: nn.Module, net: str) -> None:
    """Load every parameter from the file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its checksum differs.
    """
    expected, path = _FILES[net], installed(net)
    if path is None or not path.is_file():
        raise FileNotFoundError(f"ST-LPIPS needs its trained weights. Install them with  {INSTALL}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise ValueError(f"'{path.name}' isn't the file of {PACKAGE} 0.0.2. Install that version again.")
    names = [name for name, _ in module.named_parameters()]
    tensors = {}
    for name, offset in zip(names, expected.offsets, strict=True):
        shape = module.get_parameter(name).shape
        numbers = np.frombuffer(content, "<f4", shape.numel(), offset)
        tensors[name] = torch.from_numpy(numbers.astype(np.float32)).view(shape)
    module.load_state_dict(tensors, assign=True)


def _unit(x: Tensor) -> Tensor:
    """Return each pixel's feature vector scaled to length 1.

    The constant inside the root keeps the gradient finite where all features are 0.
    """
    return x / ((x.square().sum(dim=1, keepdim=True) + 1e-24).sqrt() + 1e-10)


def _alexnet() -> dict[str, nn.Sequential]:
    """Return the stages; the first convolution has stride 1, the blur after it halves."""

    def convolution(inputs: int, outputs: int, side: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inputs, outputs, side, padding=min(side // 2, 2)), nn.ReLU()

    first, relu = convolution(3, 64, 11)
    return {
        "relu1": nn.Sequential(first, Halving(), relu),
        "relu2": nn.Sequential(nn.MaxPool2d(3, 1), Halving(), *convolution(64, 192, 5)),
        "relu3": nn.Sequential(nn.MaxPool2d(3, 1), Halving(), *convolution(192, 384, 3)),
        "relu4": nn.Sequential(*convolution(384, 256, 3)),
        "relu5": nn.Sequential(*convolution(256, 256, 3)),
    }


def _vgg16() -> dict[str, nn.Sequential]:
    stages: dict[str, nn.Sequential] = {}
    inputs = 3
    for number, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        layers: list[nn.Module] = [nn.MaxPool2d(2, 1), Halving()] if stages else []
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        stages[f"relu{number}_{count}"] = nn.Sequential(*layers)
    return stages
