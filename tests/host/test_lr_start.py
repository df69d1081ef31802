"""LR Start on the real host."""

import comfy.model_sampling as sampling
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.samplers import calculate_sigmas

from ugc_sr.host.lr_start import _check_schedule, lr_start
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.nodes.sampling_nodes import LRStart

pytestmark = pytest.mark.comfy


@pytest.fixture
def started(tiny_model):
    return lr_start(tiny_model)


@pytest.fixture
def latent():
    return torch.randn(1, 4, 8, 8)


@pytest.fixture
def run(sample, latent):
    """Sample (1, 4, 8, 8), from `latent` unless told."""

    def start(model, sampler="ddpm", scheduler="ddim_uniform", **options):
        return sample(model, sampler=sampler, scheduler=scheduler, cfg=1.0, **({"latent": latent} | options))

    return start


@pytest.fixture
def shown(run):
    """What the network is shown and told first: sample(model, ...) -> x (1, 4, 8, 8), timestep."""

    def first(model, **options):
        looks = []
        unet = model.get_model_object("diffusion_model")
        with unet.register_forward_pre_hook(lambda _, args: looks.append(args[:2])):
            run(model, **options)
        x, timestep = looks[0]
        return x, timestep.item()

    return first


def fixed_noise():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def at_the_end(model, latent, noise):
    """The photo under the most noise of the model's schedule, of unit variance."""
    left = 1 / (model.get_model_object("model_sampling").sigma_max ** 2 + 1)
    return (
        left.sqrt() * latent * model.get_model_object("latent_format").scale_factor
        + (1 - left).sqrt() * noise
    )


def agree(out, expected):
    assert (out - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    "sampler", ["ddpm", "euler", "dpmpp_2m", "dpmpp_2m_sde", "dpm_fast", "lcm", "uni_pc"]
)
@pytest.mark.parametrize(("scheduler", "steps"), [("ddim_uniform", 4), ("karras", 3)])
def test_every_sampler_begins_with_the_photo_at_t_999(started, shown, latent, sampler, scheduler, steps):
    x, _ = shown(started, sampler=sampler, scheduler=scheduler, steps=steps)
    agree(x, at_the_end(started, latent, fixed_noise()))


@pytest.mark.parametrize(("steps", "told"), [(2, 501), (4, 751), (10, 901)])
def test_the_first_step_is_told_its_own_level(started, shown, steps, told):
    assert shown(started, steps=steps)[1] == told


def test_an_empty_latent_begins_with_the_noise_as_it_is(started, shown):
    x, _ = shown(started, steps=4, latent=torch.zeros(1, 4, 8, 8))
    agree(x, fixed_noise())


def test_the_model_that_came_in_starts_as_before(tiny_model, shown, latent):
    before, _ = shown(tiny_model)
    lr_start(tiny_model)
    assert torch.equal(shown(tiny_model)[0], before)
    assert (before - at_the_end(tiny_model, latent, fixed_noise())).abs().max() > 0.01


def test_starting_twice_is_starting_once(started, shown):
    assert torch.equal(shown(lr_start(started))[0], shown(started)[0])


@pytest.mark.parametrize("prediction", ["eps", "v_prediction"])
def test_another_schedule_of_the_model_is_the_one_that_counts(tiny_model, shown, latent, prediction):
    kinds = {"eps": sampling.EPS, "v_prediction": sampling.V_PREDICTION}

    class Other(sampling.ModelSamplingDiscrete, kinds[prediction]):
        pass

    other = lr_start(tiny_model)  # the override comes behind
    other.add_object_patch("model_sampling", Other(tiny_model.model.model_config, zsnr=True))
    x, _ = shown(other, steps=4)
    agree(x, at_the_end(other, latent, fixed_noise()))
    assert (x - fixed_noise()).abs().max() < 1e-3  # such a schedule ends in pure noise


def test_what_a_mask_keeps_is_the_photo(started, run, latent):
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    out = run(started, noise_mask=mask)
    agree(out[..., :4], latent[..., :4])
    assert (out[..., 4:] - latent[..., 4:]).abs().mean() > 0.1


def test_tiles_begin_with_the_photo_at_t_999_too(started, shown, latent):
    x, _ = shown(tile_diffusion(started, tile=4, overlap=0, batch=1))
    agree(x, at_the_end(started, latent, fixed_noise())[..., :4, :4])


def test_every_whole_run_of_the_host_may_start(tiny_model):
    sampling = tiny_model.get_model_object("model_sampling")
    for scheduler in ("ddim_uniform", "normal", "simple", "sgm_uniform", "karras", "beta"):
        for steps in (1, 2, 3, 7, 15, 30, 50, 51, 99, 334, 700):
            _check_schedule(sampling, calculate_sigmas(sampling, scheduler, steps))


@pytest.mark.parametrize("scheduler", ["ddim_uniform", "simple", "karras"])
@pytest.mark.parametrize("steps", [4, 20])
def test_a_run_that_starts_from_less_noise_is_refused(started, run, scheduler, steps):
    message = rf"LR Start: the sampler begins at timestep \d+; expected \d+ or above for {steps} steps. Set"
    with pytest.raises(ValueError, match=message):
        run(started, scheduler=scheduler, steps=steps, denoise=0.5)


def test_a_run_that_goes_on_from_another_is_refused(started, run, latent):
    with pytest.raises(ValueError, match="begins at timestep 666; expected 876 or above for 8 steps"):
        run(started, scheduler="simple", steps=12, start_step=4)
    with pytest.raises(ValueError, match="LR Start: the sampler adds no noise, as one that goes on"):
        run(started, steps=4, noise=torch.zeros_like(latent))


def test_a_run_that_another_goes_on_from_may_start(started, shown, latent):
    x, _ = shown(started, steps=4, last_step=2)
    agree(x, at_the_end(started, latent, fixed_noise()))


def test_models_of_other_noise_are_refused(tiny_model, started, run):
    class Flow(sampling.ModelSamplingDiscreteFlow, sampling.CONST):
        pass

    started.add_object_patch("model_sampling", Flow(tiny_model.model.model_config))
    message = "'model' is sampled by ModelSamplingDiscreteFlow, CONST; expected a model that predicts noise"
    with pytest.raises(ValueError, match=message):
        run(started, scheduler="simple")


def test_the_bundled_model_is_refused(nano, sample):
    x, conds = torch.ones(1, 48, 4, 4), [nano.conditioning, nano.conditioning]
    with pytest.raises(
        ValueError, match=r"ModelSamplingDiscrete, IMG_TO_IMG; .* the bundled model needs none"
    ):
        sample(lr_start(nano.model), noise=x + 1, latent=x, conditioning=conds)


def test_samplers_of_another_make_are_refused(started, conditioning, latent):
    class Strange(comfy.samplers.Sampler):
        pass

    sigmas = torch.tensor([14.0, 0.0])
    with pytest.raises(ValueError, match="LR Start: the sampler is a Strange; expected one of those"):
        comfy.sample.sample_custom(started, fixed_noise(), 1.0, Strange(), sigmas, *conditioning, latent)


def test_the_node_gives_a_started_model(tiny_model, started, shown):
    assert torch.equal(shown(LRStart.execute(tiny_model).result[0])[0], shown(started)[0])
