"""Seconds of a restoration with equal settings and weights: nodes in the host, and the reference's loop."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import comfy.model_management
import torch
from torch import Tensor, nn

from ugc_sr.host.adapter import LoadedAdapter, load_adapter
from ugc_sr.host.controlnet import SemanticControlNet, apply_controlnet, load_controlnet
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.lr_start import lr_start
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.models.semantics import Semantics
from ugc_sr.models.twins import SemanticControlNet as ControlNetTwin
from ugc_sr.models.twins import SemanticUNet as UNetTwin

from . import forwards, networks, reference
from .parity import base_model
from .sampling import sample

SEED = 7
TILE_BATCH = 4  # default of Tile Diffusion
CFG = forwards.WILD.cfg


@dataclass(frozen=True)
class Case:
    """The sizes of a test case, in latent cells: a 1080x1920 photo with `wild`, or a reduced one."""

    widths: tuple[int, ...]
    grid: int  # side of the token grid
    latent: tuple[int, int]
    tile: int
    overlap: int
    reference_overlap: int
    dtype: torch.dtype
    steps: int


# A quarter of the sides. Keys, values and the embedded hint, which the nodes compute once, are 7 % of a
# forward here and 3.5 % at full size, counted as in forwards.py.
SMALL = Case((128, 256, 512, 512), 8, (34, 60), 24, 6, 8, torch.float32, steps=4)
FULL = Case(networks.WIDTHS, 64, (136, 240), 96, 24, 32, torch.float16, steps=50)


@dataclass(frozen=True, eq=False)
class Networks:
    """The same weights in two forms: diffusers' twins, and the host's networks."""

    unet: UNetTwin
    controlnet: ControlNetTwin
    model: Any  # the host's MODEL
    adapter: LoadedAdapter
    control: SemanticControlNet


class Times(NamedTuple):
    """The seconds of one restoration: wall time, and CPU time of all cores."""

    wall: float
    processor: float


def run(rounds: int, steps: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield a row for the nodes with the reference's tiles, and one with the even grid's fewer tiles.

    On the CPU the networks are narrower and float32, on a GPU full size and float16. Prompts, tokens and the
    hint are computed beforehand; nothing is decoded. `relative_difference` is that to the reference's latent;
    other tiles give another picture. `processor_ratio` compares CPU time, which other load hardly changes.
    """
    device = comfy.model_management.get_torch_device()
    case = SMALL if device.type == "cpu" else FULL
    steps = steps or case.steps
    nets = build(case.widths, case.dtype, device)
    inputs = draw(nets, case, device)
    tiles = {"tile": case.tile, "overlap": case.reference_overlap}
    ways: dict[str, Callable[[], Tensor]] = {
        "reference": lambda: reference_way(nets, inputs, steps, CFG, **tiles),
        "same-grid": lambda: our_way(nets, inputs, steps, CFG, **tiles, grid="seesr"),
        "even-grid": lambda: our_way(nets, inputs, steps, CFG, tile=case.tile, overlap=case.overlap),
    }
    latents = {name: way().cpu() for name, way in ways.items()}  # also the warm-up
    times: dict[str, list[Times]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_times(way, device))
    medians = {name: Times(*map(median, zip(*each, strict=True))) for name, each in times.items()}
    for name in ("same-grid", "even-grid"):
        baseline, ours = medians["reference"], medians[name]
        yield {
            "name": f"restore-{name}",
            "baseline": round(baseline.wall, 3),
            "ours": round(ours.wall, 3),
            "ratio": round(baseline.wall / ours.wall, 3),
            "unit": "s",
            "processor_ratio": round(baseline.processor / ours.processor, 3),
            "relative_difference": relative_difference(latents[name], latents["reference"]),
            "rounds": rounds,
            "steps": steps,
            "cfg": CFG,
            "latent": "x".join(map(str, case.latent)),
            "widths": list(case.widths),
            "dtype": str(case.dtype).removeprefix("torch."),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        }


def build(
    widths: tuple[int, ...], dtype: torch.dtype, device: torch.device, text_dim: int = networks.TEXT_DIM
) -> Networks:
    """Return random networks of SeeSR's layout in both forms."""
    unet, controlnet = networks.build(widths, text_dim)
    for network in (unet, controlnet):
        networks.randomize(network)
        nn.Module.to(network, device, dtype)  # diffusers' own method warns about layers kept in float32
    weights = unet.state_dict()
    return Networks(
        unet,
        controlnet,
        base_model(weights, dtype),
        load_adapter(weights, "random"),
        load_controlnet(controlnet.state_dict(), "random"),
    )


def draw(nets: Networks, case: Case, device: torch.device) -> reference.Inputs:
    """Return random inputs of the reference's loop; its tokens are duplicated features."""
    generator = torch.Generator().manual_seed(SEED)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    rows, columns = case.latent
    cell, text_dim = forwards.CELL_PX, nets.unet.config["cross_attention_dim"]
    features = normal(1, case.grid**2, networks.DUPLICATED // 2)
    return reference.Inputs(
        noise=normal(1, 4, rows, columns),
        hint=torch.rand(1, 3, rows * cell, columns * cell, generator=generator).to(device),
        text=normal(1, networks.TEXT_TOKENS, text_dim),
        negative=normal(1, networks.TEXT_TOKENS, text_dim),
        tokens=torch.cat([features, features], dim=2),
    )


def reference_way(
    nets: Networks, inputs: reference.Inputs, steps: int, cfg: float, tile: int, overlap: int
) -> Tensor:
    """Return the restored latent of the reference's loop."""
    device = inputs.noise.device
    # The host draws the noise of its steps on the latent's device; on the CPU with the next seed.
    generator = torch.Generator(device).manual_seed(SEED + (device.type == "cpu"))
    options: dict[str, Any] = {"generator": generator, "tile": tile, "overlap": overlap}
    return reference.restore(nets.unet, nets.controlnet, inputs, steps=steps, cfg=cfg, **options)


@torch.inference_mode()
def our_way(
    nets: Networks,
    inputs: reference.Inputs,
    steps: int,
    cfg: float,
    tile: int,
    overlap: int,
    grid: str = "even",
) -> Tensor:
    """Return the restored latent of the host's KSampler with `ddpm` and `ddim_uniform`."""
    features, _ = inputs.tokens.chunk(2, dim=2)
    height, width = inputs.hint.shape[-2:]
    semantics = Semantics(features, (1, features.shape[1]), (height, width), encoder="random")
    model = apply_guidance(nets.model, nets.adapter, semantics)
    model = lr_start(tile_diffusion(model, tile=tile, overlap=overlap, batch=TILE_BATCH, grid=grid))
    conditionings = [[[text, {}]] for text in (inputs.text, inputs.negative)]
    prompts = apply_controlnet(conditionings, nets.control, inputs.hint, semantics)
    noise = inputs.noise.cpu()
    latent = sample(model, prompts, torch.zeros_like(noise), steps=steps, cfg=cfg, seed=SEED, noise=noise)
    return model.get_model_object("latent_format").process_in(latent)


def relative_difference(ours: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference / the norm of the expected latent."""
    return ((ours - expected).norm() / expected.norm()).item()


def _times(way: Callable[[], Tensor], device: torch.device) -> Times:
    started = Times(time.perf_counter(), time.process_time())
    way()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Times(time.perf_counter() - started.wall, time.process_time() - started.processor)
