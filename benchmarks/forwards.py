"""Network forwards and multiply-adds of a whole restoration: ours against the reference's plan, counted."""

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
SIZES = ((512, 512), (1080, 1920), (2048, 2048), (4096, 4096))  # of the result, (height, width)
TILE = 96  # latent cells, the reference's and ours
REFERENCE_OVERLAP = 32
# Least; tiles spread evenly need less than the reference's, whose last overlap is what remains.
OVERLAP = int(load("wild").values["UGCSR_TileDiffusion.overlap"]) // CELL_PX
CANVAS_PX = 64  # Prepare Photo fills the sides up to multiples of this; the reference cuts to 8


class Settings(NamedTuple):
    """What the cost of a restoration depends on, besides its size."""

    steps: int
    cfg: float

    @property
    def halves(self) -> int:
        """Forwards of one tile in one step: the reference guides above 1; ours are 1 or above."""
        return 2 if self.cfg > 1 else 1


class Preset(NamedTuple):
    """Our settings, and those of the reference for the same photos."""

    ours: Settings
    reference: Settings


def _ours(name: str) -> Settings:
    values = load(name).values
    return Settings(steps=int(values["KSampler.steps"]), cfg=float(values["KSampler.cfg"]))


WILD = Settings(steps=50, cfg=8.5)  # SRlab's, of its README; as are synthetic's
SEESR, TURBO = Settings(steps=50, cfg=5.5), Settings(steps=2, cfg=1.0)  # SeeSR's own, and with sd-turbo
REFERENCES = {
    "wild": WILD,
    "synthetic": Settings(steps=50, cfg=0.9),  # at 1 or below there is no guidance
    "seesr": SEESR,
    "balanced": WILD,
    "fast": WILD,
    "turbo": TURBO,
}
PRESETS = {name: Preset(_ours(name), theirs) for name, theirs in REFERENCES.items()}


class Cost(NamedTuple):
    """Multiply-adds of UNet and ControlNet on one tile of one CFG half, and what of them can be saved."""

    total: int
    projections: int  # of the semantic tokens to keys and values: the same for all tiles, halves and steps
    embedding: int  # of the hint: the same for both halves and all steps


class Plan(NamedTuple):
    """The tiles of one size, and how often the networks run over them."""

    tiles: int
    side: tuple[int, int]  # of a tile, in latent cells
    settings: Settings

    @property
    def forwards(self) -> int:
        """Of UNet and ControlNet together, on one tile of one CFG half."""
        return self.tiles * self.settings.halves * self.settings.steps


def run() -> Iterator[dict[str, Any]]:
    """Yield one row for each size of the result and preset; encoders and decoders aren't in it."""
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
                "ours_overlap_px": OVERLAP * CELL_PX,  # least
                "device": "counted",
            }


def reference_plan(height: int, width: int, settings: Settings) -> Plan:
    """The reference's, for a result of height x width px."""
    boxes = reference.plan(height // CELL_PX, width // CELL_PX, TILE, REFERENCE_OVERLAP)
    return Plan(len(boxes), (boxes[0].height, boxes[0].width), settings)


def our_plan(height: int, width: int, settings: Settings) -> Plan:
    """Ours, of Prepare Photo and Tile Diffusion, for a result of height x width px."""
    rows, columns = (math.ceil(side / CANVAS_PX) * CANVAS_PX // CELL_PX for side in (height, width))
    boxes = split(rows, columns, tile=TILE, overlap=OVERLAP)
    return Plan(len(boxes), (boxes[0].height, boxes[0].width), settings)


def reference_macs(plan: Plan, cost: Cost) -> int:
    """Everything, every time."""
    return plan.forwards * cost.total


def our_macs(plan: Plan, cost: Cost) -> int:
    """Tokens projected once, with weights folded to half; the hint embedded once for each tile."""
    each = cost.total - cost.projections - cost.embedding
    return plan.forwards * each + plan.tiles * cost.embedding + cost.projections // 2


@cache
def true_cost(height: int, width: int) -> Cost:
    """Of one tile of height x width latent cells, at the published networks' size."""
    with torch.device("meta"):
        unet, controlnet = networks.build()
        return count(unet, controlnet, height, width, networks.TOKENS, networks.TEXT_TOKENS)


@torch.inference_mode()
def count(
    unet: SemanticUNet, controlnet: SemanticControlNet, height: int, width: int, tokens: int, text: int
) -> Cost:
    """Multiply-adds of matrix products, attentions and convolutions, read off by torch's counter.

    Args:
        unet: with image attentions, as the ControlNet; on any device, "meta" for no work at all.
        controlnet: which goes with it.
        height: of the tile in latent cells, as `width`.
        width: see `height`.
        tokens: semantic tokens of the photo.
        text: tokens of the prompt.
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
