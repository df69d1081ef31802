"""Freezing: attentions to tokens that repeat their answer for the rest of the sampling."""

from dataclasses import replace

import comfy.model_base
import comfy.model_management
import comfy.sample
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from torch.testing import assert_close

from ugc_sr.host.attention import TokenRun
from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.guidance import apply_guidance, guidances_of
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.nodes.guidance import ApplySemanticControlNet, ApplySemanticGuidance

pytestmark = pytest.mark.comfy

LATENT = (12, 12)  # cells: 2x2 tiles of 8 cells that share 4
TILES = {"tile": 8, "overlap": 4}


@pytest.fixture
def guide(tiny_model, tiny_adapter, semantics):
    """The guided model, frozen after a share of the sampling."""

    def make(freeze_after=1.0, size=LATENT):
        photo = replace(semantics, image_size=size)
        return apply_guidance(tiny_model, tiny_adapter, photo, freeze_after=freeze_after)

    return make


@pytest.fixture
def computed(tiny_adapter):
    """Batch sizes for which one attention of the UNet computes an answer."""
    seen = []
    attention = tiny_adapter.patcher.model["middle_0"].transformer_blocks[0].attn2
    hook = attention.to_q.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[0]))
    yield seen
    hook.remove()


@pytest.fixture
def run(conditioning):
    """Samples 12x12 cells: run(model, sampler="euler", steps=4, cfg=3) -> latent."""

    def sample(model, sampler="euler", steps=4, cfg=3.0, conds=conditioning, callback=None, size=LATENT):
        noise = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(3))
        with torch.inference_mode():
            return comfy.sample.sample(
                model,
                noise,
                steps,
                cfg,
                sampler,
                "simple",
                *conds,
                noise * 0,
                callback=callback,
                disable_pbar=True,
                seed=0,
            )

    return sample


def levels(model, noted):
    """A clone that notes the sigma of each evaluation."""

    def note(apply_model, args):
        noted.append(float(args["timestep"][0]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    model = model.clone()
    model.set_model_unet_function_wrapper(note)
    return model


@pytest.mark.parametrize(
    ("sampler", "share"), [("euler", 0.5), ("heun", 0.4), ("dpm_2", 0.4), ("euler", 0.0)]
)
def test_attentions_compute_once_after_the_share_and_then_no_more(guide, run, computed, sampler, share):
    noted = []
    model = guide(share)
    frozen = run(levels(model, noted), sampler, cfg=1.0)
    threshold = model.get_model_object("model_sampling").percent_to_sigma(share)
    before = sum(level > threshold for level in noted)
    assert 0 <= before < len(noted) - 1
    assert len(computed) == before + 1
    assert (frozen - run(guide(), sampler, cfg=1.0)).abs().max() > 1e-5


def test_one_never_freezes_bit_for_bit(guide, run, computed, tiny_model, tiny_adapter, semantics):
    plain = apply_guidance(tiny_model, tiny_adapter, replace(semantics, image_size=(24, 24)))
    expected = run(plain, steps=2)
    assert_close(run(guide(1.0), steps=2), expected, rtol=0, atol=0)
    assert len(computed) == 4


def test_a_frozen_attention_repeats_its_answer_for_another_latent(tiny_adapter, semantics):
    attention = tiny_adapter.patcher.model["middle_0"]
    kept, run = TokenRun(semantics), TokenRun(semantics)
    uuids = {"uuids": ["a", "b"]}
    x, other = torch.randn(2, 2, 128, 2, 2)
    kept.freeze(True)
    (block,) = attention.transformer_blocks
    answers = []
    hook = block.attn2.register_forward_hook(lambda *call: answers.append(call[2]))
    try:
        with torch.inference_mode():
            for latent, options in ((x, uuids), (other, uuids), (other, {"uuids": ["b", "a"]})):
                attention.attend(latent, kept, options)
            attention.attend(other, run, uuids)
    finally:
        hook.remove()
    assert answers[1] is answers[0]
    assert_close(answers[2], answers[3], rtol=0, atol=0)
    kept.freeze(False)
    assert len(kept) == 1, "keys and values stay, answers don't"


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_the_number_of_tiles_at_once_changes_nothing(guide, run, assert_agree, cfg):
    four, one = (run(tile_diffusion(guide(0.4), **TILES, batch=batch), steps=3, cfg=cfg) for batch in (4, 1))
    assert_agree(one, four)


def test_each_stack_of_tiles_has_answers_of_its_own(guide, run, computed):
    run(tile_diffusion(guide(0.0), **TILES, batch=2), steps=3)
    assert computed == [4, 4]


def test_cfg_halves_that_come_one_by_one_restore_as_together(guide, run, computed, monkeypatch, assert_agree):
    together = run(guide(0.4), steps=3)
    calls = len(computed)
    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", lambda *_, **__: 1e30)
    assert_agree(run(guide(0.4), steps=3), together)
    assert len(computed) - calls == 2 * calls


def test_halves_that_come_apart_in_the_middle_are_computed_again(guide, run, computed, monkeypatch):
    def short_of_memory(step, *_):
        if step == 1:
            monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", lambda *_, **__: 1e30)

    assert run(guide(0.0), steps=4, callback=short_of_memory).isfinite().all()
    assert computed == [2, 1, 1]


def test_lack_of_memory_ends_the_freezing_and_leaves_the_tiles_as_they_are(guide, run, computed, token_runs):
    evaluated, sizes = [], []
    model = tile_diffusion(guide(0.0), **TILES, batch=4)

    def short(apply_model, args):
        evaluated.append(args["input"].shape[0])
        if len(evaluated) == 2:
            raise comfy.model_management.OOM_EXCEPTION("CUDA out of memory")
        return apply_model(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(short)
    run(model, steps=3, callback=lambda *_: sizes.append(len(token_runs[-1])))
    assert evaluated == [8, 8, 8, 8]
    assert computed == [8, 8, 8]
    assert sizes == [16 + 16, 16, 16], "keys and values, and at first an answer for each attention"


def test_perturbed_attention_has_answers_of_its_own(guide, run, computed):
    model = PerturbedAttentionGuidance.execute(guide(0.0), 2.0).result[0]
    run(model, cfg=1.0, steps=3)
    assert computed == [1, 1]


def test_nothing_is_kept_after_a_run_or_an_interrupt(guide, run, token_runs):
    model = guide(0.0)
    sizes = []

    def interrupt(step, *_):
        sizes.append(len(token_runs[-1]))
        if step == 1:
            raise InterruptProcessingException

    with pytest.raises(InterruptProcessingException):
        run(model, callback=interrupt)
    assert sizes == [32, 32]
    assert [len(kept) for kept in token_runs] == [0]
    expected = run(model, steps=2)
    assert [len(kept) for kept in token_runs] == [0, 0]
    assert_close(run(model, steps=2), expected, rtol=0, atol=0)


@pytest.fixture
def control(tiny_controlnet, semantics, conditioning):
    """Conditioning with the semantic ControlNet, frozen after a share of the sampling."""

    def make(freeze_after):
        photo = replace(semantics, image_size=(24, 24))
        hint = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(6))
        return apply_controlnet(conditioning, tiny_controlnet, hint, photo, freeze_after=freeze_after)

    return make


def test_the_controlnet_freezes_on_its_own(tiny_model, tiny_controlnet, run, control, assert_agree):
    seen = []
    attention = tiny_controlnet.control_model.image_attentions["middle_0"].transformer_blocks[0].attn2
    hook = attention.to_q.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[0]))
    try:
        never, frozen = (run(tiny_model, steps=3, conds=control(share)) for share in (1.0, 0.0))
        assert seen == [2, 2, 2, 2]
        assert (frozen - never).abs().max() > 1e-5
        four, one = (
            run(tile_diffusion(tiny_model, **TILES, batch=batch), steps=2, conds=control(0.0))
            for batch in (4, 1)
        )
        assert_agree(one, four)
        assert seen[4:] == [8, 2, 2, 2, 2]
    finally:
        hook.remove()


def test_the_nodes_pass_the_share_on(
    tiny_model, tiny_adapter, tiny_controlnet, semantics, conditioning, hint
):
    model = ApplySemanticGuidance.execute(tiny_model, tiny_adapter, semantics, 1.0, 0.0, 1.0, 0.25).result[0]
    assert guidances_of(model)[0].freeze == 0.25
    conds = ApplySemanticControlNet.execute(
        *conditioning, tiny_controlnet, hint.movedim(1, -1), semantics, 1.0, 0.0, 1.0, 0.25
    ).result
    control = conds[0][0][1]["control"]
    assert control.freeze_after == control.copy().freeze_after == 0.25
    assert tiny_controlnet.freeze_after == 1.0
