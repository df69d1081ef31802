"""The bundled model where the latent, or what stands between it and the sampler, isn't the usual one."""

import asyncio
import itertools

import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras.nodes_custom_sampler import AddNoise, RandomNoise
from comfy_extras.nodes_easycache import EasyCacheNode
from PIL import Image

import nodes
from ugc_sr.host.anchor import noise_level

pytestmark = pytest.mark.comfy

SAME_DB = 60  # two parts against one run


@pytest.fixture(scope="module")
def photo():
    """A picture (1, 64, 96, 3) with a gradient, an edge and fine texture."""
    g = torch.Generator().manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 6, generator=g), (64, 96), mode="bicubic")
    coarse[..., 20:40, 30:60] = 0.9
    return (coarse + 0.03 * torch.rand(1, 3, 64, 96, generator=g)).clamp(0, 1).movedim(1, -1)


@pytest.fixture(scope="module")
def latent(nano, photo):
    with torch.inference_mode():
        return {"samples": nano.vae.encode(photo)}


@pytest.fixture
def advanced(nano):
    """Runs the host's KSampler (Advanced) of four steps."""

    def run(latent, start=0, end=10_000, noise="enable", left="disable", model=nano.model, **changed):
        options = {"positive": nano.conditioning, "sampler": "euler", "steps": 4, "seed": 0} | changed
        positive = options["positive"]
        with torch.inference_mode():
            (made,) = nodes.KSamplerAdvanced().sample(
                *(model, noise, options["seed"], options["steps"], 1.0, options["sampler"], "simple"),
                *(positive, nano.conditioning, latent, start, end, left),
            )
        return made

    def parts(latent, *cuts, between=lambda made: made, **options):
        ends = [*cuts, 10_000]
        made = run(latent, 0, ends[0], left="enable", **options)
        for start, end in itertools.pairwise(ends):
            left = "disable" if end == 10_000 else "enable"
            made = run(between(made), start, end, noise="disable", left=left, **options)
        return made

    run.parts = parts
    return run


@pytest.fixture
def agree(nano):
    """PSNR of two latents as pictures."""

    def psnr(one, other):
        pictures = [nano.vae.decode(latent["samples"]) for latent in (one, other)]
        return -10 * torch.log10((pictures[0] - pictures[1]).square().mean() + 1e-14).item()

    return psnr


def noise_mask(latent):
    mask = torch.zeros(1, 64, 96)
    mask[:, :32] = 1
    return latent | {"noise_mask": mask}


@pytest.mark.parametrize("cuts", [(2,), (1,), (3,), (1, 2, 3)])
def test_a_run_in_parts_is_one_run(advanced, agree, latent, cuts):
    assert agree(advanced(latent), advanced.parts(latent, *cuts)) > SAME_DB


@pytest.mark.parametrize("sampler", ["heun", "ddim", "dpm_2", "lms"])
def test_other_samplers_go_on_too(advanced, agree, latent, sampler):
    # Those of several steps begin their history anew, as for every model.
    one, parts = advanced(latent, sampler=sampler), advanced.parts(latent, 2, sampler=sampler)
    assert agree(one, parts) > (40 if sampler == "lms" else SAME_DB)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_sde", "lcm"])
def test_samplers_that_add_noise_of_their_own_leave_none(advanced, agree, latent, sampler):
    # The second part draws the first part's noise again, as for every model: a picture as good, not the same.
    assert agree(advanced(latent), advanced.parts(latent, 2, sampler=sampler)) > 35


def test_a_mask_is_kept_by_both_parts(advanced, agree, latent):
    masked = noise_mask(latent)
    one, parts = advanced(masked), advanced.parts(masked, 2)
    assert agree(one, parts) > SAME_DB
    kept = {"samples": parts["samples"][:, :, 9:]}
    assert agree(kept, {"samples": latent["samples"][:, :, 9:]}) > SAME_DB


def test_a_mask_that_comes_between_the_parts_keeps_the_clean_latent_outside(advanced, agree, latent):
    parts = advanced.parts(latent, 2, between=noise_mask)
    kept = {"samples": parts["samples"][:, :, 9:]}
    assert agree(kept, {"samples": latent["samples"][:, :, 9:]}) > SAME_DB


def test_every_photo_of_a_batch_goes_on_from_its_own(advanced, agree, latent):
    both = {"samples": torch.cat([latent["samples"], latent["samples"].flip(-1)])}
    assert agree(advanced(both), advanced.parts(both, 2)) > SAME_DB


def test_split_sigmas_and_disabled_noise_are_one_run(nano, agree, latent):
    sampler = custom.KSamplerSelect.execute("euler").args[0]
    guider = custom.BasicGuider.execute(nano.model, nano.conditioning).args[0]
    sigmas = custom.BasicScheduler.execute(nano.model, "simple", 4, 1.0).args[0]
    high, low = custom.SplitSigmas.execute(sigmas, 2).args
    noise, none = custom.RandomNoise.execute(0).args[0], custom.DisableNoise.execute().args[0]
    with torch.inference_mode():
        one, _ = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args
        half, _ = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, high, latent).args
        parts, _ = custom.SamplerCustomAdvanced.execute(none, guider, sampler, low, half).args
        none_done, _ = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas[:1], latent).args
        all_done, _ = custom.SamplerCustomAdvanced.execute(none, guider, sampler, sigmas, none_done).args
    assert agree(one, parts) > SAME_DB
    assert agree(one, all_done) > SAME_DB


def test_a_run_over_http_in_two_parts_is_one_run(client, photo_file, anatomy, pictures):
    """The quick start with its KSampler cut in two."""

    def picture(ends):
        """The result of one sampler after another: node -> step at which it ends."""
        graph, start = anatomy(client.upload(photo_file)), 0
        given = graph["9"]["inputs"]
        shared = {key: given[key] for key in ("model", "positive", "negative")}
        shared |= {"noise_seed": 0, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
        latent = given["latent_image"]
        for node, end in ends.items():
            part = {"start_at_step": start, "end_at_step": end, "latent_image": latent}
            part["add_noise"] = "disable" if start else "enable"
            part["return_with_leftover_noise"] = "disable" if node == "9" else "enable"
            graph[node] = {"class_type": "KSamplerAdvanced", "inputs": shared | part}
            start, latent = end, [node, 0]
        return list(pictures(client.run(graph)["13"])[0].convert("RGB").tobytes())

    one, parts = picture({"9": 10_000}), picture({"20": 2, "9": 10_000})
    assert max(abs(a - b) for a, b in zip(one, parts, strict=True)) <= 1  # rounding to whole numbers


@pytest.fixture
def photo_file(tmp_path):
    Image.radial_gradient("L").resize((64, 48)).convert("RGB").save(tmp_path / "p.png")
    return tmp_path / "p.png"


def changed(change):
    return lambda made: made | {"samples": change(made["samples"])}


LOST = {
    "saved and loaded": torch.clone,
    "repeated": lambda x: x.repeat(2, 1, 1, 1),
    "of a batch": lambda x: torch.cat([x, x])[:1],
    "flipped": lambda x: x.flip(-1),
    "enlarged": lambda x: torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest"),
    "blended with another": lambda x: x * 0.5 + x.flip(-1) * 0.5,
    "composed of two": lambda x: torch.cat([x[..., :12], x.flip(-1)[..., 12:]], dim=-1),
}


@pytest.mark.parametrize("change", LOST)
@pytest.mark.parametrize("cut", [2, *(pytest.param(cut, marks=pytest.mark.deep) for cut in (1, 3))])
def test_a_noisy_latent_without_its_clean_one_is_refused(advanced, latent, change, cut):
    with pytest.raises(ValueError, match=r"on a latent with noise of .* that has lost its clean latent"):
        advanced.parts(latent, cut, between=changed(LOST[change]))


def test_a_latent_that_another_node_has_noised_is_refused(nano, advanced, latent):
    sigmas = torch.tensor([4.08, 0])
    noised = AddNoise.execute(nano.model, RandomNoise.execute(0).args[0], sigmas, latent).args[0]
    with pytest.raises(ValueError, match=r"it was saved, changed or noised"):
        advanced(noised, 1, noise="disable")


def test_a_conditioning_with_the_clean_latent_makes_up_for_a_lost_one(nano, advanced, agree, latent):
    given = [[text, {"concat_latent_image": latent["samples"]}] for text, _ in nano.conditioning]
    parts = advanced.parts(latent, 2, between=changed(torch.clone), positive=given)
    assert agree(advanced(latent), parts) > SAME_DB


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_a_clean_latent_may_be_sampled_without_noise(advanced, agree, latent, start):
    assert agree(advanced(latent, start, noise="disable"), advanced(latent)) > 30


def test_a_clean_latent_of_a_busy_photo_may_be_sampled_without_noise(nano, advanced):
    """As much fine detail as the busiest of many photos: feathers from near by."""
    g = torch.Generator().manual_seed(1)
    picture = (0.5 + 0.05 * torch.randn(1, 64, 64, 3, generator=g)).clamp(0, 1)
    with torch.inference_mode():
        busy = {"samples": nano.vae.encode(picture)}
    for start in (0, 1, 2):
        advanced(busy, start, noise="disable")


@pytest.mark.parametrize("start", [0, 2])
def test_a_result_may_be_restored_once_more(advanced, agree, latent, start):
    done = advanced(latent, end=2)  # without leftover noise
    again = advanced(done, start)
    assert agree(again, done) > 30


def test_the_measured_noise_is_the_noise():
    noise = torch.randn(2, 48, 16, 16)
    assert noise_level(noise) == pytest.approx(1, rel=0.06)
    noise[1] *= 3
    assert noise_level(noise) == pytest.approx(3, rel=0.06)
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    assert noise_level(8 * torch.nn.functional.pixel_unshuffle(ramp, 4)) < 1e-4


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (
            torch.zeros(1, 4, 8, 8),
            r"the sampler's latent is empty, .* 'hint' of Prepare Photo with VAE Encode",
        ),
        (torch.zeros(1, 48, 8, 8), r"the sampler's latent is empty"),
        (
            torch.ones(1, 4, 8, 8),
            r".* a latent of shape \(1, 4, 8, 8\); expected \(batch, 48, height, width\)",
        ),
        (torch.ones(1, 16, 1, 8, 8), r".* a latent of shape \(1, 16, 1, 8, 8\)"),
    ],
)
def test_a_latent_that_is_no_photo_of_this_model_is_refused(advanced, samples, problem):
    with pytest.raises(ValueError, match=rf"^Load Nano Model: {problem}"):
        advanced({"samples": samples})


@pytest.mark.parametrize("threshold", [0.2, 3.0])
def test_the_hosts_cache_may_skip_steps(nano, advanced, agree, latent, threshold):
    calls = []

    def count(run, *args, **kwargs):
        calls.append(1)
        return run(*args, **kwargs)

    cached = EasyCacheNode.execute(nano.model, threshold, 0.15, 0.95, False).args[0]
    cached.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "counted", count)
    plain, quick = advanced(latent, steps=8), advanced(latent, steps=8, model=cached)
    assert 1 <= len(calls) <= 8  # it sees no change of what the network sees, so it may skip nothing
    assert agree(plain, quick) > 40


@pytest.fixture(scope="module")
def hosts_nodes():
    asyncio.run(nodes.init_builtin_extra_nodes())
    return nodes.NODE_CLASS_MAPPINGS


PATCHES = {
    "DifferentialDiffusion": {},
    "FreeU_V2": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
    "HyperTile": {"tile_size": 256, "swap_size": 2, "max_depth": 0, "scale_depth": False},
    "Mahiro": {},
    "PatchModelAddDownscale": {
        "block_number": 3,
        "downscale_factor": 2.0,
        "start_percent": 0.0,
        "end_percent": 0.35,
        "downscale_after_skip": True,
        "downscale_method": "bicubic",
        "upscale_method": "bicubic",
    },
    "PerturbedAttentionGuidance": {"scale": 3.0},
    "RescaleCFG": {"multiplier": 0.7},
    "SelfAttentionGuidance": {"scale": 0.5, "blur_sigma": 2.0},
    "TomePatchModel": {"ratio": 0.3},
}


@pytest.fixture
def patched(nano, hosts_nodes):
    """The MODEL of nano behind a node of the host: patched(name, options)."""

    def patch(name, options):
        kind = hosts_nodes[name]
        made = getattr(kind(), kind.FUNCTION)(model=nano.model, **options)
        return made.args[0] if hasattr(made, "args") else made[0]

    return patch


@pytest.mark.parametrize("name", PATCHES)
def test_nodes_that_patch_a_model_leave_a_picture(patched, advanced, agree, latent, name):
    assert agree(advanced(latent), advanced(latent, model=patched(name, PATCHES[name]))) > 25


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        (
            "LazyCache",
            {"reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95, "verbose": False},
            r"LazyCache leaves the noise .* Use EasyCache, or remove it",
        ),
        ("ModelSamplingDiscrete", {"sampling": "eps", "zsnr": False}, r"a ModelSampling node .* Remove that"),
        ("ModelSamplingDiscrete", {"sampling": "x0", "zsnr": False}, r"a ModelSampling node .* Remove that"),
    ],
)
def test_nodes_that_would_leave_noise_are_refused(patched, advanced, latent, name, options, problem):
    with pytest.raises(ValueError, match=rf"^Load Nano Model: {problem}"):
        advanced(latent, model=patched(name, options))
