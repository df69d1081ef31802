"""Semantic guidance and its ControlNet together with what else people do to a MODEL, on the real host."""

import dataclasses
import gc

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.ops
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_torch_compile import skip_torch_compile_dict
from torch.testing import assert_close

import nodes
from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.lr_start import lr_start
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.models import architecture
from ugc_sr.models.convert import from_diffusers

pytestmark = pytest.mark.comfy


def free_u(model):
    return FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).result[0]


def perturbed_attention(model):
    return PerturbedAttentionGuidance.execute(model, 2.0).result[0]


def other_noise_levels(model):
    return ModelSamplingDiscrete().patch(model, "eps", True)[0]


def image_prompt(model):
    """What IPAdapter does: attention to an image's tokens beside that to the text."""

    def beside(q, k, v, options):
        text = optimized_attention(q, k, v, options["n_heads"])
        return text + 0.5 * optimized_attention(q, k.flip(1), v.flip(2), options["n_heads"])

    model = model.clone()
    for place in (("input", 1), ("middle", 0), ("output", 4)):
        model.set_model_attn2_replace(beside, *place)
    return model


def lora(model):
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_v.weight"
    weight = model.model.state_dict()[key]
    model = model.clone()
    diff = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4))
    assert model.add_patches({key: ("diff", (diff,))}) == [key]
    return model


EXTENSIONS = (free_u, perturbed_attention, other_noise_levels, image_prompt, lora)


@pytest.fixture
def hint():
    """What a latent of 16x16 cells restores; at 8x8 FreeU would divide by nothing in the middle."""
    return torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(6))


@pytest.fixture
def guide(tiny_adapter, semantics):
    return lambda model: apply_guidance(model, tiny_adapter, semantics)


@pytest.fixture
def control(tiny_controlnet, hint, semantics):
    return lambda conds: apply_controlnet(conds, tiny_controlnet, hint, semantics)


@pytest.fixture
def restore(sample):
    """One step at 16x16 cells: restore(model, conditioning) -> latent."""
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    return lambda model, conditioning: sample(model, steps=1, conditioning=conditioning, noise=noise)


@pytest.mark.deep
@pytest.mark.parametrize("extend", EXTENSIONS)
def test_order_does_not_matter_both_act_and_the_model_stays_as_it_was(
    tiny_model, guide, control, conditioning, restore, extend
):
    conds = control(conditioning)
    first, last = (restore(model, conds) for model in (extend(guide(tiny_model)), guide(extend(tiny_model))))
    assert_close(first, last, rtol=0, atol=0)
    assert (first - restore(guide(tiny_model), conds)).abs().max() > 1e-4
    assert (first - restore(extend(tiny_model), conds)).abs().max() > 1e-4
    assert not any(tiny_model.callbacks.values())
    assert not any(tiny_model.wrappers.values())
    assert not tiny_model.patches
    assert not tiny_model.object_patches
    assert set(tiny_model.model_options) == {"transformer_options"}
    assert not tiny_model.model_options["transformer_options"]


def test_all_of_them_together_restore_in_either_order(tiny_model, guide, control, conditioning, restore):
    def extend(model):
        for extension in EXTENSIONS:
            model = extension(model)
        return model

    first, last = (
        restore(model, control(conditioning))
        for model in (extend(guide(tiny_model)), guide(extend(tiny_model)))
    )
    assert first.isfinite().all()
    assert_close(first, last, rtol=0, atol=0)


def test_a_control_net_of_the_host_may_come_before_or_after(
    tiny_model, guide, control, controlnet_weights, conditioning, hint, restore, assert_agree
):
    converted = from_diffusers(controlnet_weights)
    plain = {key: w for key, w in converted.items() if not key.startswith("image_attentions.")}
    network = comfy.cldm.cldm.ControlNet(
        hint_channels=3, dtype=torch.float32, operations=comfy.ops.manual_cast, **architecture.infer(plain)
    )
    network.load_state_dict(plain, strict=False)
    network.eval().requires_grad_(False)
    foreign = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))

    def apply_foreign(conds):
        return nodes.ControlNetApplyAdvanced().apply_controlnet(
            *conds, foreign, hint.movedim(1, -1), 0.7, 0.0, 1.0
        )

    model = guide(tiny_model)
    before = restore(model, control(apply_foreign(conditioning)))
    after = restore(model, apply_foreign(control(conditioning)))
    assert_agree(before, after)
    assert (before - restore(model, control(conditioning))).abs().max() > 1e-4
    assert (before - restore(model, apply_foreign(conditioning))).abs().max() > 1e-4


@pytest.mark.parametrize("extend", [None, *EXTENSIONS])
def test_models_that_go_together_leave_the_hosts_list_of_loaded_ones_whole(tiny_model, guide, extend):
    """A node that fails keeps what it was given in a circle; all of it then goes in one collection."""

    def fail():
        given = lr_start(guide(tile_diffusion(guide(extend(tiny_model) if extend else tiny_model), 8, 2, 1)))
        comfy.model_management.load_models_gpu([given])
        circle = [given]
        circle.append(circle)

    fail()
    gc.collect()
    loaded = comfy.model_management.current_loaded_models
    assert not any(entry.is_dead() for entry in loaded)
    assert any(entry.real_model() is tiny_model.model for entry in loaded)


def test_ten_restorations_load_once_and_leave_nothing(
    tiny_model, guide, control, conditioning, restore, caplog
):
    model, controlled = guide(tiny_model), control(conditioning)

    def tensors():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    first = restore(model, controlled)
    caplog.clear()
    counts = []
    with caplog.at_level("INFO"):
        for number in range(9):
            again = restore(model, controlled)
            if number in (0, 8):
                counts.append(tensors())
    assert "Requested to load" not in caplog.text
    assert_close(again, first, rtol=0, atol=0)
    assert counts[-1] <= counts[0]


def compiled(model):
    """As ComfyUI's TorchCompileModel does it, with a backend that needs no compiler."""
    model = model.clone()
    set_torch_compile_wrapper(model, backend="eager", options={"guard_filter_fn": skip_torch_compile_dict})
    return model


def tiled(model):
    return tile_diffusion(model, tile=8, overlap=4, batch=2)


@pytest.mark.deep
@pytest.mark.parametrize("compile_first", [True, False])
def test_a_compiled_network_follows_every_change_of_the_guidance(
    tiny_model, tiny_adapter, semantics, restore, conditioning, compile_first
):
    """TorchCompileModel has no guards for transformer_options, so nothing of one run may be compiled in."""

    class Reader:
        def read(self, boxes, full):
            return [semantics.tokens + 0.1 * box[1] for box in boxes]

        def clear(self):
            pass

    other = dataclasses.replace(semantics, tokens=semantics.tokens.flip(1))
    by_tile = dataclasses.replace(semantics, view="tile", reader=Reader())

    def guide(model, what=semantics, **options):
        return apply_guidance(model, tiny_adapter, what, **options)

    changes = {
        "as it is": guide,
        "strength": lambda model: guide(model, strength=0.4),
        "end": lambda model: guide(model, end_percent=0.2),
        "photo": lambda model: guide(model, other),
        "twice": lambda model: guide(guide(model), other, strength=0.5),
        "tiles": lambda model: tiled(guide(model)),
        "view": lambda model: tiled(guide(model, by_tile)),
        "removed": lambda model: model,
        "as it was": guide,
    }
    base = compiled(tiny_model)
    torch._dynamo.reset()
    try:
        for name, change in changes.items():
            expected = restore(change(tiny_model), conditioning)
            model = change(base) if compile_first else compiled(change(tiny_model))
            assert_close(restore(model, conditioning), expected, rtol=1e-5, atol=1e-6, msg=name)
    finally:
        torch._dynamo.reset()
