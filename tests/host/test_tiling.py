"""Tile Diffusion on the real host; `pointwise` looks at one cell at a time, so tiles can't change it."""

import gc
from dataclasses import replace

import comfy.controlnet
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.supported_models_base
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from torch import nn
from torch.nn import functional as F

from ugc_sr.host.attention import TokenCache
from ugc_sr.host.controlnet import SemanticControlNet, apply_controlnet
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.tile_conds import cut_cond
from ugc_sr.host.tile_run import RUN_KEY
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.nodes.sampling_nodes import TileDiffusion
from ugc_sr.sample.tiles import GRIDS, Tile, TilePlan
from ugc_sr.score.seams import Borders, seam_score

pytestmark = pytest.mark.comfy

SMALL = {"tile": 8, "overlap": 4}  # for networks that take their time: 2x2 tiles of a latent of 12x12


class Pointwise(nn.Module):
    """A denoiser of cells: every input of a real one, and no look at the neighbours."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.stacks = []

    def forward(self, x, timesteps, context=None, control=None, transformer_options=None, **_):
        self.stacks.append(tuple(x.shape))
        noise, concat = x[:, :4], x[:, 4:]
        text = context.mean(dim=(1, 2)).view(-1, 1, 1, 1)
        out = torch.tanh(noise) * (1 + text) + timesteps.view(-1, 1, 1, 1) / 1000
        if concat.shape[1]:
            out = out + 0.5 * concat
        if control is not None:
            out = out + control["middle"][0]
        return out


class PointwiseControl(nn.Module):
    """A ControlNet of cells: hint averaged over each cell, or over `pool` cells."""

    dtype = torch.float32

    def __init__(self, pool=1):
        super().__init__()
        self.pool = pool

    def forward(self, x, hint, timesteps, context, **_):
        assert hint.shape[0] in (1, x.shape[0])
        assert tuple(hint.shape[-2:]) == (x.shape[-2] * 8, x.shape[-1] * 8)
        cells = F.avg_pool2d(hint, 8).mean(dim=1, keepdim=True) + 0.1 * x.mean(dim=1, keepdim=True)
        return {"middle": [F.avg_pool2d(cells, self.pool)]}


class Neighbourly(nn.Module):
    """Four 3x3 convolutions; like any network's, their zero padding darkens the borders of what they see."""

    dtype = torch.float32

    def forward(self, x, timesteps, **_):
        blur = torch.full((4, 1, 3, 3), 1 / 9)
        for _ in range(4):
            x = F.conv2d(x, blur, padding=1, groups=4)
        return x


@pytest.fixture
def pointwise():
    return patcher(Pointwise())


@pytest.fixture
def neighbourly():
    return patcher(Neighbourly())


def patcher(denoiser):
    config = comfy.supported_models_base.BASE({"disable_unet_model_creation": True})
    config.latent_format = comfy.latent_formats.LatentFormat()
    model = comfy.model_base.BaseModel(config)
    model.diffusion_model = denoiser
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=device)


def tiled(model, tile=16, overlap=8, batch=4, **grid):
    return tile_diffusion(model, tile=tile, overlap=overlap, batch=batch, **grid)


def prompts(batch=1, width=8, **options):
    """Positive and negative; the positive one differs from image to image."""
    return [[[torch.randn(b, 7, width), dict(options)]] for b in (batch, 1)]


def sample(model, latent, conds, cfg=3.0, noise=None, mask=None, steps=2):
    """Samples from a lower sigma: at sigma_max rounding errors of eps count 14 times."""
    if noise is None:
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(5))
    return comfy.sample.sample(
        model,
        noise,
        steps,
        cfg,
        "euler",
        "simple",
        *conds,
        latent,
        denoise=0.4,
        noise_mask=mask,
        disable_pbar=True,
        seed=0,
    )


def agree(out, expected):
    """Equal but for rounding, which grows with the latent's own spread."""
    assert (out - expected).abs().max() < 1e-5 * expected.std().clamp_min(1)


def control_net(hint, previous=None, pool=1):
    control = comfy.controlnet.ControlNet(PointwiseControl(pool), load_device=torch.device("cpu"))
    return control.set_cond_hint(hint, 0.7, (0.0, 1.0)).set_previous_controlnet(previous)


def semantic(model, conds, adapter, controlnet, semantics, size):
    """The model and conds of the whole semantic path, for a latent of `size`."""
    hint = torch.rand(semantics.tokens.shape[0], 3, size[0] * 8, size[1] * 8)
    guided = apply_guidance(model, adapter, semantics, 1.0, 0.0, 1.0)
    return guided, apply_controlnet(conds, controlnet, hint, semantics)


def wide_semantics(semantics, size, batch=1):
    """Tokens as read from a photo that a latent of `size` restores at scale 4."""
    tokens = torch.randn(batch, *semantics.tokens.shape[1:], generator=torch.Generator().manual_seed(batch))
    return replace(semantics, tokens=tokens, image_size=(size[0] * 2, size[1] * 2))


# --- the same picture as without tiles


@pytest.mark.parametrize("size", [(40, 24), (17, 33), (5, 60)])
@pytest.mark.parametrize("batch", [1, 3, 99])
def test_a_model_that_looks_at_single_cells_does_not_notice_the_tiles(pointwise, size, batch):
    latent, conds = torch.randn(2, 4, *size), prompts(batch=2)
    expected = sample(pointwise, latent, conds)
    agree(sample(tiled(pointwise, batch=batch), latent, conds), expected)


@pytest.mark.parametrize("size", [(40, 24), (17, 33), (9, 60)])
def test_nor_the_tiles_of_seesr(pointwise, size):
    latent, conds = torch.randn(2, 4, *size), prompts(batch=2)
    expected = sample(pointwise, latent, conds)
    pointwise.model.diffusion_model.stacks.clear()
    agree(sample(tiled(pointwise, batch=1, grid="seesr"), latent, conds), expected)
    side = min(16, *size)
    assert set(pointwise.model.diffusion_model.stacks) == {(4, 4, side, side)}  # two images, two prompts


@pytest.mark.parametrize("images", [1, 2])
def test_concat_latents_are_cut_with_the_tiles(pointwise, images):
    anchor = torch.randn(images, 4, 40, 24)
    latent, conds = torch.randn(2, 4, 40, 24), prompts()
    conds = [[[c[0][0], {"noise_concat": anchor}]] for c in conds]
    expected = sample(pointwise, latent, conds)
    agree(sample(tiled(pointwise), latent, conds), expected)


def test_more_prompts_than_images_are_trimmed_as_the_host_does(pointwise):
    latent, conds = torch.randn(1, 4, 40, 24), prompts(batch=3)
    agree(sample(tiled(pointwise), latent, conds), sample(pointwise, latent, conds))


AREAS = {
    "area": {"area": (20, 12, 4, 8)},
    "area at the border": {"area": (40, 10, 0, 14), "strength": 0.5},
    "area in percent": {"area": ("percentage", 0.5, 0.5, 0.25, 0.5)},
    "mask": {"mask": torch.rand(1, 40, 24), "mask_strength": 0.8},
    "mask of each image": {"mask": torch.rand(2, 80, 48)},
    "mask and its bounds": {"mask": F.pad(torch.ones(1, 10, 9), (3, 12, 7, 23)), "set_area_to_bounds": True},
}


@pytest.mark.parametrize("options", AREAS.values(), ids=AREAS)
def test_prompts_of_regions_weigh_what_they_weigh_without_tiles(pointwise, options):
    latent, conds = torch.randn(2, 4, 40, 24), prompts()
    conds[0] = [[torch.randn(1, 7, 8), dict(options)], *conds[0]]
    agree(sample(tiled(pointwise), latent, conds), sample(pointwise, latent, conds))


def test_regions_out_of_all_tiles_of_a_batch_cost_nothing(pointwise):
    latent = torch.randn(1, 4, 16, 64)
    conds = prompts(area=(16, 8, 0, 56))
    sample(tiled(pointwise, batch=1, overlap=0), latent, conds, cfg=1.0, steps=1)
    assert len(pointwise.model.diffusion_model.stacks) == 1


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("cell", [8, 4])
def test_control_nets_of_the_host_see_their_part_of_the_hint(pointwise, images, cell):
    hint = torch.rand(images, 3, 40 * cell, 24 * cell)
    control = control_net(hint, previous=control_net(torch.rand(1, 3, 40 * 8, 24 * 8)))
    latent, conds = torch.randn(2, 4, 40, 24), prompts(batch=2, control=control)
    expected = sample(pointwise, latent, conds)
    agree(sample(tiled(pointwise, batch=3), latent, conds), expected)
    assert control.cond_hint_original is hint
    assert control.cond_hint is None


def test_control_nets_behind_a_vae_see_their_part_and_encode_it_once(pointwise):
    class Halving:
        """A VAE of cells, that halves the sides."""

        calls = 0

        def spacial_compression_encode(self):
            return 2

        def encode(self, pixels):
            self.calls += 1
            return F.avg_pool2d(pixels.movedim(-1, 1), 2)

    def sampled(model):
        vae, control = (
            Halving(),
            comfy.controlnet.ControlNet(
                PointwiseControl(),
                compression_ratio=8,
                latent_format=comfy.latent_formats.LatentFormat(),
                load_device=torch.device("cpu"),
                concat_mask=True,
            ),
        )
        control.set_cond_hint(hint, 0.7, (0.0, 1.0), vae=vae, extra_concat=[mask])
        own = [[[c[0][0], {"control": control}]] for c in conds]
        return sample(model, latent, own, cfg=1.0), vae.calls

    hint, mask = torch.rand(1, 3, 40 * 16, 24 * 16), torch.rand(1, 1, 40 * 16, 24 * 16)
    latent, conds = torch.randn(2, 4, 40, 24), prompts()
    (expected, _), (out, calls) = sampled(pointwise), sampled(tiled(pointwise, batch=3))
    agree(out, expected)
    assert calls == 3  # batches of tiles, in two steps


def test_t2i_adapters_see_their_part_of_the_hint(pointwise):
    class Cells(nn.Module):
        unshuffle_amount = 8

        def forward(self, hint):
            return {"middle": [F.avg_pool2d(hint, 8).mean(dim=1, keepdim=True)]}

    adapter = comfy.controlnet.T2IAdapter(Cells(), 3, 8, "nearest-exact", device=torch.device("cpu"))
    adapter.set_cond_hint(torch.rand(1, 3, 320, 192), 0.5)
    latent, conds = torch.randn(2, 4, 40, 24), prompts(control=adapter)
    agree(sample(tiled(pointwise, batch=3), latent, conds), sample(pointwise, latent, conds))


def test_a_mask_keeps_what_lies_outside_it(tiny_model):
    latent, mask = torch.randn(1, 4, 12, 12), torch.zeros(1, 1, 12, 12)
    mask[..., 3:9] = 1
    out = sample(tiled(tiny_model, **SMALL), latent, prompts(width=96), mask=mask)
    agree(out[..., :3], latent[..., :3])
    assert (out[..., 3:9] - latent[..., 3:9]).abs().mean() > 0.1


# --- tiles among themselves


CONTENT = {
    "flat": lambda h, w: torch.full((1, 4, h, w), 0.5),
    "gradient": lambda h, w: (torch.linspace(0, 0.5, h).view(-1, 1) + torch.linspace(0, 0.5, w)).expand(
        1, 4, h, w
    ),
    "texture": lambda h, w: torch.rand(1, 4, h, w),
}


def seams(network, latent, overlap, grid="even"):
    """Steps across the borders of tiles of 32 over those beside them, against the same without tiles."""
    height, width = latent.shape[2:]
    boxes = GRIDS[grid].split(height, width, 32, overlap)
    borders = Borders(  # inwards of the picture's own border
        rows=tuple({y - 8 for box in boxes for y in (box.top, box.top + 32) if 8 < y < height - 8}),
        columns=tuple({x - 8 for box in boxes for x in (box.left, box.left + 32) if 8 < x < width - 8}),
    )

    def score(model):
        noise = torch.zeros_like(latent)
        out = sample(model, latent, prompts(), noise=noise, cfg=1.0, steps=1)
        return seam_score(255 * out[..., 8:-8, 8:-8], borders).item()

    return score(tiled(network, tile=32, overlap=overlap, grid=grid)) / score(network)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize(
    "size", [(32, 48), (48, 48), (50, 60), (64, 64), (80, 80)], ids="{0[0]}x{0[1]}".format
)
def test_no_seam_shows_across_2_to_16_tiles(neighbourly, size, content, grid):
    assert abs(seams(neighbourly, CONTENT[content](*size), overlap=16, grid=grid) - 1) < 0.02


@pytest.mark.parametrize("content", CONTENT)
def test_tiles_that_only_touch_show_their_seams(neighbourly, content):
    """Each darkens towards its borders alike: no step across them, and large ones beside."""
    assert abs(seams(neighbourly, CONTENT[content](64, 64), overlap=0) - 1) > 0.05


def test_a_flat_field_shows_no_seam_with_a_real_network(tiny_model):
    """Steps across the borders of 2x2 tiles are no larger than those that random weights draw elsewhere."""
    latent, conds = torch.full((1, 4, 24, 24), 0.5), prompts(width=96)

    def step(model):
        out = sample(model, latent, conds, noise=torch.zeros_like(latent), cfg=1.0, steps=1)
        return out.diff(dim=3)[..., [7, 15]].abs().mean() / out.diff(dim=3).abs().mean()

    assert step(tiled(tiny_model)) < 0.9
    assert step(tiled(tiny_model, tile=8, overlap=0)) > 1.1


# --- memory, interruption, limits


def reserved(model, latent_shape):
    """Shape that the host reserves memory for."""
    seen = []

    def spy(executor, model, shape, conds, **options):
        seen.append(tuple(shape))
        return executor(model, shape, conds, **options)

    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "spy", spy)
    sample(model, torch.zeros(latent_shape), prompts(), steps=1)
    return seen


@pytest.mark.parametrize(
    ("latent", "expected"),
    [((2, 4, 40, 24), (6, 4, 16, 16)), ((1, 4, 24, 16), (2, 4, 16, 16)), ((1, 4, 8, 12), (1, 4, 8, 12))],
)
def test_memory_is_reserved_for_one_batch_of_tiles(pointwise, latent, expected):
    assert reserved(tiled(pointwise, batch=3), latent) == [expected]


def test_tiles_are_dealt_out_evenly(pointwise):
    sample(tiled(pointwise, batch=4), torch.zeros(1, 4, 32, 32), prompts(), cfg=1.0, steps=1)
    assert [shape[0] for shape in pointwise.model.diffusion_model.stacks] == [3, 3, 3]


def out_of_memory_above(model, cells):
    """The model, short of memory when more than so many latent cells come at once."""

    def short(apply_model, args):
        if args["input"].shape[0] * args["input"][0, 0].numel() > cells:
            raise comfy.model_management.OOM_EXCEPTION("CUDA out of memory")
        return apply_model(args["input"], args["timestep"], **args["c"])

    model = model.clone()
    model.set_model_unet_function_wrapper(short)
    return model


@pytest.mark.parametrize(
    ("cells", "stack"),
    [(2 * 32 * 32, (2, 4, 32, 32)), (32 * 32, (1, 4, 32, 32)), (16 * 16, (1, 4, 16, 16))],
)
def test_out_of_memory_halves_the_tile_batch_then_the_tile_and_goes_on(pointwise, caplog, cells, stack):
    latent, conds = torch.randn(1, 4, 48, 48), prompts()
    expected = sample(pointwise, latent, conds, cfg=1.0)
    pointwise.model.diffusion_model.stacks.clear()
    model = tiled(out_of_memory_above(pointwise, cells), tile=32, overlap=16)
    agree(sample(model, latent, conds, cfg=1.0), expected)
    assert set(pointwise.model.diffusion_model.stacks) == {stack}
    assert f"tiles of {stack[2]} latent cells, {stack[0]} at once" in caplog.text
    assert caplog.text.count("out of memory; going on") <= 3  # and not again at the second step


def test_out_of_memory_with_one_tile_goes_on_with_smaller_ones(pointwise):
    latent, conds = torch.randn(1, 4, 32, 24), prompts()
    model = tiled(out_of_memory_above(pointwise, 16 * 16), tile=96, overlap=32)
    agree(sample(model, latent, conds, cfg=1.0), sample(pointwise, latent, conds, cfg=1.0))


def test_the_next_run_starts_with_the_tiles_that_were_asked_for(pointwise):
    latent, conds = torch.randn(1, 4, 48, 48), prompts()
    starved = tiled(out_of_memory_above(pointwise, 32 * 32), tile=32, overlap=16)
    sample(starved, latent, conds, cfg=1.0)
    assert reserved(starved, latent.shape) == [(4, 4, 32, 32)]


def test_memory_too_short_for_the_smallest_tile_is_the_hosts_error(pointwise):
    model = tiled(out_of_memory_above(pointwise, cells=10))
    with pytest.raises(comfy.model_management.OOM_EXCEPTION, match="CUDA out of memory"):
        sample(model, torch.zeros(1, 4, 32, 32), prompts())


def test_errors_other_than_memory_pass(pointwise):
    def broken(apply_model, args):
        raise RuntimeError("something else")

    model = tiled(pointwise)
    model.set_model_unet_function_wrapper(broken)
    with pytest.raises(RuntimeError, match="something else"):
        sample(model, torch.zeros(1, 4, 32, 32), prompts())


def test_an_interrupt_stops_after_the_tiles_at_hand(pointwise):
    def interrupting(apply_model, args):
        comfy.model_management.interrupt_current_processing()
        return apply_model(args["input"], args["timestep"], **args["c"])

    hint = torch.rand(1, 3, 256, 256)
    control = control_net(hint)
    model = tiled(pointwise, batch=1)
    model.set_model_unet_function_wrapper(interrupting)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(model, torch.zeros(1, 4, 32, 32), prompts(control=control), cfg=1.0)
    assert len(pointwise.model.diffusion_model.stacks) == 1
    assert control.cond_hint_original is hint


def test_an_interrupt_in_the_middle_leaves_nothing_behind(
    tiny_model, tiny_adapter, tiny_controlnet, semantics
):
    """Two steps of four tiles, one at a time; the interrupt comes during the sixth of their forwards."""
    model, conds = semantic(
        tiny_model, prompts(width=96), tiny_adapter, tiny_controlnet, wide_semantics(semantics, SIZE), SIZE
    )
    model, latent = tiled(model, **SMALL, batch=1), torch.randn(1, 4, *SIZE)
    forwards, kept = [], []

    def cached():
        """Tensors in all caches that are alive."""
        alive = [x for x in gc.get_objects() if issubclass(type(x), TokenCache | SemanticControlNet)]
        return sum(len(x._embeddings if isinstance(x, SemanticControlNet) else x) for x in alive)

    def look(*_):
        forwards.append(1)
        if len(forwards) == 6:
            kept.append(cached())
            comfy.model_management.interrupt_current_processing()

    hook = tiny_model.get_model_object("diffusion_model").register_forward_pre_hook(look)
    with hook, pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(model, latent, conds, cfg=1.0)
    assert len(forwards) == 6
    assert kept[0] > 0
    assert cached() == 0
    assert RUN_KEY not in model.model_options["transformer_options"]


def test_the_model_that_came_in_stays_untiled(pointwise):
    tiled(pointwise)
    sample(pointwise, torch.zeros(1, 4, 32, 32), prompts(), cfg=1.0, steps=1)
    assert pointwise.model.diffusion_model.stacks == [(1, 4, 32, 32)]
    assert RUN_KEY not in pointwise.model_options["transformer_options"]


def test_the_last_of_two_tilings_counts(pointwise):
    latent, conds = torch.randn(1, 4, 48, 48), prompts()
    sample(tiled(tiled(pointwise), tile=32, overlap=16, batch=1), latent, conds, cfg=1.0, steps=1)
    assert pointwise.model.diffusion_model.stacks == [(1, 4, 32, 32)] * 4


@pytest.mark.parametrize(("ratio", "stack"), [(8, (2, 4, 32, 32)), (4, (1, 4, 48, 48))])
def test_the_node_counts_in_pixels_of_the_model_at_hand(pointwise, ratio, stack):
    pointwise.model.latent_format.spacial_downscale_ratio = ratio
    node = TileDiffusion.execute(pointwise, tile_size=256, overlap=128, tile_batch=2)
    sample(node.result[0], torch.zeros(1, 4, 48, 48), prompts(), cfg=1.0, steps=1)
    assert set(pointwise.model.diffusion_model.stacks) == {stack}


@pytest.mark.parametrize(("grid", "stack"), [("even", (1, 4, 20, 32)), ("seesr", (1, 4, 20, 20))])
def test_the_node_lays_out_the_grid_that_was_chosen(pointwise, grid, stack):
    node = TileDiffusion.execute(pointwise, tile_size=256, overlap=128, tile_batch=1, grid=grid)
    sample(node.result[0], torch.zeros(1, 4, 20, 70), prompts(), cfg=1.0, steps=1)
    assert set(pointwise.model.diffusion_model.stacks) == {stack}


def test_a_photo_too_narrow_for_the_tiles_of_seesr_is_refused(pointwise):
    model = tiled(pointwise, grid="seesr")
    with pytest.raises(ValueError, match=r"^Tile Diffusion: .*, 8 cells of 40x8, but would share 8"):
        sample(model, torch.zeros(1, 4, 8, 40), prompts())


def test_gligen_is_refused():
    plan = TilePlan(boxes=(Tile(0, 0, 16, 16),), full=(32, 32), batch=1)
    with pytest.raises(ValueError, match="Tile Diffusion: GLIGEN boxes are positions in the whole image"):
        cut_cond({"model_conds": {}, "gligen": ("position", None, [])}, plan, torch.device("cpu"))


def test_controls_that_cannot_be_cut_are_refused(pointwise):
    class Strange(comfy.controlnet.ControlBase):
        pass

    with pytest.raises(ValueError, match="can't cut the hint of a Strange into tiles; expected a ControlNet"):
        sample(tiled(pointwise), torch.zeros(1, 4, 32, 32), prompts(control=Strange()))


def test_latents_of_video_are_refused(pointwise):
    with pytest.raises(
        ValueError, match=r"the latent has shape \(1, 4, 2, 32, 32\); expected that of images"
    ):
        sample(tiled(pointwise), torch.zeros(1, 4, 2, 32, 32), prompts())


# --- with our semantics


SIZE = (12, 12)  # latent cells


def test_the_semantic_path_does_not_notice_one_tile(tiny_model, tiny_adapter, tiny_controlnet, semantics):
    conds = prompts(width=96)
    model, conds = semantic(
        tiny_model, conds, tiny_adapter, tiny_controlnet, wide_semantics(semantics, (8, 8)), (8, 8)
    )
    latent = torch.randn(1, 4, 8, 8)
    assert torch.equal(sample(tiled(model), latent, conds), sample(model, latent, conds))


def test_images_with_their_own_semantics_and_hints_stay_apart(
    tiny_model, tiny_adapter, tiny_controlnet, semantics
):
    both = wide_semantics(semantics, SIZE, batch=2)
    latent, noise, hint = torch.randn(2, 4, *SIZE), torch.randn(2, 4, *SIZE), torch.rand(2, 3, 96, 96)
    text = prompts(width=96)

    def restore(rows, tiles_at_once):
        own = replace(both, tokens=both.tokens[rows])
        model = apply_guidance(tiny_model, tiny_adapter, own, 1.0, 0.0, 1.0)
        conds = apply_controlnet(text, tiny_controlnet, hint[rows], own)
        return sample(
            tiled(model, batch=tiles_at_once), latent[rows], conds, cfg=1.0, noise=noise[rows], steps=1
        )

    together = restore(slice(0, 2), 4)
    for k in range(2):
        agree(together[k : k + 1], restore(slice(k, k + 1), 1))


def test_our_control_net_goes_on_from_one_of_the_host(tiny_model, tiny_controlnet, semantics):
    latent, own = torch.randn(1, 4, *SIZE), wide_semantics(semantics, SIZE)
    first = control_net(torch.rand(1, 3, 96, 96), pool=8)  # 1x1 cell, as the middle of `tiny_model`
    conds = apply_controlnet(prompts(width=96, control=first), tiny_controlnet, torch.rand(1, 3, 96, 96), own)
    one = sample(tiled(tiny_model, **SMALL, batch=1), latent, conds, cfg=1.0, steps=1)
    agree(sample(tiled(tiny_model, **SMALL, batch=4), latent, conds, cfg=1.0, steps=1), one)
    assert first.cond_hint_original.shape == (1, 3, 96, 96)
