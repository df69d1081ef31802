import torch

from ugc_sr.degrade.effects.sharpen import sharpen, usm


def edge(low=0.3, high=0.7, side=64):
    photo = torch.full((1, 3, side, side), low)
    photo[..., side // 2 :] = high
    return photo


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
