"""SRlab's training on a tiny base in Stable Diffusion 2's layout."""

import copy
import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from benchmarks import random_base
from benchmarks.reference import SCHEDULE
from ugc_sr.image import resize
from ugc_sr.models.weights import UnsupportedWeightsError
from ugc_sr.train.stages import Stage
from ugc_sr.train.task import Batch, Start, noise_like

WIDTHS = (64, 128)
TEXT = 32
UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": WIDTHS,
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": (1, 2),
    "cross_attention_dim": TEXT,
    "use_linear_projection": True,
}
VAE = random_base.VAE | {"block_out_channels": (32,) * 4}
SCHEDULER = {"_class_name": "PNDMScheduler", **SCHEDULE}
del SCHEDULER["clip_sample"]  # so that its default would clip


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    """A base of 4 latent channels, 8 pixels a cell, text 32 wide, with random weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("base")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        UNet2DConditionModel(**UNET).save_pretrained(folder / "unet")
        AutoencoderKL(**VAE).save_pretrained(folder / "vae")
        config = CLIPTextConfig(
            vocab_size=514,
            hidden_size=TEXT,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=512,
            eos_token_id=513,
            pad_token_id=513,
        )
        CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    letters = [chr(code) for code in range(33, 33 + 256)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    write(folder, "tokenizer/vocab.json", {word: index for index, word in enumerate(vocabulary)})
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    write(folder, "tokenizer/tokenizer_config.json", {"model_max_length": 16})
    write(folder, "scheduler/scheduler_config.json", SCHEDULER)
    return folder


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    """The small encoder of the bundled model, with random weights."""
    from ugc_sr.models.segmenter import nano_encoder

    file = tmp_path_factory.mktemp("encoder") / "tiny.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        encoder = nano_encoder()
    weights = {key: weight.contiguous() for key, weight in encoder.state_dict().items()}
    save_file(weights, file)
    return file


@pytest.fixture
def make(base_folder, encoder_file):
    """Builds the task: make(base=FOLDER, seed=0, precision="fp32", null_text=0.5, ...)."""
    from ugc_sr.train.srlab import build

    def build_task(base=base_folder, encoder=encoder_file, seed=0, options=None, **stage):
        stage = Stage(name="tiny", task="srlab", steps=1, learning_rate=1e-3, **stage)
        return build(stage, Start(seed=seed, base=base), encoder=str(encoder), **(options or {}))

    return build_task


def write(folder, name, content):
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def batch(count=2, side=16, whole=False, captions=()):
    generator = torch.Generator().manual_seed(3)
    hr = torch.rand(count, 3, 4 * side, 4 * side, generator=generator)
    lr = torch.nn.functional.avg_pool2d(hr, 4)
    seen = torch.rand(count, 3, 128, 128, generator=generator) if whole else None
    return Batch(hr, lr, tuple(range(100, 100 + count)), captions=captions, whole=seen)


def waken(task):
    """Trained parameters that no longer start silently."""
    from benchmarks.networks import fill

    with torch.no_grad():
        for name, parameter in task.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(fill(name, list(parameter.shape)))
    return task


def altered(folder, tmp_path, part, **changes):
    """A copy of the base whose configuration of one part says something else."""
    copied = shutil.copytree(folder, tmp_path / "altered")
    name = "scheduler/scheduler_config.json" if part == "scheduler" else f"{part}/config.json"
    write(copied, name, json.loads((copied / name).read_text()) | changes)
    return copied


def test_image_attentions_and_the_controlnet_are_trained_and_nothing_else(make):
    task = make()
    names = trained(task)
    assert names == {
        name
        for name, _ in task.named_parameters()
        if name.startswith("controlnet.") or (name.startswith("unet.") and ".image_attentions." in name)
    }
    waken(task)(batch())["loss"].backward()
    assert {name for name, parameter in task.named_parameters() if parameter.grad is not None} == names


def test_training_starts_from_what_the_base_predicts(make, base_folder):
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    task, base = make(), UNet2DConditionModel.from_pretrained(base_folder / "unet")
    x, t, text = torch.randn(1, 4, 8, 8), torch.tensor([300]), torch.randn(1, 16, TEXT)
    with torch.no_grad():
        predicted = task._predict(x, t, text, torch.randn(1, 64, 96), torch.rand(1, 3, 64, 64))
        assert_close(predicted, base(x, t, text, return_dict=False)[0])


def test_the_controlnet_starts_as_the_unet(make):
    task = make()
    unet, controlnet = task.unet.state_dict(), task.controlnet.state_dict()
    shared = [key for key in controlnet if key in unet]
    assert any(".image_attentions." in key for key in shared)
    assert all(torch.equal(controlnet[key], unet[key]) for key in shared)


def test_building_draws_from_the_seed_and_leaves_the_global_generator_alone(make):
    state = torch.random.get_rng_state()
    first, again, other = (make(seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_the_loss_of_a_batch_is_the_mean_of_its_samples_alone(make):
    task, samples = waken(make()), batch(captions=("a cat", "a dog"))
    with torch.no_grad():
        whole = task(samples)["loss"]
        alone = [task(part)["loss"] for part in samples.split(2)]
    assert_close(whole, torch.stack(alone).mean())
    assert alone[0] != alone[1]


def test_captions_are_shown_to_the_share_of_samples_that_the_recipe_says(make):
    samples = batch(captions=("a cat", "a red car"))
    other = batch(captions=("a dog", "a tree"))
    for share, matter in ((1.0, False), (0.0, True)):
        task = waken(make(options={"null_text": share}))
        with torch.no_grad():
            assert (task(samples)["loss"] != task(other)["loss"]) == matter


def test_semantics_are_read_from_the_whole_photo_if_the_batch_has_it(make, monkeypatch):
    task, seen = make(), []
    read = task._tokens
    monkeypatch.setattr(task, "_tokens", lambda photos: seen.append(photos) or read(photos))
    for whole in (False, True):
        samples = batch(whole=whole)
        task(samples)
        enlarged = resize(samples.lr, 64, 64).clamp(0, 1)
        assert torch.equal(seen.pop(), samples.whole if whole else enlarged)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_is_added_and_asked_for_as_diffusers_does(make, base_folder, tmp_path, monkeypatch, prediction):
    task = make(base=altered(base_folder, tmp_path, "scheduler", prediction_type=prediction))
    samples, given = batch(), []
    monkeypatch.setattr(task, "_predict", lambda x, t, *_: given.append((x, t)) or torch.zeros_like(x))
    error = task(samples)["mse"]
    noisy, timesteps = given.pop()
    latent = task._latent(samples)
    noise = noise_like(latent, samples.seeds, salt=1)
    assert_close(noisy, task.scheduler.add_noise(latent, noise, timesteps))
    target = noise if prediction == "epsilon" else task.scheduler.get_velocity(latent, noise, timesteps)
    assert_close(error, target.square().mean())


def test_timesteps_cover_the_schedule_evenly(make, monkeypatch):
    _, timesteps = bare(make(), monkeypatch, 2000)
    counts = torch.histc(torch.cat(timesteps).float(), bins=10, min=0, max=1000)
    assert counts.sum() == 2000
    assert (counts - 200).abs().max() < 60  # 4.5 standard deviations


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weighs_the_clean_latents_error_by_the_capped_snr(make, base_folder, tmp_path, prediction):
    base = altered(base_folder, tmp_path, "scheduler", prediction_type=prediction)
    task, plain = make(base=base, min_snr_gamma=5.0), make(base=base)
    steps = torch.arange(1000)
    kept = task.alphas.double()
    snr = kept / (1 - kept)
    # what an error of 1 in the clean latent is as an error of the noise, or of the velocity
    as_predicted = snr if prediction == "epsilon" else 1 / (1 - kept)
    assert_close(task._weights(steps).double() * as_predicted, snr.clamp(max=5), rtol=1e-5, atol=0)
    assert torch.equal(plain._weights(steps), torch.ones(1000))


def test_checkpointing_keeps_the_tokens_of_each_forward_apart(make):
    """Two forwards before a backward: the second one's tokens must not be used to recompute the first."""
    samples = batch()
    apart, together = waken(make()), waken(make(gradient_checkpointing=True))
    for part in samples.split(2):
        apart(part)["loss"].backward()
    sum(together(part)["loss"] for part in samples.split(2)).backward()
    for (name, expected), got in zip(apart.named_parameters(), together.parameters(), strict=True):
        if expected.requires_grad:
            assert_close(got.grad, expected.grad, msg=name)


def test_a_copied_network_attends_through_its_own_weights(make):
    task = waken(make())
    copied = copy.deepcopy(task.controlnet)
    given = torch.randn(1, 4, 8, 8), torch.tensor([1]), torch.randn(1, 16, TEXT), torch.randn(1, 64, 96)
    hint = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = copied.control(*given, hint)[1]
        for name, parameter in task.controlnet.named_parameters():
            if ".image_attentions." in name:
                parameter.zero_()
        assert_close(copied.control(*given, hint)[1], expected)
        assert not torch.allclose(task.controlnet.control(*given, hint)[1], expected)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stores_what_is_frozen_and_trains_in_float32(make, tmp_path, precision):
    task = waken(make(precision=precision))
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert {p.dtype for p in task.parameters() if p.requires_grad} == {torch.float32}
    assert task.unet.conv_in.weight.dtype == task.vae.decoder.conv_out.weight.dtype == half
    assert {p.dtype for p in task.encoder.parameters()} == {torch.float32}
    with torch.no_grad():
        loss, exact = (t(batch())["loss"] for t in (task, waken(make())))
    assert_close(loss, exact, rtol=0.02, atol=0)
    for file in [file for file in task.export(tmp_path) if file.suffix == ".safetensors"]:
        with safe_open(file, framework="pt") as weights:
            assert {weights.get_tensor(key).dtype for key in weights.keys()} == {torch.float16}  # noqa: SIM118


def test_restored_photos_have_four_times_the_size_and_depend_on_the_seed_alone(make):
    task = waken(make(options={"steps": 2}))
    photos = torch.rand(2, 3, 18, 11)
    both = task.restore(photos, seed=4)
    assert both.shape == (2, 3, 72, 44)
    assert both.min() >= 0
    assert both.max() <= 1
    assert_close(task.restore(photos[1:], seed=4), both[1:])
    assert not torch.allclose(task.restore(photos, seed=5), both)


def test_guidance_moves_away_from_the_negative_prompt(make):
    photo = torch.rand(1, 3, 16, 16)
    plain, guided, same = (
        waken(make(options={"steps": 2, "prompt": "clean", **options})).restore(photo)
        for options in ({}, {"cfg": 7.5, "negative": "blur"}, {"cfg": 7.5, "negative": "clean"})
    )
    assert_close(same, plain)
    assert not torch.allclose(guided, plain)


def test_exported_folders_are_read_back_by_diffusers(make, tmp_path):
    from ugc_sr.models.twins import SemanticUNet

    task = waken(make())
    assert set(task.export(tmp_path)) == {file for file in tmp_path.rglob("*") if file.is_file()}
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    assert (config["_class_name"], config["use_image_cross_attention"]) == ("UNet2DConditionModel", True)
    config = SemanticUNet.load_config(tmp_path / "unet")
    again = SemanticUNet.from_config(config).add_image_attentions(96)
    again.load_state_dict(load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors"))
    assert all(torch.equal(w, again.state_dict()[key]) for key, w in task.unet.state_dict().items())


def test_an_export_that_fails_leaves_the_last_one_as_it_was(make, tmp_path, monkeypatch):
    task = waken(make())
    task.export(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    written = []

    def full(*arguments):
        written.append(arguments)
        if len(written) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("ugc_sr.train.srlab.write", full)
    with pytest.raises(OSError, match=r"No space left"):
        task.export(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert len(before) == 4


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"cross_attention_dim": 768}, "is Stable Diffusion 1: its text is 768 wide instead of 1024"),
        ("unet", {"cross_attention_dim": 2048}, "is SDXL: its text is 2048 wide instead of 1024"),
        ("unet", {"in_channels": 9}, "is the inpainting variant: its UNet takes 9 channels instead of 4"),
        ("unet", {"in_channels": 5}, "is the depth variant: its UNet takes 5 channels instead of 4"),
        ("unet", {"in_channels": 6}, "is another model: its UNet takes 6 channels instead of 4"),
        ("unet", {"attention_head_dim": 8}, r"\[8, 8\] attention heads for \[64, 128\] channels; .* 64 wide"),
        ("text_encoder", {"hidden_size": 48}, "its UNet takes text 32 wide, its text encoder gives 48"),
        ("scheduler", {"prediction_type": "sample"}, "predicts 'sample'; expected epsilon or v_prediction"),
    ],
)
def test_a_base_of_another_family_is_refused(make, base_folder, tmp_path, part, changes, message):
    with pytest.raises(UnsupportedWeightsError, match=f"{message}.* Expected Stable Diffusion 2"):
        make(base=altered(base_folder, tmp_path, part, **changes))


WEIGHTS = "vae/diffusion_pytorch_model"
CHANGES = {
    r"is SDXL, Stable Diffusion 3 or later\. Expected": lambda base: (base / "text_encoder_2").mkdir(),
    r"vae' holds its weights as a pickle.*Get diffusion_pytor": lambda base: (
        base / f"{WEIGHTS}.safetensors"
    ).rename(base / f"{WEIGHTS}.bin"),
    r"config.json' is no JSON .*Download the base again": lambda base: (
        base / "unet" / "config.json"
    ).write_text("{"),
    "lacks vae. Expected Stable Diffusion 2": lambda base: shutil.rmtree(base / "vae"),
    "lacks unet/config.json": lambda base: (base / "unet" / "config.json").unlink(),
    "lacks model.safetensors. Download the base again": lambda base: (
        base / "text_encoder" / "model.safetensors"
    ).unlink(),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_base_that_is_another_or_not_whole_is_refused(make, base_folder, tmp_path, message):
    base = altered(base_folder, tmp_path, "unet")
    CHANGES[message](base)
    with pytest.raises((UnsupportedWeightsError, FileNotFoundError), match=message):
        make(base=base)


def test_what_the_run_was_not_given_is_asked_for(make):
    with pytest.raises(ValueError, match=r"frozen Stable Diffusion 2.x. Name its folder: --base FOLDER"):
        make(base=None)
    with pytest.raises(ValueError, match=r"with SAM2.1's tokens. Name its file: --encoder FILE.safetensors"):
        make(encoder="")


def test_an_unknown_option_is_named_beside_the_known(make):
    with pytest.raises(ValueError, match=r"no option null_tekst; it has .*null_text, prompt"):
        make(options={"null_tekst": 0.3})


def test_a_file_that_is_no_encoder_is_refused(make, base_folder):
    with pytest.raises(UnsupportedWeightsError, match=r"is a UNet without .*expected a SAM2.1 checkpoint"):
        make(encoder=base_folder / "unet" / "diffusion_pytorch_model.safetensors")


def test_crops_that_are_no_whole_cells_are_refused(make):
    with pytest.raises(ValueError, match=r"crops are 60x60 px; expected multiples of 8"):
        make()(batch(side=15))


@pytest.mark.comfy
@pytest.mark.parametrize("cfg", [1.0, 5.5])
def test_weights_trained_here_restore_the_same_picture_in_the_host(
    make, base_folder, encoder_file, tmp_path, cfg
):
    """Every weight finds its place in the host; the KSampler then gives the training's own picture."""
    task = waken(make(options={"steps": 5, "cfg": cfg}))
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(3):
        optimizer.zero_grad()
        task(batch())["loss"].backward()
        optimizer.step()
    task.export(tmp_path)
    photo = torch.rand(1, 3, 18, 27)
    expected = task.restore(photo, seed=7)
    assert expected.std() > 0.01
    with torch.no_grad():
        texts = [task._text([words]) for words in (task.options.prompt, task.options.negative)]
    given = {"photo": photo, "texts": texts, "steps": 5, "cfg": cfg, "seed": 7}
    assert_close(in_the_host(base_folder, encoder_file, tmp_path, **given), expected, rtol=0, atol=1e-3)
    other = in_the_host(base_folder, encoder_file, tmp_path, **{**given, "seed": 8})
    assert (other - expected).abs().max() > 1e-2


def in_the_host(base, encoder, trained, *, photo, texts, steps, cfg, seed):
    """What ComfyUI's nodes and ours make of a photo with exported weights."""
    import comfy.sd

    from benchmarks.parity import base_model
    from benchmarks.sampling import sample
    from ugc_sr.host.adapter import load_adapter
    from ugc_sr.host.controlnet import apply_controlnet, load_controlnet
    from ugc_sr.host.encoder import encode, load_encoder
    from ugc_sr.host.guidance import apply_guidance
    from ugc_sr.host.lr_start import lr_start
    from ugc_sr.models import files
    from ugc_sr.sample.color_match import match
    from ugc_sr.sample.frame import finish, fit

    adapter = load_adapter(files.read(trained / "unet"))
    control = load_controlnet(files.read(trained / "controlnet"))
    semantics = encode(load_encoder(files.read(encoder)), photo)
    hint, frame = fit(photo, scale=4)
    model = lr_start(apply_guidance(base_model(files.read(base / "unet")), adapter, semantics))
    latent = torch.zeros(1, 4, *(side // 8 for side in hint.shape[-2:]))
    with torch.inference_mode():
        prompts = apply_controlnet([[[text, {}]] for text in texts], control, hint, semantics)
        sampled = sample(model, prompts, latent, steps=steps, cfg=cfg, seed=seed)
        shape = {"double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32}
        shape |= {"ch_mult": [1] * 4, "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
        config = {"params": {"ddconfig": shape, "embed_dim": 4}}
        vae = comfy.sd.VAE(sd=files.read(base / "vae"), config=config, dtype=torch.float32)
        decoded = vae.decode(sampled).movedim(-1, 1)
    return match(finish(decoded, frame), finish(hint, frame), "adain").clamp(0, 1)


def trained(task):
    return {name for name, parameter in task.named_parameters() if parameter.requires_grad}


def test_a_step_moves_no_frozen_weight(make):
    task = waken(make())
    before = {name: weight.clone() for name, weight in task.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=1.0)
    task(batch())["loss"].backward()
    optimizer.step()
    moved = {name for name, weight in task.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved
    assert moved <= trained(task)


def bare(task, monkeypatch, count):
    """The captions and timesteps that the task draws for many samples; its networks do nothing."""
    captions, timesteps = [], []
    monkeypatch.setattr(task, "_text", lambda given: captions.extend(given) or torch.zeros(count, 1, 1))
    monkeypatch.setattr(task, "_latent", lambda given: torch.zeros(count, 4, 1, 1))
    monkeypatch.setattr(task, "_tokens", lambda photos: photos)
    monkeypatch.setattr(task, "_predict", lambda x, t, *_: timesteps.append(t) or x)
    pixels = torch.zeros(count, 3, 8, 8)
    task(Batch(pixels, pixels[..., ::4, ::4], tuple(range(count)), captions=("cat",) * count))
    return captions, timesteps


def test_half_of_the_samples_are_shown_no_caption(make, monkeypatch):
    captions, _ = bare(make(), monkeypatch, 400)
    assert 160 < captions.count("") < 240  # 4 standard deviations
