"""Plans by the real host's estimates, on small networks of its own classes and the bundled model."""

import re

import comfy.latent_formats
import comfy.model_management
import psutil
import pytest
import torch

from ugc_sr.host.encoder import encode_views
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.restoration_plan import plan_restoration
from ugc_sr.host.tiling import KEY
from ugc_sr.nodes.sampling_nodes import TileDiffusion
from ugc_sr.sample.frame import fit

pytestmark = pytest.mark.comfy


@pytest.fixture
def plan():
    def make(model, height=2048, width=2048, photos=1, **options):
        hint = torch.zeros(1).expand(photos, 3, height, width)  # takes no memory
        return plan_restoration(model, hint, **options)

    return make


@pytest.fixture
def nano_plan(plan, nano):
    def make(*size, memory_gib=8.0, **options):
        parts = {"vae": nano.vae, "control_net": nano.control_net, "encoder": nano.encoder}
        return plan(nano.model, *size, memory_gib=memory_gib, **(parts | options))

    return make


def the(plan, name):
    (stage,) = (stage for stage in plan.stages if stage.name == name)
    return stage


def test_the_same_photo_and_memory_give_the_same_plan(nano_plan):
    assert nano_plan() == nano_plan()


def test_every_stage_fits_where_any_tile_does(nano_plan):
    for memory_gib in (1, 2, 4, 8, 16, 64):
        for size in ((64, 64), (1088, 1920), (128, 16000), (4096, 4096)):
            made = nano_plan(*size, memory_gib=memory_gib)
            for stage in made.stages:
                assert stage.weights + stage.work <= memory_gib * 2**30, (size, made)


def test_more_memory_means_no_more_tiles_and_in_the_end_all_at_once(nano_plan):
    plans = [nano_plan(memory_gib=size) for size in (0.5, 1, 2, 4, 8, 16, 32, 256)]
    counts = [made.layout.count for made in plans]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == plans[-1].tile_batch
    assert plans[0].tile_batch == 1


def test_the_bundled_model_gets_the_quick_starts_tiles_and_others_srlabs(nano_plan, plan, tiny_model):
    assert nano_plan(1024, 1024, memory_gib=64).layout.tile == 1024
    assert nano_plan(1088, 1920, memory_gib=64).layout.overlap == 128
    assert plan(tiny_model, 1088, 1920, memory_gib=64).layout.tile == 768


def test_a_tile_that_was_asked_for_is_kept(nano_plan):
    assert nano_plan(tile_size=640, memory_gib=0.25).layout.tile == 640


def test_tile_diffusion_samples_with_the_plans_numbers(nano, nano_plan):
    for size in ((64, 64), (320, 6400), (2048, 2048)):
        made = nano_plan(*size, memory_gib=2)
        (tiled,) = TileDiffusion.execute(
            nano.model, made.layout.tile, made.layout.overlap, made.tile_batch
        ).result
        tiling = tiled.get_wrappers("calc_cond_batch", KEY)[0].__self__
        boxes = tiling.grid.split(size[0] // 4, size[1] // 4, tiling.tile, tiling.overlap)
        assert len(boxes) == made.layout.count


def test_guidance_and_control_net_count_with_the_model(
    plan, tiny_model, tiny_adapter, tiny_controlnet, semantics
):
    def diffusion(model, control_net=None):
        return the(plan(model, 512, 512, memory_gib=8, control_net=control_net), "Diffusion")

    bare = diffusion(tiny_model)
    guided_model = apply_guidance(tiny_model, tiny_adapter, semantics)
    guided = diffusion(guided_model)
    controlled = diffusion(guided_model, tiny_controlnet)
    width = sum(attention.in_channels for attention in tiny_adapter.patcher.model.attentions.values())
    assert guided.weights - bare.weights == tiny_adapter.patcher.model_size()
    # 16 tokens of 256, their keys and values, in float32.
    assert guided.work - bare.work == pytest.approx(16 * (256 + 2 * width) * 4)
    assert controlled.weights - guided.weights == sum(p.model_size() for p in tiny_controlnet.get_models())
    assert controlled.work > guided.work
    assert tiny_controlnet.semantics is None
    assert tiny_controlnet.cond_hint_original is None


def test_an_encoder_tells_how_many_tokens_a_control_net_will_get(plan, nano):
    def work(encoder):
        made = plan(nano.model, 512, 512, control_net=nano.control_net, encoder=encoder, memory_gib=64)
        return the(made, "Diffusion").work

    assert work(nano.encoder) > work(None)


def test_tiles_that_are_read_one_by_one_are_counted(plan, nano):
    photo = torch.rand(1, 3, 272, 480)
    hint, frame = fit(photo, 4.0)
    for view, readings in (("global", 1), ("tile", 5)):
        seen = encode_views(nano.encoder, photo, view, frame)
        model = apply_guidance(nano.model, nano.adapter, seen)
        made = plan(model, *hint.shape[-2:], encoder=nano.encoder, memory_gib=64)
        assert made.layout.count == 4
        assert the(made, "Semantics").description == f"{readings} x 128x128 px"


def test_photos_of_a_batch_are_sampled_together_and_need_as_much_more(nano_plan):
    one, four = (nano_plan(1024, 1024, photos, memory_gib=64) for photos in (1, 4))
    assert the(four, "Diffusion").work > 3 * the(one, "Diffusion").work
    assert "8 forwards, 4 with cfg 1" in the(four, "Diffusion").description
    assert the(four, "Decode").work == the(one, "Decode").work


def test_a_photo_too_large_for_the_vae_is_encoded_in_the_largest_tiles_that_fit(nano_plan, nano):
    made = nano_plan(4096, 4096, memory_gib=1)
    encode, decode = the(made, "Encode"), the(made, "Decode")
    assert f"in tiles of {made.vae_tile} px by VAE Encode (Tiled)" in encode.description
    assert decode.description == "whole"
    larger = made.vae_tile + 64
    assert encode.weights + encode.work <= 2**30
    assert encode.weights + nano.vae.memory_used_encode((1, 3, larger, larger), torch.float32) > 2**30


def test_without_vae_and_encoder_the_plan_is_of_the_sampling_alone(plan, tiny_model):
    made = plan(tiny_model, memory_gib=8)
    assert [stage.name for stage in made.stages] == ["Diffusion"]
    assert made.vae_tile == 512


def test_free_memory_is_measured_where_none_is_given(nano_plan):
    measured = nano_plan(memory_gib=0.0).stages[0].memory
    assert 0 < measured.size <= psutil.virtual_memory().total + 2**30
    assert not measured.offloads


def test_on_a_gpu_weights_of_other_stages_are_gone_and_some_of_the_own_may_wait(plan, nano):
    model = nano.model.clone()
    on_cpu = the(plan(model, vae=nano.vae, memory_gib=1), "Diffusion")
    model.load_device = torch.device("cuda")
    on_gpu = the(plan(model, vae=nano.vae, memory_gib=1), "Diffusion")
    assert on_cpu.weights - on_gpu.weights == nano.vae.patcher.model_size()

    whole = the(plan(model, 64, 64, memory_gib=1), "Diffusion")
    tight = plan(model, 64, 64, memory_gib=(whole.weights + whole.work / 4) / 2**30)
    assert "of the weights wait in RAM" in str(the(tight, "Diffusion"))


def test_a_vae_of_another_model_is_refused(plan, nano, tiny_model):
    with pytest.raises(ValueError, match=r"makes latents of 48 channels and 4 px a cell; 'model' takes 4 "):
        plan(tiny_model, vae=nano.vae)


def test_the_small_photo_in_place_of_the_hint_is_refused(plan, tiny_model):
    with pytest.raises(ValueError, match=r"'hint' is 5x3 px, smaller than a latent cell of 'model', 8 px"):
        plan(tiny_model, 3, 5)


def test_an_encoder_that_does_not_fit_the_control_net_is_refused(plan, tiny_model, tiny_controlnet, nano):
    with pytest.raises(ValueError, match=r"nano.* 96 wide; 'tiny' takes tokens 256"):
        plan(tiny_model, control_net=tiny_controlnet, encoder=nano.encoder)


def test_a_model_of_videos_is_refused(plan, tiny_model):
    tiny_model.add_object_patch("latent_format", comfy.latent_formats.Wan21())
    with pytest.raises(ValueError, match=r"'model' makes latents of 3 dimensions; expected 2, of images"):
        plan(tiny_model)


def test_the_plan_is_told_in_the_order_of_the_graph(nano_plan):
    lines = str(nano_plan(1088, 1920)).splitlines()
    assert [re.match(r"\w+", line)[0] for line in lines] == [
        *("1", "Encode", "Semantics", "Diffusion", "Decode", "Diffusion")
    ]


@pytest.mark.usefixtures("gone")
def test_free_memory_is_known_where_the_host_lists_a_model_that_is_gone(plan, tiny_model, monkeypatch):
    monkeypatch.setattr(comfy.model_management, "is_device_cpu", lambda _: False)  # as on a GPU
    assert plan(tiny_model, 512, 512).stages[0].memory.size > 0
