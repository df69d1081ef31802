"""Weigh Regions on the real host."""

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_extras import nodes_custom_sampler
from comfy_extras.nodes_cfg import CFGNorm
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from torch.testing import assert_close

from ugc_sr.host.lr_start import lr_start
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.host.weigh_regions import weigh_regions
from ugc_sr.sample.frame import fit

pytestmark = pytest.mark.comfy


@pytest.fixture
def latent():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(8))


@pytest.fixture
def weigh(tiny_model, latent):
    """Weigh Regions: weigh(mask (B, H, W), strength) -> MODEL held to `latent`."""

    def run(mask, strength=1.0, model=tiny_model, latent=latent, frame=None):
        return weigh_regions(model, latent, mask, strength, frame)

    return run


@pytest.fixture
def run(sample):
    return lambda model, sampler="euler", steps=3, **options: sample(
        model, sampler=sampler, steps=steps, **options
    )


def left(*size):
    """A mask (1, H, W) that covers the left half."""
    mask = torch.zeros(1, *size)
    mask[..., : size[1] // 2] = 1
    return mask


def distance(out, latent):
    return (out - latent).abs().mean().item()


@pytest.mark.parametrize(
    "sampler",
    ["ddpm", "euler", "euler_ancestral", "euler_cfg_pp", "heun", "dpmpp_2m", "dpmpp_2m_sde", "lcm"],
)
def test_a_full_mask_at_full_strength_gives_the_photos_own_latent(weigh, run, latent, sampler):
    assert_close(run(weigh(torch.ones(1, 64, 64)), sampler), latent, rtol=0, atol=2e-4)


def test_an_empty_mask_or_no_strength_changes_no_bit(tiny_model, weigh, run):
    plain = run(tiny_model)
    for mask, strength in ((torch.zeros(1, 64, 64), 1.0), (left(64, 64), 0.0), (torch.zeros(1, 64, 80), 1.0)):
        assert torch.equal(run(weigh(mask, strength)), plain)


@pytest.mark.parametrize("size", [8, 50, 64, 1000])
def test_the_covered_half_is_the_photo_and_the_other_is_free(tiny_model, weigh, run, latent, size):
    out, plain = run(weigh(left(size, size))), run(tiny_model)
    assert_close(out[..., :3], latent[..., :3], rtol=0, atol=1e-4)  # the fourth column mixes at its edge
    assert distance(out[..., 5:], latent[..., 5:]) > 0.5 * distance(plain[..., 5:], latent[..., 5:])


def test_where_the_mask_is_black_one_step_changes_no_bit(tiny_model, weigh, run):
    out, plain = run(weigh(left(64, 64)), steps=1), run(tiny_model, steps=1)
    assert torch.equal(out[..., 5:], plain[..., 5:])
    assert not torch.equal(out[..., :3], plain[..., :3])


def test_more_strength_and_whiter_masks_hold_more(weigh, run, latent):
    by_strength = [distance(run(weigh(torch.ones(1, 8, 8), s)), latent) for s in (0.1, 0.4, 0.7, 1.0)]
    assert by_strength == sorted(by_strength, reverse=True)
    grey = run(weigh(torch.full((1, 8, 8), 0.4)))
    assert_close(grey, run(weigh(torch.ones(1, 8, 8), 0.4)))


def test_the_last_step_ends_at_the_weighted_mean(tiny_model, weigh, run, latent):
    out, plain = run(weigh(torch.ones(1, 8, 8), 0.25), steps=1), run(tiny_model, steps=1)
    assert_close(out, plain + 0.25 * (latent - plain), rtol=0, atol=1e-4)


def test_a_mask_of_the_photo_finds_its_place_on_the_canvas(weigh, run):
    canvas = torch.ones(1, 64, 64)
    canvas[..., 32:] = 0
    _, frame = fit(torch.rand(1, 3, 10, 40), 1)
    held = run(weigh(torch.ones(1, 10, 40), frame=frame))
    assert_close(held, run(weigh(torch.ones(1, 64, 64))))
    photo = torch.ones(1, 10, 40)
    photo[..., 32:] = 0
    assert_close(run(weigh(photo, frame=frame)), run(weigh(canvas)))


@pytest.mark.parametrize("tiled_first", [True, False])
def test_tiles_hold_as_the_whole_does(tiny_model, weigh, run, latent, tiled_first):
    def tile(model):
        return tile_diffusion(model, tile=4, overlap=2, batch=2)

    mask = left(64, 64)
    out = run(weigh(mask, model=tile(tiny_model)) if tiled_first else tile(weigh(mask)))
    assert_close(out[..., :3], latent[..., :3], rtol=0, atol=1e-5)
    assert torch.equal(run(tile(weigh(mask)), steps=1)[..., 5:], run(tile(tiny_model), steps=1)[..., 5:])


@pytest.mark.parametrize("weighed_first", [True, False])
def test_guidance_that_comes_behind_cfg_does_not_loosen_the_hold(
    tiny_model, weigh, run, latent, weighed_first
):
    def guide(model):
        return CFGNorm.execute(PerturbedAttentionGuidance.execute(model, 2.0).result[0], 0.8).result[0]

    mask = torch.ones(1, 8, 8)
    out = run(guide(weigh(mask)) if weighed_first else weigh(mask, model=guide(tiny_model)))
    assert_close(out, latent, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["Guider_Basic", "Guider_DualCFG"])
def test_guiders_of_other_kinds_are_held_too(weigh, conditioning, latent, kind):
    guider = getattr(nodes_custom_sampler, kind)(weigh(torch.ones(1, 8, 8)))
    positive, negative = conditioning
    if kind == "Guider_Basic":
        guider.set_conds(positive)
    else:
        guider.set_conds(positive, positive, negative)
        guider.set_cfg(3.0, 2.0)
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([14.0, 2.0, 0.0])
    with torch.inference_mode():
        out = guider.sample(
            torch.randn(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), sampler, sigmas, disable_pbar=True, seed=0
        )
    assert_close(out, latent, rtol=0, atol=1e-5)


def test_a_run_that_starts_at_the_photo_is_held_too(tiny_model, weigh, run, latent):
    out = run(weigh(left(64, 64), model=lr_start(tiny_model)), latent=latent)
    assert_close(out[..., :3], latent[..., :3], rtol=0, atol=1e-5)


def test_two_holds_follow_one_another(weigh, run, latent):
    half = torch.full((1, 8, 8), 0.5)
    twice = run(weigh(half, model=weigh(half)))
    assert_close(twice, run(weigh(torch.full((1, 8, 8), 0.75))), rtol=0, atol=1e-5)


def test_a_mask_of_the_sampler_acts_too(weigh, run, latent):
    start = torch.randn(1, 4, 8, 8)
    kept = torch.ones(1, 1, 8, 8)
    kept[..., 4:] = 0  # the host's inpainting keeps what its mask leaves black
    out = run(weigh(torch.ones(1, 8, 8)), latent=start, noise_mask=kept)
    assert_close(out[..., 4:], start[..., 4:], rtol=0, atol=1e-5)
    assert_close(out[..., :4], latent[..., :4], rtol=0, atol=1e-5)


def test_the_model_that_came_in_stays_free(tiny_model, weigh, run):
    before = run(tiny_model)
    held = weigh(torch.ones(1, 8, 8))
    run(held)
    assert torch.equal(run(tiny_model), before)
    assert held is not tiny_model


@pytest.mark.parametrize("photos", [1, 2])
@pytest.mark.parametrize("masks", [1, 2])
def test_each_photo_of_a_batch_is_held_by_its_own(weigh, sample, photos, masks):
    latents, drawn = torch.randn(photos, 4, 8, 8), torch.rand(masks, 8, 8)
    noise = torch.randn(2, 4, 8, 8)
    together = sample(weigh(drawn, latent=latents), noise=noise)
    for k in range(2):
        alone = sample(weigh(drawn[k % masks, None], latent=latents[k % photos, None]), noise=noise[k, None])
        assert_close(together[k, None], alone, rtol=1e-4, atol=1e-3)


def test_a_model_of_another_kind_is_held_too(nano, sample):
    """The bundled model samples a residual to the latent; what it is held to is that latent all the same."""
    latent = nano.vae.encode(torch.rand(1, 64, 64, 3))
    noise = comfy.sample.prepare_noise(latent, 0)
    given = {"noise": noise, "latent": latent, "conditioning": [nano.conditioning] * 2}
    outs = [
        sample(model, cfg=1.0, scheduler="simple", **given)
        for model in (nano.model, weigh_regions(nano.model, latent, left(64, 64), 1.0))
    ]
    assert distance(outs[0], latent) > 1e-3
    assert_close(outs[1][..., :7], latent[..., :7], rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (1, 4, 1, 8, 8), (4, 8, 8)])
def test_a_latent_of_another_family_is_refused(weigh, shape):
    message = r"^'latent' has shape \(.*\); expected \(batch, 4, height, width\) for this 'model'"
    with pytest.raises(ValueError, match=message):
        weigh(torch.ones(1, 8, 8), latent=torch.ones(shape))


def test_an_empty_latent_is_refused(weigh):
    with pytest.raises(ValueError, match=r"^'latent' is empty; expected the photo to hold to"):
        weigh(torch.ones(1, 8, 8), latent=torch.zeros(1, 4, 8, 8))


def test_a_mask_of_another_aspect_is_refused_in_pixels(weigh):
    with pytest.raises(ValueError, match=r"^'mask' has 90x64 px but lies on 64x64 px, another"):
        weigh(torch.ones(1, 64, 90))


def test_a_latent_of_another_size_is_refused_when_sampling_starts(weigh, run):
    held = weigh(torch.ones(1, 8, 8), latent=torch.ones(1, 4, 16, 16))
    with pytest.raises(ValueError, match=r"'latent' has 16x16 cells but the sampler restores 8x8 cells\. C"):
        run(held)


@pytest.mark.parametrize(("photos", "masks", "name"), [(3, 1, "latent"), (1, 3, "mask")])
def test_a_batch_that_fits_no_other_is_refused_by_name(weigh, sample, photos, masks, name):
    held = weigh(torch.ones(masks, 8, 8), latent=torch.ones(photos, 4, 8, 8))
    with pytest.raises(ValueError, match=f"Weigh Regions: '{name}' is for 3 photos, but there are 2"):
        sample(held, batch=2)
