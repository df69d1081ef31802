import itertools
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ugc_sr.image import is_scaled, resize
from ugc_sr.sample.frame import finish, fit
from ugc_sr.sample.masks import KEEPS, feathered, lay, put_back


def spot(height, width, top, left, size, value=1.0):
    mask = torch.zeros(1, 1, height, width)
    mask[..., top : top + size, left : left + size] = value
    return mask


def random_mask(*size):
    return torch.rand(size, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("shape", [(24, 40), (1, 24, 40), (3, 24, 40)])
def test_a_mask_of_the_pictures_size_lies_on_it_as_it_is(shape):
    mask = random_mask(*shape)
    assert torch.equal(lay(mask, 24, 40), mask.reshape(-1, 1, 24, 40))


@pytest.mark.parametrize("size", [(3, 5), (12, 20), (96, 160), (1000, 1667)])
def test_a_mask_of_another_size_covers_the_same_share(size):
    mask = torch.zeros(size)
    mask[:, : size[1] // 5 * 2] = 1
    laid = lay(mask, 24, 40)
    assert laid.shape == (1, 1, 24, 40)
    assert laid.mean() == pytest.approx(mask.mean().item(), abs=0.02)
    assert laid[..., 0].min() == pytest.approx(1)
    assert laid[..., -1].max() == 0


@pytest.mark.parametrize("scale", [1, 1.37, 2.5, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 90), (31, 45), (64, 64), (100, 9)])
def test_a_mask_of_the_photo_lies_on_the_photo_in_its_canvas(size, scale):
    photo = torch.zeros(1, 3, *size)
    photo[..., : size[0] // 2 + 1, : size[1] // 3 + 1] = 1
    hint, frame = fit(photo, scale)
    laid = lay(photo[:, 0], *frame.canvas, frame)
    assert laid.shape[2:] == hint.shape[2:]
    expected = resize(photo[:, :1], frame.height, frame.width, mode="bilinear")
    assert_close(finish(laid.expand(-1, 3, -1, -1), frame)[:, :1], expected)


def test_beside_the_photo_the_mask_goes_on():
    _, frame = fit(torch.rand(1, 3, 10, 10), 1)
    laid = lay(torch.ones(10, 10), *frame.canvas, frame)
    assert laid.min() == 1


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float16, torch.float64])
def test_a_mask_of_any_type_is_laid(kind):
    mask = torch.zeros(8, 10)
    mask[2:6, 4:] = 1
    assert_close(lay(mask.to(kind), 16, 20), lay(mask, 16, 20))


def test_a_mask_of_values_beyond_the_range_is_clamped():
    laid = lay(torch.tensor([[-1.0, 2.0], [0.5, 1.0]]), 2, 2)
    assert laid.flatten().tolist() == [0, 1, 0.5, 1]


def test_a_mask_that_covers_nothing_fits_every_picture():
    _, frame = fit(torch.rand(1, 3, 10, 10), 1)
    assert torch.equal(lay(torch.zeros(1, 64, 64), 24, 40, frame), torch.zeros(1, 1, 24, 40))


@pytest.mark.parametrize("size", [(40, 24), (24, 43), (26, 40), (48, 40), (6, 12)])
def test_a_mask_of_another_aspect_is_refused(size):
    came = f"{size[1]}x{size[0]} px"
    message = f"^'mask' has {came} but lies on 40x24 px, another aspect.* connect 'frame' too"
    with pytest.raises(ValueError, match=message):
        lay(torch.ones(size), 24, 40)


@pytest.mark.parametrize("size", [(25, 41), (50, 83), (1079, 1773), (2, 3)])
@pytest.mark.parametrize("scale", [0.37, 1.3, 4])
def test_rounding_to_whole_pixels_is_no_other_aspect(size, scale):
    to = tuple(int(length * scale + 0.5) for length in size)
    assert lay(torch.ones(size), *to).min() == pytest.approx(1)
    assert lay(torch.ones(to), *size).min() == pytest.approx(1)


def test_two_sizes_are_one_aspect_just_where_a_scale_takes_one_to_the_other():
    """By whole fractions, whichever way halves are rounded."""
    half = Fraction(1, 2)

    def by_fractions(a, b):
        limits = [(to + side) / n for n, to in zip(a, b, strict=True) for side in (-half, half)]
        return any(all(abs(n * scale - to) <= half for n, to in zip(a, b, strict=True)) for scale in limits)

    for a, b in itertools.permutations(itertools.product(range(1, 8), repeat=2), 2):
        assert is_scaled(a, b) == by_fractions(a, b), (a, b)


def test_a_frame_of_another_photo_is_refused():
    _, frame = fit(torch.rand(1, 3, 10, 70), 1)
    with pytest.raises(ValueError, match=r"^'frame' belongs to a canvas of 128x64 px but the photo "):
        lay(torch.ones(10, 70), 64, 64, frame)


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4, 4), (1, 0, 4)])
def test_what_is_no_mask_is_refused(shape):
    with pytest.raises(ValueError, match=r"^'mask' has shape \(.*\); expected \(batch, height, "):
        lay(torch.ones(shape), 4, 4)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_mask_with_values_that_are_no_numbers_is_refused(value):
    mask = torch.ones(4, 4)
    mask[1, 2] = value
    with pytest.raises(ValueError, match=r"^'mask' holds NaN or infinite values"):
        lay(mask, 4, 4)


@pytest.mark.parametrize("reach", [1, 2, 5, 8, 40])
def test_a_feathered_mask_keeps_what_it_covers_and_ends_in_reach(reach):
    mask = spot(48, 64, top=20, left=24, size=8)
    soft = feathered(mask, reach)
    assert soft.shape == mask.shape
    assert soft[mask == 1].min() == 1
    around = torch.zeros_like(mask)
    around[..., max(0, 20 - reach) : 28 + reach, max(0, 24 - reach) : 32 + reach] = 1
    assert soft[around == 0].sum() == 0
    assert (soft > 0).sum() > mask.sum()


def test_a_feathered_edge_falls_steadily():
    mask = torch.zeros(1, 1, 8, 64)
    mask[..., :20] = 1
    steps = feathered(mask, 16)[0, 0, 4].diff()
    assert steps.max() <= 0
    assert steps.min() > -0.12


def test_at_the_border_of_the_picture_a_mask_stays_whole():
    assert feathered(torch.ones(1, 1, 6, 6), 9).min() == 1


@pytest.mark.parametrize("reach", [1, 6, 7, 13, 26, 39, 100])
def test_a_feathered_mask_is_the_mean_of_the_largest_values_around(reach):
    mask = random_mask(1, 1, 30, 40)
    grow, blur = (reach + 1) // 2, reach // 2
    largest = F.max_pool2d(F.pad(mask, [grow] * 4), 2 * grow + 1, stride=1)
    mean = F.avg_pool2d(F.pad(largest, [blur] * 4, mode="replicate"), 2 * blur + 1, stride=1)
    assert_close(feathered(mask, reach), mean)


def test_without_feather_the_mask_is_as_it_was():
    mask = random_mask(1, 1, 9, 11)
    assert torch.equal(feathered(mask, 0), mask)


@pytest.fixture
def pair():
    """A restoration and the photo before: the same picture, smooth in the second, in another tint."""
    sr = 0.2 + 0.6 * torch.rand(1, 3, 160, 200)
    return sr, resize(resize(sr, 40, 50), 160, 200).clamp(0, 1) - 0.1


@pytest.mark.parametrize("keep", ["detail", "all"])
def test_without_a_mask_the_restoration_keeps_every_bit(pair, keep):
    assert torch.equal(put_back(*pair, torch.zeros(1, 1, 160, 200), keep), pair[0])


def test_all_gives_the_photos_own_pixels_bit_for_bit(pair):
    sr, original = pair
    mask = spot(160, 200, top=30, left=40, size=60)
    out = put_back(sr, original, mask, "all")
    assert torch.equal(out[mask.expand_as(out) == 1], original[mask.expand_as(out) == 1])
    assert torch.equal(out[mask.expand_as(out) == 0], sr[mask.expand_as(out) == 0])


def test_half_a_mask_gives_the_middle(pair):
    sr, original = pair
    assert_close(put_back(sr, original, torch.full((1, 1, 160, 200), 0.5), "all"), (sr + original) / 2)


def test_detail_takes_structure_from_the_photo_and_colour_from_the_restoration(pair):
    sr, original = pair
    out = put_back(sr, original, torch.ones(1, 1, 160, 200), "detail")
    assert_close(out.mean((2, 3)), sr.mean((2, 3)), rtol=0, atol=5e-3)
    own, kept = (x - x.mean((2, 3), keepdim=True) for x in (original, out))
    assert (kept - own).square().mean() < 0.02 * (sr - sr.mean()).square().mean()


def test_detail_shows_no_step_of_colour_at_the_edge_of_the_mask():
    sr = torch.full((1, 3, 128, 128), 0.5)
    mask = spot(128, 128, top=32, left=32, size=64)
    steps = {
        keep: put_back(sr, sr - 0.1, mask, keep).diff(dim=3).abs().max().item() for keep in ("detail", "all")
    }
    assert steps["all"] == pytest.approx(0.1)
    assert steps["detail"] < 1e-5


@pytest.mark.parametrize("keep", ["detail", "all"])
@pytest.mark.parametrize("originals", [1, 3])
@pytest.mark.parametrize("masks", [1, 3])
def test_each_photo_of_a_batch_is_as_on_its_own(keep, originals, masks):
    sr, original = torch.rand(3, 3, 32, 40), torch.rand(originals, 3, 32, 40)
    mask = torch.rand(masks, 1, 32, 40)
    together = put_back(sr, original, mask, keep)
    for k in range(3):
        alone = put_back(sr[k : k + 1], original[k % originals, None], mask[k % masks, None], keep)
        assert_close(together[k : k + 1], alone)


@pytest.mark.parametrize("name", ["original", "mask"])
def test_blend_regions_takes_one_of_each_for_all_photos_or_one_for_each(name):
    given = {"sr": torch.rand(4, 3, 8, 8), "original": torch.rand(4, 3, 8, 8), "mask": torch.rand(1, 1, 8, 8)}
    given[name] = given[name][:1].repeat(2, 1, 1, 1)
    with pytest.raises(ValueError, match=f"^'{name}' is for 2 photos, but there are 4"):
        put_back(**given, keep="all")


@pytest.mark.parametrize("keep", KEEPS)
def test_the_result_has_the_type_of_the_restoration_whatever_is_put_back(pair, keep):
    sr, original = pair
    mask = random_mask(1, 1, 160, 200)
    out = put_back(sr, original.double(), mask.double(), keep)
    assert out.dtype == torch.float32
    assert_close(out, put_back(sr, original, mask, keep))
