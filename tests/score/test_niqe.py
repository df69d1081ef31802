import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from skimage import data
from torch.testing import assert_close

from ugc_sr.degrade.effects.codecs import jpeg
from ugc_sr.score import fit_niqe
from ugc_sr.score.measures import own_niqe, rounded_luma
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.niqe import SHIPPED, patch_features, shipped
from ugc_sr.train.photos import HELD_OUT


@pytest.fixture(scope="module", params=[data.astronaut, data.coffee, data.chelsea], ids=lambda f: f.__name__)
def photo(request):
    return torch.from_numpy(request.param()[:384, :448].copy()).movedim(-1, 0)[None].double() / 255


def blur(photo, sigma):
    return torch.from_numpy(gaussian_filter(photo.numpy(), (0, 0, sigma, sigma)))


def noise(photo, amount):
    return photo + amount * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("damage", "amounts"), [(blur, (1.5, 2.5, 5)), (noise, (0.02, 0.08, 0.2)), (jpeg, (20, 8, 4))]
)
def test_visible_damage_scores_worse_the_more_there_is(photo, damage, amounts):
    scores = [own_niqe(x).item() for x in (photo, *(damage(photo, amount) for amount in amounts))]
    assert scores == sorted(scores)
    assert scores[-1] > 1.5 * scores[0]


def test_flat_patches_do_not_count(photo):
    """As a letterbox has them: the score is that of the rest."""
    bars = torch.cat([torch.zeros_like(photo[..., :96, :]), photo[..., :192, :]], dim=-2)
    y = rounded_luma(bars)
    features, _ = patch_features(y)
    flat = features.isnan().any(dim=-1)[0]
    assert flat.view(3, 4)[0].all()
    assert not flat.view(3, 4)[1:].any()
    assert own_niqe(bars).isfinite().all()


def test_a_flat_picture_has_no_score():
    flat = torch.full((1, 3, 200, 200), 0.5)
    assert math.isnan(own_niqe(flat).item())
    assert "own_niqe" not in evaluate(flat)


def test_the_shipped_gaussian_is_one_and_says_what_it_was_fitted_to():
    pristine = shipped()
    assert pristine.mean.shape == (36,)
    assert pristine.mean.dtype == torch.float64
    assert_close(pristine.covariance, pristine.covariance.T)
    assert torch.linalg.eigvalsh(pristine.covariance).min() > 0
    fitted = fit_niqe.provenance(SHIPPED)
    assert fitted["version"] == fit_niqe.VERSION
    assert fitted["patches"] > 5 * 36
    assert len(fitted["photos"]) > 20


def test_no_held_out_photo_is_among_them():
    assert not {held.path for held in HELD_OUT.values()} & set(fit_niqe.provenance(SHIPPED)["photos"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of 8 x 8 patches at half size, whose left half is dull."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("a.png", "b.png")):
        grain = np.random.default_rng(seed).normal(0, 60, (1600, 1600, 1))
        grain[:, :800] /= 3
        Image.fromarray((128 + grain).clip(0, 255).astype(np.uint8).repeat(3, axis=2)).save(folder / name)
    return folder


def test_fitting_takes_the_sharp_patches_and_names_its_photos(folder, tmp_path):
    out = tmp_path / "out.safetensors"
    fit_niqe.main([str(folder), str(out), "a.png", "b.png"])
    assert fit_niqe.provenance(out) == {"version": 1, "patches": 64, "photos": ["a.png", "b.png"]}
    y = torch.cat([fit_niqe.photo_luma(folder / name) for name in ("a.png", "b.png")])
    sharp = patch_features(y)[0].view(2, 8, 8, 36)[:, :, 4:]
    assert_close(load_file(out)["mean"], sharp.mean(dim=(0, 1, 2)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere.png"], "nowhere.png"),
        (["a.png"], "32 sharp patches; expected more than 36. Give more or larger photos"),
    ],
)
def test_photos_that_cannot_be_fitted_are_refused(folder, tmp_path, capsys, names, message):
    with pytest.raises(SystemExit) as stop:
        fit_niqe.main([str(folder), str(tmp_path / "out.safetensors"), *names])
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_photo_without_a_sharp_patch_gives_none():
    assert fit_niqe.sharp_patches(torch.full((1, 1, 200, 200), 128.0, dtype=torch.float64)).shape == (0, 36)
