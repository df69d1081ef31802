"""What the benchmark counts, against what the networks really do."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import forwards, networks, reference
from benchmarks.forwards import PRESETS, Plan, Settings
from ugc_sr.sample.tiles import split

SIZE, TILE, OVERLAP = (8, 14), 8, 2  # latent cells


def test_wild_at_1080x1920_takes_6_tiles_of_the_references_8():
    wild = PRESETS["wild"]
    assert forwards.reference_plan(1080, 1920, wild.reference).forwards == 800
    assert forwards.our_plan(1080, 1920, wild.ours).forwards <= 600
    assert forwards.our_plan(1080, 1920, PRESETS["balanced"].ours).forwards <= 240


def test_every_preset_costs_no_more_than_what_it_stands_in_for():
    for preset in PRESETS.values():
        for size in forwards.SIZES:
            ours, theirs = (
                forwards.our_plan(*size, preset.ours),
                forwards.reference_plan(*size, preset.reference),
            )
            assert ours.forwards <= theirs.forwards


def test_projections_of_the_tokens_are_those_of_the_published_shapes():
    """76.5 GMAC: 4096 tokens of 512, to keys and values of 23 attentions."""
    widths = 320 * (2 + 3 + 2) + 640 * (2 + 3 + 2) + 1280 * (2 + 3 + 2 + 1 + 1)
    assert forwards.true_cost(64, 64).projections == 2 * 4096 * 512 * widths


def countable():
    """Attention as matrix products: the counter doesn't know the CPU's fused one."""
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)


@pytest.mark.comfy
@pytest.mark.parametrize("cfg", [8.5, pytest.param(1.0, marks=pytest.mark.deep)])
def test_the_counts_are_what_the_host_and_the_reference_compute(cfg):
    from benchmarks import restore

    nets = restore.build((64, 64), torch.float32, torch.device("cpu"), text_dim=32)
    case = restore.Case((64, 64), 3, SIZE, TILE, OVERLAP, OVERLAP, torch.float32, steps=2)
    inputs = restore.draw(nets, case, torch.device("cpu"))
    run = {"steps": 2, "cfg": cfg, "tile": TILE, "overlap": OVERLAP}
    settings = Settings(2, cfg)
    with torch.device("meta"):
        twins = networks.build((64, 64), text_dim=32)
        cost = forwards.count(*twins, TILE, TILE, tokens=9, text=networks.TEXT_TOKENS)

    theirs = Plan(len(reference.plan(*SIZE, TILE, OVERLAP)), (TILE, TILE), settings)
    with countable(), FlopCounterMode(display=False) as counter:
        restore.reference_way(nets, inputs, **run)
    assert counter.get_total_flops() == 2 * forwards.reference_macs(theirs, cost)

    ours = Plan(len(split(*SIZE, TILE, OVERLAP)), (TILE, TILE), settings)
    rows = []
    hook = nets.model.model.diffusion_model.register_forward_pre_hook(
        lambda _, args: rows.append(args[0].shape[0])
    )
    with countable(), FlopCounterMode(display=False) as counter:
        restore.our_way(nets, inputs, **run)
    hook.remove()
    assert sum(rows) == ours.forwards
    # The ControlNet embeds the level once for all rows: two linear layers, and one in each of six blocks.
    level = 64 * 256 + 256 * 256 + 6 * 256 * 64
    saved = (sum(rows) - len(rows)) * level
    assert counter.get_total_flops() == 2 * (forwards.our_macs(ours, cost) - saved)
