"""The semantic ControlNet inside the real host, sampled by its own KSampler."""

from dataclasses import replace

import comfy.model_management
import pytest
import torch
from comfy.controlnet import ControlNet
from comfy.model_management import InterruptProcessingException
from torch.testing import assert_close

import nodes
from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.tile_run import PLAN_KEY
from ugc_sr.sample.tiles import Tile, TilePlan

pytestmark = pytest.mark.comfy


@pytest.fixture
def controlled(tiny_controlnet, conditioning, hint, semantics):
    return apply_controlnet(conditioning, tiny_controlnet, hint, semantics)


def control_of(conditioning):
    return conditioning[0][0][1]["control"]


@pytest.fixture
def embeddings(tiny_controlnet):
    """Batch sizes of the hints that are embedded."""
    seen = []
    block = tiny_controlnet.control_model.input_hint_block
    with block.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[0])):
        yield seen


def test_control_changes_the_result_and_leaves_the_conditioning_as_it_was(
    tiny_model, conditioning, controlled, sample
):
    plain = sample(tiny_model)
    assert (sample(tiny_model, conditioning=controlled) - plain).abs().max() > 1e-2
    assert all(not options for part in conditioning for _, options in part)
    assert_close(sample(tiny_model), plain, rtol=0, atol=0)


def test_strength_zero_is_the_plain_model_bit_for_bit(
    tiny_model, tiny_controlnet, conditioning, hint, semantics, sample
):
    off = apply_controlnet(conditioning, tiny_controlnet, hint, semantics, strength=0.0)
    assert_close(sample(tiny_model, conditioning=off), sample(tiny_model), rtol=0, atol=0)


def test_positive_and_negative_are_one_batch_and_the_hint_is_embedded_once(
    tiny_model, controlled, sample, embeddings
):
    calls = []
    model = control_of(controlled).control_model
    with model.middle_block_out.register_forward_pre_hook(lambda _, x: calls.append(x[0].shape[0])):
        sample(tiny_model, conditioning=controlled, steps=3)
    assert calls == [2, 2, 2]
    assert embeddings == [1]


def test_start_and_end_halves_are_the_whole(
    tiny_model, tiny_controlnet, conditioning, controlled, hint, semantics, sample
):
    first = apply_controlnet(conditioning, tiny_controlnet, hint, semantics, percent_range=(0.0, 0.5))
    both = apply_controlnet(first, tiny_controlnet, hint, semantics, percent_range=(0.5, 1.0))
    whole = sample(tiny_model, conditioning=controlled, steps=4)
    assert_close(sample(tiny_model, conditioning=both, steps=4), whole, rtol=0, atol=0)
    assert (sample(tiny_model, conditioning=first, steps=4) - whole).abs().max() > 1e-4


def test_two_controls_of_half_strength_are_one(
    tiny_model, tiny_controlnet, conditioning, controlled, hint, semantics, sample, assert_agree
):
    half = apply_controlnet(conditioning, tiny_controlnet, hint, semantics, strength=0.5)
    halves = apply_controlnet(half, tiny_controlnet, hint, semantics, strength=0.5)
    assert_agree(sample(tiny_model, conditioning=halves), sample(tiny_model, conditioning=controlled))


def test_the_hosts_own_apply_node_keeps_class_and_semantics(
    tiny_model, tiny_controlnet, conditioning, controlled, hint, semantics, sample
):
    positive, negative = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *conditioning, tiny_controlnet.with_semantics(semantics), hint.movedim(1, -1), 1.0, 0.0, 1.0
    )
    ours = sample(tiny_model, conditioning=controlled)
    assert_close(sample(tiny_model, conditioning=(positive, negative)), ours, rtol=0, atol=0)


def test_a_batch_with_hints_and_tokens_of_its_own_is_two_single_runs(
    tiny_model, tiny_controlnet, conditioning, hint, semantics, sample, assert_agree
):
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    tokens, hints = torch.cat([semantics.tokens, semantics.tokens.flip(1)]), torch.cat([hint, 1 - hint])
    together = replace(semantics, tokens=tokens)
    both = apply_controlnet(conditioning, tiny_controlnet, hints, together)
    both = sample(tiny_model, conditioning=both, noise=noise)
    for k in range(2):
        one = replace(semantics, tokens=tokens[k : k + 1])
        single = apply_controlnet(conditioning, tiny_controlnet, hints[k : k + 1], one)
        single = sample(tiny_model, conditioning=single, noise=noise[k : k + 1])
        assert_agree(both[k : k + 1], single)


def test_the_host_loads_unloads_and_reloads_the_network(tiny_model, tiny_controlnet, controlled, sample):
    first = sample(tiny_model, conditioning=controlled)
    loaded = [entry.model.model for entry in comfy.model_management.current_loaded_models]
    assert tiny_controlnet.control_model in loaded
    comfy.model_management.unload_all_models()
    assert_close(sample(tiny_model, conditioning=controlled), first, rtol=0, atol=0)


def test_no_cache_and_no_callback_is_left_after_an_interrupt(tiny_model, controlled, sample):
    control = control_of(controlled)
    filled = []

    def interrupt(*_):
        filled.append((len(control._embeddings), len(control._tokens)))
        raise InterruptProcessingException

    with pytest.raises(InterruptProcessingException):
        sample(tiny_model, conditioning=controlled, callback=interrupt)
    assert filled == [(1, 7)]
    assert not control._embeddings
    assert control._tokens is None
    assert control.cond_hint is None
    assert not any(tiny_model.callbacks.values())
    expected = sample(tiny_model, conditioning=controlled)
    assert not control._embeddings
    assert not any(tiny_model.callbacks.values())
    assert_close(sample(tiny_model, conditioning=controlled), expected, rtol=0, atol=0)


@pytest.fixture
def residuals(tiny_model, controlled, conditioning):
    """Residuals of the control for stacked latents, as the host asks for them: residuals(x, plan)."""
    control = control_of(controlled)
    sampling = tiny_model.get_model_object("model_sampling")
    tiny_model.pre_run()
    control.pre_run(tiny_model.model, sampling.percent_to_sigma)

    def run(x, plan=None):
        sigma = torch.full((x.shape[0],), 2.0)
        cond = {"c_crossattn": conditioning[0][0][0].expand(x.shape[0], -1, -1)}
        options = {} if plan is None else {PLAN_KEY: plan}
        with torch.inference_mode():
            return control.get_control(x, sigma, cond, 1, options)

    yield run
    tiny_model.cleanup()


def test_stacked_tiles_see_their_own_part_of_the_hint_each_embedded_once(residuals, embeddings, assert_agree):
    left, right = Tile(0, 0, 8, 4), Tile(0, 4, 8, 4)
    x = torch.randn(2, 4, 8, 8)
    cuts = torch.cat([left.of(x), right.of(x)])  # two tiles of two images, tile-major
    together = residuals(cuts, TilePlan((left, right), (8, 8), 2))
    for number, tile in enumerate((left, right)):
        alone = residuals(tile.of(x), TilePlan((tile,), (8, 8), 2))
        rows = slice(2 * number, 2 * number + 2)
        for ours, expected in zip(together["output"], alone["output"], strict=True):
            assert_agree(ours[rows], expected)
    assert embeddings == [2]


def test_a_new_tile_size_drops_the_embeddings_of_the_old(residuals, controlled):
    x = torch.randn(1, 4, 8, 8)
    for tile in (Tile(0, 0, 8, 8), Tile(0, 4, 8, 4), Tile(4, 4, 4, 4)):
        residuals(tile.of(x), TilePlan((tile,), (8, 8), 1))
        assert [key[0] for key in control_of(controlled)._embeddings] == [tile]


def test_strength_leaves_the_cached_hint_as_it_was(residuals, controlled):
    x = torch.randn(1, 4, 8, 8)
    control_of(controlled).strength = 0.5
    first = [r.clone() for r in residuals(x)["output"]]
    assert_close(residuals(x)["output"], first, rtol=0, atol=0)


def test_memory_for_the_caches_is_asked_for(tiny_controlnet, controlled):
    control = control_of(controlled)
    keys_and_values = 2 * 16 * sum(a.in_channels for a in control.control_model.image_attentions.values())
    tokens, embedding = 16 * 256, 64 * 8 * 8
    # In float32, as the network computes, whatever the model beside it is stored in.
    for stored in (torch.float16, torch.float8_e4m3fn):
        asked = control.inference_memory_requirements(stored)
        assert asked == 4 * (tokens + keys_and_values + embedding)
    assert isinstance(tiny_controlnet.copy(), ControlNet)


def test_a_hint_of_another_size_than_the_latent_is_refused(
    tiny_model, tiny_controlnet, conditioning, semantics, sample
):
    wide = replace(semantics, image_size=(16, 32))
    wrong = apply_controlnet(conditioning, tiny_controlnet, torch.rand(1, 3, 64, 128), wide)
    with pytest.raises(ValueError, match=r"'hint' is 128x64 but the sampler's latent is for 64x64"):
        sample(tiny_model, conditioning=wrong)


def test_hints_and_tokens_of_another_number_of_photos_are_refused(
    tiny_model, tiny_controlnet, conditioning, hint, semantics, sample
):
    hints = apply_controlnet(conditioning, tiny_controlnet, hint.expand(3, -1, -1, -1), semantics)
    with pytest.raises(ValueError, match=r"'hint' is for 3 photos, but there are 2\."):
        sample(tiny_model, conditioning=hints, batch=2)
    three = replace(semantics, tokens=semantics.tokens.expand(3, -1, -1))
    tokens = apply_controlnet(conditioning, tiny_controlnet, hint, three)
    with pytest.raises(ValueError, match=r"'semantics' is for 3 photos, but there are 2\."):
        sample(tiny_model, conditioning=tokens, batch=2)


def test_semantics_of_a_photo_of_another_shape_are_refused(tiny_controlnet, conditioning, semantics):
    portrait = replace(semantics, image_size=(480, 270))
    with pytest.raises(ValueError, match=r"from a 270x480 photo, .* the 'hint' of 512x256"):
        apply_controlnet(conditioning, tiny_controlnet, torch.rand(1, 3, 256, 512), portrait)


def test_a_range_that_ends_before_it_starts_is_refused(tiny_controlnet, conditioning, hint, semantics):
    with pytest.raises(ValueError, match=r"^'start_percent' 1 is after 'end_percent' 0\.5"):
        apply_controlnet(conditioning, tiny_controlnet, hint, semantics, percent_range=(1.0, 0.5))


def test_an_ordinary_controlnet_is_refused(conditioning, hint, semantics):
    with pytest.raises(ValueError, match=r"'control_net' is an ordinary ControlNet, .* no semantics"):
        apply_controlnet(conditioning, ControlNet(), hint, semantics)


def test_the_semantic_controlnet_needs_semantics(tiny_model, tiny_controlnet, conditioning, hint, sample):
    control = tiny_controlnet.copy().set_cond_hint(hint)
    without = [[[text, {"control": control}] for text, _ in part] for part in conditioning]
    with pytest.raises(ValueError, match=r"'tiny' is a semantic ControlNet and needs the photo's semantics"):
        sample(tiny_model, conditioning=without)


def test_tokens_of_another_encoder_are_refused(tiny_controlnet, semantics):
    other = replace(semantics, tokens=semantics.tokens[..., :96], encoder="nano")
    with pytest.raises(ValueError, match=r"the encoder nano and are 96 wide; 'tiny' takes tokens 256 wide"):
        tiny_controlnet.with_semantics(other)


def test_a_model_of_another_architecture_is_refused(tiny_model, controlled, sample):
    unet = tiny_model.model.diffusion_model
    control = control_of(controlled)
    tiny_model.pre_run()
    other = torch.nn.Module()
    other.diffusion_model, other.model_sampling = torch.nn.Identity(), tiny_model.model.model_sampling
    with pytest.raises(ValueError, match=r"'model' doesn't fit 'tiny': its attention at input_1 is missing"):
        control.pre_run(other, other.model_sampling.percent_to_sigma)
    tiny_model.cleanup()
    assert tiny_model.model.diffusion_model is unet
