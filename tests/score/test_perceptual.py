import pytest
import torch
from skimage import data
from torch.nn import functional as F

from ugc_sr.score import perceptual
from ugc_sr.score.perceptual import NETS, STLPIPS, in_tiles


def crop(photo, top, left, height=128, width=160):
    part = photo()[top : top + height, left : left + width].copy()
    return torch.from_numpy(part).movedim(-1, 0)[None].float() / 255


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return request.param


@pytest.fixture(scope="module")
def network(net):
    return STLPIPS(net)


@pytest.fixture(scope="module")
def photo():
    return crop(data.astronaut, 40, 180)


def pairs():
    clean = crop(data.astronaut, 40, 180)
    return {
        "coarse": (F.interpolate(F.avg_pool2d(clean, 4), scale_factor=4.0, mode="nearest"), clean),
        "shifted": (crop(data.astronaut, 41, 181), clean),
        "other": (crop(data.coffee, 100, 200), clean),
        "odd": (crop(data.coffee, 100, 200, 47, 33), crop(data.astronaut, 40, 180, 47, 33)),
    }


# What stlpips_pytorch 0.0.2 returns: LPIPS(net=net, variant="shift_tolerant")(*pair, normalize=True).
PUBLISHED = {
    "alex": {"coarse": 0.153526, "shifted": 0.008216, "other": 0.644936, "odd": 0.499023},
    "vgg": {"coarse": 0.258728, "shifted": 0.017506, "other": 0.750724, "odd": 0.675908},
}


def test_distances_are_those_of_the_package(net, network):
    found = {name: network(*pair).item() for name, pair in pairs().items()}
    assert found == pytest.approx(PUBLISHED[net], abs=2e-5)


def test_equal_pictures_have_no_distance_and_each_pair_of_a_batch_its_own(network, photo):
    other = pairs()["coarse"][0]
    both = network(torch.cat([photo, other]), torch.cat([photo, photo]))
    assert both.shape == (2,)
    assert both[0] == 0
    assert both[1].item() == pytest.approx(network(other, photo).item(), rel=1e-5)


def test_following_the_gradient_brings_a_picture_nearer_even_from_flat_grey(network, photo):
    picture = torch.full_like(photo, 0.5).requires_grad_()
    network(picture, photo).sum().backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()
    step = (0.5 - 0.05 * picture.grad / picture.grad.abs().max()).clamp(0, 1)
    assert network(step, photo) < network(picture, photo)


def test_the_weights_take_no_gradient(network):
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ("alex", {"relu1": (64, 62, 78), "relu3": (384, 16, 20), "relu5": (256, 16, 20)}),
        ("vgg", {"relu1_2": (64, 128, 160), "relu4_3": (512, 17, 21), "relu5_3": (512, 9, 11)}),
    ],
)
def test_features_come_by_their_names(net, expected, photo):
    found = STLPIPS(net).features(photo, *expected)
    assert {name: tuple(features.shape[1:]) for name, features in found.items()} == expected
    assert all(features.min() >= 0 for features in found.values())


def test_a_missing_package_is_answered_in_one_line(monkeypatch):
    monkeypatch.setattr(perceptual, "PACKAGE", "no-such-package")
    with pytest.raises(FileNotFoundError, match=r'^.*pip install "ugc-super-resolution\[perceptual\]"$'):
        STLPIPS("alex")


def test_a_file_of_another_checksum_is_not_read(tmp_path, monkeypatch):
    path = perceptual.installed("alex")
    assert path is not None
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    (tmp_path / path.name).write_bytes(content)
    monkeypatch.setattr(perceptual, "installed", lambda _: tmp_path / path.name)
    with pytest.raises(ValueError, match=r"isn't the file of stlpips_pytorch 0\.0\.2"):
        STLPIPS("alex")


def test_what_is_too_small_or_unknown_is_refused(network):
    with pytest.raises(ValueError, match="31x40 px; ST-LPIPS needs 32 px"):
        network(torch.rand(1, 3, 40, 31), torch.rand(1, 3, 40, 31))
    with pytest.raises(ValueError, match="no ST-LPIPS of 'squeeze'; known are alex, vgg"):
        STLPIPS("squeeze")
    with pytest.raises(ValueError, match="no features"):
        network.features(torch.rand(1, 3, 40, 40), "relu9")


def test_a_large_picture_is_the_mean_of_its_tiles(monkeypatch, photo):
    network = STLPIPS("alex")
    other = pairs()["coarse"][0]
    whole = network(other, photo)
    assert torch.equal(in_tiles(network, other, photo), whole)
    monkeypatch.setattr(perceptual, "TILE_PX", 100)
    parts = [
        network(other[..., y, x], photo[..., y, x])
        for y in (slice(64), slice(64, 128))
        for x in (slice(80), slice(80, 160))
    ]
    found = in_tiles(network, other, photo).item()
    assert found == pytest.approx(sum(parts).item() / 4, rel=1e-5)
    assert found == pytest.approx(whole.item(), rel=0.15)
