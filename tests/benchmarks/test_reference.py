"""The reference's loop by itself: its tiles, its weights, its schedule."""

import pytest
import torch

from benchmarks import networks, reference


@pytest.fixture(scope="module")
def twins():
    both = networks.build((64, 64), text_dim=32)
    for network in both:
        networks.randomize(network)
    return both


def inputs(height, width, **kwargs):
    g = torch.Generator().manual_seed(1)
    return reference.Inputs(
        noise=torch.randn(1, 4, height, width, generator=g),
        hint=torch.rand(1, 3, height * 8, width * 8, generator=g),
        text=torch.randn(1, 7, 32, generator=g),
        negative=torch.randn(1, 7, 32, generator=g),
        tokens=torch.randn(1, 9, 512, generator=g),
        **kwargs,
    )


def run(twins, given, steps=2, cfg=3.0, **kwargs):
    generator = torch.Generator().manual_seed(2)
    return reference.restore(*twins, given, steps=steps, cfg=cfg, generator=generator, **kwargs)


def test_the_schedule_is_that_of_sd2_base():
    assert reference.ddpm(50).timesteps.tolist() == list(range(981, 0, -20))


@pytest.mark.parametrize(
    ("size", "tiles"), [((135, 240), 8), ((128, 128), 4), ((256, 256), 16), ((64, 144), 1), ((64, 145), 4)]
)
def test_tiles_number_and_lie_as_the_original_lays_them(size, tiles):
    boxes = reference.plan(*size, tile=96, overlap=32)
    assert len(boxes) == tiles
    covered = torch.zeros(size)
    for box in boxes:
        box.of(covered).add_(1)
    assert covered.min() >= 1
    assert {(box.height, box.width) for box in boxes} == ({size} if tiles == 1 else {(min(96, *size),) * 2})


def test_an_overlap_as_wide_as_the_photo_is_refused_where_the_original_never_ends():
    with pytest.raises(ValueError, match=r"can't tile 20x500 cells: its tiles of 20 overlap by 32"):
        reference.plan(20, 500, tile=96, overlap=32)


def test_the_weights_are_centred_across_and_half_a_cell_low():
    weights = reference.weights(16, 16)
    assert torch.equal(weights, weights.flip(1))
    assert torch.allclose(weights[1:], weights[1:].flip(0))
    assert not torch.allclose(weights, weights.flip(0))


def test_one_tile_is_the_whole(twins):
    given = inputs(8, 10)
    assert torch.equal(run(twins, given), run(twins, given, tile=16, overlap=4))


def test_tiles_change_the_picture_but_not_its_spread(twins):
    given = inputs(8, 16)
    whole, tiled = run(twins, given), run(twins, given, tile=8, overlap=4)
    assert 1e-3 < (whole - tiled).norm() / whole.norm() < 0.5


def test_no_guidance_at_1_or_below_and_the_negative_prompt_is_not_read(twins):
    given = inputs(8, 8)
    other = reference.Inputs(**vars(given) | {"negative": torch.full_like(given.negative, torch.nan)})
    assert torch.equal(run(twins, given, cfg=0.9), run(twins, other, cfg=1.0))
    assert not torch.isfinite(run(twins, other, cfg=1.1)).any()


def test_an_lr_start_begins_at_the_noisiest_level(twins, monkeypatch):
    latent = torch.randn(1, 4, 8, 8)
    seen = []
    predict = reference._predict
    monkeypatch.setattr(
        reference, "_predict", lambda *args: seen.append((args[4], int(args[5]))) or predict(*args)
    )
    given = inputs(8, 8, latent=latent)
    run(twins, given, cfg=1.0)
    kept = reference.ddpm(2).alphas_cumprod[999]
    x, t = seen[0]
    assert t == 501
    assert torch.allclose(x, kept**0.5 * latent + (1 - kept) ** 0.5 * given.noise)
