"""Network forwards and multiply-adds of a whole restoration, counted: this package against the reference."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ugc_sr.models.twins import SemanticControlNet, SemanticUNet
from ugc_sr.sample.presets import load
from ugc_sr.sample.tiles import split

from . import networks, reference

CELL_PX = 8
SIZES = ((512, 512), (1080, 1920), (2048, 2048), (4096, 4096))  # sizes of the result, (height, width)
TILE = 96  # overlap in latent cells: the reference's, ours
REFERENCE_OVERLAP = 32
# The minimum overlap. The even grid needs fewer tiles than the reference's, whose last overlap is the rest.
OVERLAP = int(load("wild").values["UGCSR_TileDiffusion.overlap"]) // CELL_PX
CANVAS_PX = 64  # Prepare Photo pads the sides to multiples of this; the reference crops to multiples of 8


class Settings(NamedTuple):
    """The settings that determine the cost of a restoration, besides its size."""

    steps: int
    cfg: float

    @property
    def halves(self) -> int:
        """The forwards per tile and step: 2 for a cfg above 1, else 1."""
        return 2 if self.cfg > 1 else 1


class Preset(NamedTuple):
    """The settings of a preset, and those of the reference for the same photos."""

    ours: Settings
    reference: Settings


def _ours(name: str) -> Settings:
    values = load(name).values
    return Settings(steps=int(values["KSampler.steps"]), cfg=float(values["KSampler.cfg"]))


WILD = Settings(steps=50, cfg=8.5)  # source: SRlab's README, as for synthetic
REFERENCES = {
    "wild": WILD,
    "synthetic": Settings(steps=50, cfg=0.9),  # no guidance at 1 or below
    "seesr": Settings(steps=50, cfg=5.5),  # source: SeeSR, as for turbo
    "balanced": WILD,
    "fast": WILD,
    "turbo": Settings(steps=2, cfg=1.0),
}
PRESETS = {name: Preset(_ours(name), theirs) for name, theirs in REFERENCES.items()}


class Cost(NamedTuple):
    """The multiply-adds of UNet and ControlNet for one tile and CFG half, and the parts that can be saved."""

    total: int
    projections: int  # projection of the tokens to keys and values: equal for all tiles, halves and steps
    embedding: int  # embedding of the hint: equal for both halves and all steps


class Plan(NamedTuple):
    """The tiles for one size of the result, and the number of forwards on each."""

    tiles: int
    side: tuple[int, int]  # (height, width) of a tile, in latent cells
    settings: Settings

    @property
    def forwards(self) -> int:
        """The number of forwards of UNet and ControlNet together, each on one tile of one CFG half."""
        return self.tiles * self.settings.halves * self.settings.steps


def run() -> Iterator[dict[str, Any]]:
    """Yield one row for each size of the result and preset; encoders and decoders aren't counted."""
    for height, width in SIZES:
        for name, preset in PRESETS.items():
            theirs = reference_plan(height, width, preset.reference)
            ours = our_plan(height, width, preset.ours)
            cost, our_cost = (true_cost(*plan.side) for plan in (theirs, ours))
            yield {
                "name": f"forwards-{height}x{width}-{name}",
                "baseline": theirs.forwards,
                "ours": ours.forwards,
                "ratio": round(theirs.forwards / ours.forwards, 2),
                "unit": "network forwards",
                "baseline_gmac": round(reference_macs(theirs, cost) / 1e9),
                "ours_gmac": round(our_macs(ours, our_cost) / 1e9),
                "baseline_tiles": theirs.tiles,
                "ours_tiles": ours.tiles,
                "baseline_overlap_px": REFERENCE_OVERLAP * CELL_PX,
                "ours_overlap_px": OVERLAP * CELL_PX,  # minimum
                "device": "counted",
            }


def reference_plan(height: int, width: int, settings: Settings) -> Plan:
    """Return the reference's plan for a result of height x width px."""
    boxes = reference.plan(height // CELL_PX, width // CELL_PX, TILE, REFERENCE_OVERLAP)
    return Plan(len(boxes), (boxes[0].height, boxes[0].width), settings)


def our_plan(height: int, width: int, settings: Settings) -> Plan:
    """Return the plan of Prepare Photo and Tile Diffusion for a result of height x width px."""
    rows, columns = (math.ceil(side / CANVAS_PX) * CANVAS_PX // CELL_PX for side in (height, width))
    boxes = split(rows, columns, tile=TILE, overlap=OVERLAP)
    return Plan(len(boxes), (boxes[0].height, boxes[0].width), settings)


def reference_macs(plan: Plan, cost: Cost) -> int:
    """Return the reference's multiply-adds; it computes everything in every forward."""
    return plan.forwards * cost.total


def our_macs(plan: Plan, cost: Cost) -> int:
    """Return our multiply-adds: tokens are projected once, with folded weights, the hint once per tile.

    The ControlNet's embedding of the noise level is counted for each row; in truth all rows of a forward
    share one, and their number depends on the memory.
    """
    each = cost.total - cost.projections - cost.embedding
    return plan.forwards * each + plan.tiles * cost.embedding + cost.projections // 2


@cache
def true_cost(height: int, width: int) -> Cost:
    """Return the cost of one tile of height x width latent cells at the published networks' size."""
    with torch.device("meta"):
        unet, controlnet = networks.build()
        return count(unet, controlnet, height, width, networks.TOKENS, networks.TEXT_TOKENS)


@torch.inference_mode()
def count(
    unet: SemanticUNet, controlnet: SemanticControlNet, height: int, width: int, tokens: int, text: int
) -> Cost:
    """Return the multiply-adds of matrix products, attentions and convolutions by torch's FLOP counter.

    Args:
        unet: UNet with image attentions on any device; on "meta" nothing is computed.
        controlnet: the ControlNet that belongs to it, on the same device.
        height: height of the tile in latent cells.
        width: width of the tile in latent cells.
        tokens: number of semantic tokens of the photo.
        text: number of tokens of the prompt.
    """
    x = torch.empty(1, unet.config["in_channels"], height, width)
    hint = torch.empty(1, 3, height * CELL_PX, width * CELL_PX)
    prompt = torch.empty(1, text, unet.config["cross_attention_dim"])
    semantics = torch.empty(1, tokens, networks.DUPLICATED)
    with FlopCounterMode(display=False) as counter:
        control = controlnet.control(x, torch.tensor(1), prompt, semantics, hint)
        unet.restore(x, torch.tensor(1), prompt, semantics, control)
    flops = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
    saved = [name for name in flops if "image_attentions" in name]
    projections = sum(flops[name] for name in saved if name.endswith(("attn2.to_k", "attn2.to_v")))
    embedding = sum(n for name, n in flops.items() if name.endswith(".controlnet_cond_embedding"))
    return Cost(*(n // 2 for n in (counter.get_total_flops(), projections, embedding)))  # 2 FLOP are one MAC
