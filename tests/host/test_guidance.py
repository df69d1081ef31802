"""Semantic guidance inside the real host, sampled by its own KSampler."""

from dataclasses import replace

import comfy.model_base
import comfy.model_management
import comfy.utils
import latent_preview
import pytest
import torch
from comfy.cli_args import args
from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer
from torch.testing import assert_close

from ugc_sr.host.adapter import load_adapter
from ugc_sr.host.attention import TokenRun
from ugc_sr.host.guidance import apply_guidance, guidances_of

pytestmark = pytest.mark.comfy


@pytest.fixture
def guided(tiny_model, tiny_adapter, semantics):
    return apply_guidance(tiny_model, tiny_adapter, semantics)


def test_image_attentions_alone_are_the_adapter_of_the_whole_file(tiny_adapter, unet_weights):
    alone = {key: weight for key, weight in unet_weights.items() if ".image_attentions." in key}
    loaded, whole = load_adapter(alone).patcher.model.state_dict(), tiny_adapter.patcher.model.state_dict()
    assert loaded.keys() == whole.keys()
    assert all(torch.equal(loaded[key], whole[key]) for key in whole)


def test_strength_zero_is_the_plain_model_bit_for_bit(tiny_model, tiny_adapter, semantics, sample):
    guided = apply_guidance(tiny_model, tiny_adapter, semantics, strength=0.0)
    assert_close(sample(guided), sample(tiny_model), rtol=0, atol=0)


def test_two_halves_of_the_sampling_are_the_whole(tiny_model, tiny_adapter, semantics, guided, sample):
    first = apply_guidance(tiny_model, tiny_adapter, semantics, end_percent=0.5)
    both = apply_guidance(first, tiny_adapter, semantics, start_percent=0.5)
    whole, half = sample(guided, steps=4), sample(first, steps=4)
    assert_close(sample(both, steps=4), whole, rtol=0, atol=0)
    assert (half - whole).abs().max() > 1e-4
    assert (half - sample(tiny_model, steps=4)).abs().max() > 1e-4


def test_applying_twice_stacks_and_leaves_the_first_as_it_was(guided, tiny_adapter, semantics, sample):
    other = replace(semantics, tokens=semantics.tokens.flip(1) * 2)
    once = sample(guided)
    twice = apply_guidance(guided, tiny_adapter, other, strength=0.5)
    assert (sample(twice) - once).abs().max() > 1e-4
    assert len(guidances_of(twice)) == 2
    assert len(twice.get_additional_models()) == 1, "one adapter is loaded once"
    assert len(guidances_of(guided)) == 1
    assert_close(sample(guided), once, rtol=0, atol=0)


def test_half_strength_lies_halfway_after_each_attention(guided, tiny_model, tiny_adapter, semantics):
    half = apply_guidance(tiny_model, tiny_adapter, semantics, strength=0.5)
    layer = tiny_model.model.diffusion_model.input_blocks[4][1]
    x, text = torch.randn(2, 64, 4, 4), torch.randn(2, 7, 96)
    patches = half.model_options["transformer_options"]["patches"]
    ((_, handler),) = patches["forward_timestep_embed_patch"]
    options = {"block": ("input", 4), "transformer_index": 0, "patches": patches}
    with torch.inference_mode():
        plain = layer(x, text)
        full = tiny_adapter.patcher.model["input_4"].attend(plain, TokenRun(semantics), {})
        assert_close(handler(layer, x, None, text, options), (plain + full) / 2)


def test_a_batch_with_tokens_of_its_own_is_two_single_runs(
    tiny_model, tiny_adapter, semantics, sample, assert_agree
):
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    tokens = torch.cat([semantics.tokens, semantics.tokens.flip(1) * 2])
    both = sample(apply_guidance(tiny_model, tiny_adapter, replace(semantics, tokens=tokens)), noise=noise)
    for k in range(2):
        one = replace(semantics, tokens=tokens[k : k + 1])
        single = sample(apply_guidance(tiny_model, tiny_adapter, one), noise=noise[k : k + 1])
        assert_agree(both[k : k + 1], single)


def test_the_host_loads_unloads_and_reloads_the_adapter(guided, tiny_adapter, sample):
    first = sample(guided)
    loaded = [entry.model.model for entry in comfy.model_management.current_loaded_models]
    assert tiny_adapter.patcher.model in loaded
    comfy.model_management.unload_all_models()
    assert tiny_adapter.patcher.loaded_size() == 0
    assert_close(sample(guided), first, rtol=0, atol=0)


def test_cached_keys_and_values_are_bit_for_bit_those_of_the_host(tiny_adapter, semantics):
    attention = tiny_adapter.patcher.model["input_4"].transformer_blocks[0].attn2
    x = torch.randn(4, 16, 64)
    cache = TokenRun(semantics)
    with torch.inference_mode():
        expected = CrossAttention.forward(attention, x, semantics.tokens.expand(4, -1, -1))
        for _ in range(2):
            ours = attention(x, transformer_options={"ugcsr_run": cache})
            assert_close(ours, expected, rtol=0, atol=0)
    assert len(cache) == 1


def test_latent_previews_show_every_step(guided, sample):
    shown = []
    method = args.preview_method
    latent_preview.set_preview_method("latent2rgb")
    comfy.utils.set_progress_bar_global_hook(lambda *update, **_: shown.append(update))
    try:
        sample(guided, steps=2, callback=latent_preview.prepare_callback(guided, steps=2))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        args.preview_method = method
    assert [update[0] for update in shown] == [1, 2]
    assert all(update[2][1].size == (8, 8) for update in shown)


def test_patches_of_the_base_count_its_attentions_and_stay_out_of_ours(guided, sample):
    seen = []

    def patch(q, k, v, options):
        seen.append((options["block"], options["transformer_index"]))
        return q, k, v

    model = guided.clone()
    model.set_model_attn2_patch(patch)
    sample(model, steps=1, cfg=1.0)
    assert [index for _, index in seen] == list(range(16))


@pytest.mark.parametrize("guidance_first", [True, False])
def test_a_handler_of_another_extension_still_acts(
    tiny_model, tiny_adapter, semantics, guided, sample, guidance_first
):
    def double(layer, x, emb, context, options, *_):
        options["transformer_index"] += 1
        return 2 * layer(x, context, options)

    model = (guided if guidance_first else tiny_model).clone()
    model.set_model_patch((SpatialTransformer, double), "forward_timestep_embed_patch")
    foreign = None if guidance_first else sample(model)
    model = model if guidance_first else apply_guidance(model, tiny_adapter, semantics)
    result = sample(model)
    assert (result - sample(guided)).abs().max() > 1e-3
    if foreign is not None:
        assert (result - foreign).abs().max() > 1e-3


def test_a_model_that_predicts_v_is_warned_of(tiny_model, tiny_adapter, semantics, guided, caplog):
    assert "predicts v" not in caplog.text
    config = tiny_model.model.model_config
    v = comfy.model_base.model_sampling(config, comfy.model_base.ModelType.V_PREDICTION)
    model = tiny_model.clone()
    model.add_object_patch("model_sampling", v)
    apply_guidance(model, tiny_adapter, semantics)
    assert "Apply Semantic Guidance: 'model' predicts v" in caplog.text


def test_tokens_of_another_encoder_are_refused(tiny_model, tiny_adapter, semantics):
    other = replace(semantics, tokens=semantics.tokens[..., :96], encoder="nano")
    with pytest.raises(ValueError, match=r"the encoder nano and are 96 wide; 'tiny' takes tokens 256 wide"):
        apply_guidance(tiny_model, tiny_adapter, other)


def test_tokens_of_another_number_of_photos_are_refused(tiny_model, tiny_adapter, semantics, sample):
    three = replace(semantics, tokens=semantics.tokens.expand(3, -1, -1))
    model = apply_guidance(tiny_model, tiny_adapter, three)
    with pytest.raises(ValueError, match=r"'semantics' is for 3 photos, but there are 2\."):
        sample(model, batch=2)


def test_a_model_of_another_width_or_head_size_is_refused(tiny_model, tiny_adapter, semantics):
    class StableDiffusion1(torch.nn.Module):
        """Nothing but the heads of 40 that tell it from Stable Diffusion 2."""

        def __init__(self, blocks):
            super().__init__()
            self.input_blocks = blocks

    blocks = torch.nn.ModuleList([torch.nn.ModuleList([SpatialTransformer(320, 8, 40, context_dim=768)])] * 2)
    model = tiny_model.clone()
    model.add_object_patch("diffusion_model", StableDiffusion1(blocks))
    with pytest.raises(
        ValueError, match=r"input_1 is 320 wide with heads of 40; expected 64 wide with heads of 64"
    ):
        apply_guidance(model, tiny_adapter, semantics)
    model.add_object_patch("diffusion_model", torch.nn.Identity())
    with pytest.raises(ValueError, match=r"'model' doesn't fit 'tiny': its attention at input_1 is missing"):
        apply_guidance(model, tiny_adapter, semantics)


def test_semantics_of_another_photo_than_the_sampled_one_are_refused(
    tiny_model, tiny_adapter, semantics, sample
):
    model = apply_guidance(tiny_model, tiny_adapter, replace(semantics, image_size=(480, 100)))
    with pytest.raises(ValueError, match=r"from a 100x480 photo, .* latent, which is for 128x128\. Conn"):
        sample(model, noise=torch.zeros(1, 4, 16, 16))


def test_a_range_that_ends_before_it_starts_is_refused(tiny_model, tiny_adapter, semantics):
    with pytest.raises(ValueError, match=r"^'start_percent' 0\.8 is after 'end_perce"):
        apply_guidance(tiny_model, tiny_adapter, semantics, start_percent=0.8, end_percent=0.3)
