import pytest
import torch

from ugc_sr.degrade.effects.sharpen import sharpen, usm


def edge(low=0.3, high=0.7, side=64):
    photo = torch.full((1, 3, side, side), low)
    photo[..., side // 2 :] = high
    return photo


def test_a_flat_photo_stays_flat():
    flat = torch.full((1, 3, 32, 32), 0.4)
    torch.testing.assert_close(sharpen(flat, 2.0, 3.0), flat, atol=1e-5, rtol=0)
    torch.testing.assert_close(usm(flat), flat, atol=1e-5, rtol=0)


def test_sharpening_overshoots_on_both_sides_of_an_edge_and_is_not_clamped():
    halo = sharpen(edge(0.0, 1.0), 1.0, 2.0)
    assert halo.max() > 1.2
    assert halo.min() < -0.2
    wide, narrow = ((sharpen(edge(), 1.0, radius) - edge()).abs() > 0.01 for radius in (4.0, 1.0))
    assert wide.sum() > 2 * narrow.sum()


def test_an_amount_of_nothing_changes_nothing():
    photo = torch.rand(1, 3, 16, 16)
    assert torch.equal(sharpen(photo, 0.0, 1.0), photo)
    torch.testing.assert_close(usm(photo, weight=0.0), photo)


def test_the_target_sharpening_leaves_faint_texture_alone_and_stays_in_range():
    texture = 0.5 + (torch.rand(1, 3, 64, 64) - 0.5) * 0.05
    torch.testing.assert_close(usm(texture), texture)
    assert (usm(texture, threshold=0) - texture).abs().max() > 0.005
    sharpened = usm(edge(0.0, 1.0))
    assert sharpened.min() >= 0
    assert sharpened.max() <= 1
    assert (usm(edge()) - edge()).abs().max() > 0.05


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (20, 70)])
def test_photos_smaller_than_the_aperture_are_sharpened_too(size):
    photo = torch.rand(2, 3, *size)
    for sharpened in (usm(photo), sharpen(photo, 1.0, 10.0)):
        assert sharpened.shape == photo.shape
        assert sharpened.isfinite().all()


def test_a_photo_is_sharpened_alike_alone_and_in_a_batch():
    photos = torch.rand(3, 3, 37, 52)
    for sharpened in (lambda x: sharpen(x, 1.0, 2.0), lambda x: usm(x, threshold=200)):
        torch.testing.assert_close(sharpened(photos)[1:2], sharpened(photos[1:2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sharpen(x, 6.0, 1.0), r"sharpen: amount must be .* got 6.0"),
        (lambda x: sharpen(x, 1.0, 0.1), r"sharpen: radius must be .* got 0.1"),
        (lambda x: usm(x, radius=50), r"usm: radius must be one of 1, 3, .* got 50"),
        (lambda x: usm(x, threshold=256.0), r"usm: threshold must be .* got 256.0"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 8, 8))
