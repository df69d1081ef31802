import math
import sys

import pytest
import torch
from skimage import data
from torch.nn import functional as F
from torchvision.models import alexnet

from ugc_sr.score.extras import EXTRAS, Extras
from ugc_sr.score.metrics import CHALLENGE, METRICS


@pytest.fixture(scope="module")
def photo():
    return torch.from_numpy(data.astronaut()[40:168, 180:308].copy()).movedim(-1, 0)[None].double() / 255


@pytest.fixture(scope="module")
def extras(tmp_path_factory):
    """The real LPIPS on a random AlexNet, which lies where the trained one would."""
    hub = tmp_path_factory.mktemp("torch")
    checkpoints = hub / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(alexnet(weights=None).state_dict(), checkpoints / "alexnet-owt-7be5be79.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(hub))
        yield Extras(["lpips"])


def soft(photo, side):
    return F.avg_pool2d(F.pad(photo, (side // 2,) * 4, mode="replicate"), side, stride=1)


def test_the_network_sees_the_bytes_of_a_file_between_minus_one_and_one(extras, photo):
    """As pyiqa's default does it."""
    import lpips

    result = soft(photo, 3) * 1.3 - 0.1
    stored = ((result.clamp(0, 1) * 255).round() / 255).float()
    with torch.no_grad():
        expected = lpips.LPIPS(net="alex", verbose=False)(2 * stored - 1, 2 * photo.float() - 1).item()
    assert extras.measure(result, photo)["lpips"] == pytest.approx(expected, rel=1e-6)
    assert extras.measure(result.clamp(0, 1), photo) == extras.measure(result, photo)


def test_a_batch_has_the_mean_of_its_images(extras, photo):
    results = torch.cat([soft(photo, 3), soft(photo, 9)])
    single = [extras.measure(x[None], photo)["lpips"] for x in results]
    both = extras.measure(results, torch.cat([photo, photo]))["lpips"]
    assert both == pytest.approx(sum(single) / 2, rel=1e-5)


def test_a_network_is_loaded_once_for_many_pictures(extras, photo, monkeypatch):
    extras.measure(photo, photo)
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert extras.measure(soft(photo, 3), photo)["lpips"] > 0


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_package_is_named_with_its_licence_and_how_to_get_it(monkeypatch, name):
    package, licence = EXTRAS[name].package, EXTRAS[name].licence
    option = {"stlpips_pytorch": "perceptual"}.get(package, package)
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'\'{name}\' needs the package {package} \({licence}\).*"ugc-super-resolution\[{option}\]"'
    with pytest.raises(RuntimeError, match=message):
        Extras([name])


@pytest.mark.parametrize(
    ("names", "gt", "message"),
    [
        (
            ["fid"],
            None,
            "no extra metric 'fid'; known are st_lpips, st_lpips_vgg, lpips, musiq",
        ),
        (["lpips"], None, "'lpips' compares the result with its original; give that too"),
        (["lpips"], torch.rand(1, 3, 64, 60), "64x64 px and the original 60x64 px"),
        (["lpips"], torch.full((1, 3, 64, 64), math.nan), "finite RGB"),
    ],
)
def test_what_cannot_be_measured_is_refused(names, gt, message):
    with pytest.raises(ValueError, match=message):
        Extras(names).measure(torch.rand(1, 3, 64, 64), gt)


def test_metrics_and_extras_cover_the_challenge():
    assert CHALLENGE.keys() <= {*METRICS, *EXTRAS}
    assert not METRICS.keys() & EXTRAS.keys()


def test_what_is_complete_and_installed_is_measured_without_being_asked_for():
    assert Extras.complete(with_gt=True).names == ("st_lpips",)
    assert Extras.complete(with_gt=False).names == ()
    assert Extras.complete(["st_lpips_vgg", "st_lpips"], with_gt=True).names == ("st_lpips_vgg", "st_lpips")


def test_what_is_complete_but_missing_is_passed_over(monkeypatch):
    monkeypatch.setitem(sys.modules, "stlpips_pytorch", None)
    assert Extras.complete(with_gt=True).names == ()


def test_a_picture_too_small_for_a_network_has_no_value_of_it():
    small = torch.rand(1, 3, 31, 200)
    assert Extras(["st_lpips"]).measure(small, small) == {}
