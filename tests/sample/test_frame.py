import math
import random

import pytest
import torch
from torch.testing import assert_close

from ugc_sr.sample.frame import Frame, finish, fit, result_size, scale_for


def test_two_hundred_photos_at_scales_of_their_own_come_out_at_exactly_the_rounded_size():
    drawn = random.Random(0)
    cases = [(1, 1, 1.0), (1, 130, 1.5), (130, 1, 2.37), (5, 7, 0.5), (64, 64, 1), (127, 129, 4)]
    cases += [
        (drawn.randint(1, 160), drawn.randint(1, 160), round(drawn.uniform(0.5, 4), 3)) for _ in range(200)
    ]
    for height, width, scale in cases:
        hint, frame = fit(torch.rand(1, 4, height, width), scale)
        expected = math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)
        for padded, side in zip(hint.shape[2:], expected, strict=True):
            assert padded % 64 == 0
            assert 0 <= padded - side < 64
        assert tuple(finish(hint, frame).shape) == (1, 4, *expected), (height, width, scale)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (33, 64), (50, 70)])
def test_at_scale_one_the_photo_comes_back_bit_for_bit(size):
    image = torch.rand(2, 4, *size)
    hint, frame = fit(image, scale=1)
    assert torch.equal(finish(hint, frame), image)


def test_the_padding_mirrors_without_repeating_the_edge():
    row = torch.tensor([0.1, 0.2, 0.3, 0.4])
    hint, _ = fit(row.expand(1, 3, 4, 4), scale=1, multiple=16)
    period = [0.1, 0.2, 0.3, 0.4, 0.3, 0.2]
    assert_close(hint[0, 0, 0], torch.tensor((period * 3)[:16]))
    assert_close(hint[0, 0, 15], hint[0, 0, 0])


def test_a_photo_of_one_pixel_fills_its_canvas():
    image = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    hint, frame = fit(image, scale=4)
    assert_close(hint, image.expand(1, 3, 64, 64))
    assert finish(hint, frame).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("scale", [0.5, 1, 2.37, 4])
def test_opaque_stays_opaque_and_clear_stays_clear(scale):
    image = torch.rand(2, 4, 21, 34)
    image[0, 3], image[1, 3] = 1, 0
    out = finish(*fit(image, scale))
    assert_close(out[0, 3], torch.ones_like(out[0, 3]), rtol=0, atol=1e-6)
    assert_close(out[1, 3], torch.zeros_like(out[1, 3]), rtol=0, atol=1e-6)


def test_a_gradient_of_transparency_survives():
    ramp = (torch.arange(32) + 0.5) / 32
    image = torch.cat([torch.rand(1, 3, 20, 32), ramp.expand(1, 1, 20, 32)], dim=1)
    alpha = finish(*fit(image, scale=4))[0, 3]
    expected = ((torch.arange(128) + 0.5) / 128).expand(80, 128)
    assert_close(alpha[:, 8:-8], expected[:, 8:-8], rtol=0, atol=1e-3)
    assert_close(alpha, expected, rtol=0, atol=0.02)


def test_hint_and_transparency_stay_in_range():
    hint, frame = fit((torch.rand(1, 4, 20, 20) > 0.5).float(), scale=3)
    for made in (hint, frame.alpha):
        assert made.min() == 0
        assert made.max() == 1


def test_a_photo_of_a_batch_comes_out_as_it_would_alone():
    image = torch.rand(3, 4, 11, 17)
    together = finish(*fit(image, scale=1.5))
    for k in range(3):
        assert torch.equal(together[k : k + 1], finish(*fit(image[k : k + 1], scale=1.5)))


@pytest.mark.parametrize(
    ("size", "scale", "message"),
    [
        (
            (4000, 3000),
            16,
            r"'scale' 16 would make 48000x64000 px of a photo of 3000x4000 px, 3072 megapixels",
        ),
        ((2, 20), 0.125, r"'scale' 0.125 would make 3x0 px of a photo of 20x2 px; expected at least 1x1"),
    ],
)
def test_a_scale_out_of_bounds_is_refused(size, scale, message):
    image = torch.zeros(1, 1, 1, 1).expand(1, 3, *size)
    with pytest.raises(ValueError, match=message):
        fit(image, scale)


def test_an_image_of_another_canvas_is_refused():
    _, frame = fit(torch.rand(1, 3, 20, 70), scale=1)
    with pytest.raises(
        ValueError, match=r"'image' is 256x128 px but 'frame' belongs to a canvas of 128x64 px"
    ):
        finish(torch.rand(1, 3, 128, 256), frame)


def test_transparency_of_another_batch_is_refused():
    frame = Frame(3, 3, torch.ones(2, 1, 3, 3), canvas=(64, 64), photo=(3, 3), scale=1)
    with pytest.raises(ValueError, match="'image' holds 5 photos but 'frame' has the transparency of 2"):
        finish(torch.rand(5, 3, 64, 64), frame)


def test_one_transparency_serves_many_restorations():
    image = torch.rand(1, 4, 9, 14)
    hint, frame = fit(image, scale=1)
    out = finish(hint.repeat(5, 1, 1, 1), frame)
    assert torch.equal(out, image.expand(5, -1, -1, -1))


def test_the_hint_has_no_transparency_and_that_of_the_restoration_makes_way():
    image = torch.rand(1, 4, 9, 14)
    hint, frame = fit(image, scale=1)
    assert hint.shape[1] == 3
    assert torch.equal(finish(torch.cat([hint, torch.rand(1, 1, 64, 64)], dim=1), frame), image)


def test_the_result_has_the_type_of_the_restoration():
    hint, frame = fit(torch.rand(1, 4, 9, 14), scale=1)
    assert finish(hint.half(), frame).dtype == torch.float16


@pytest.mark.parametrize(
    ("size", "scale", "result"),
    [
        ((1, 1), 4, (4, 4)),
        ((256, 384), 4, (1024, 1536)),
        ((1024, 768), 4, (4096, 3072)),
        ((1025, 768), 2, (2050, 1536)),
        ((1600, 1200), 2, (3200, 2400)),
        ((1536, 2048), 2, (3072, 4096)),
        ((2049, 1536), 1, (2049, 1536)),
        ((4000, 3000), 1, (4000, 3000)),  # 12 megapixels of a phone
        ((4096, 4096), 1, (4096, 4096)),
        ((8192, 6144), 0.5, (4096, 3072)),
    ],
)
def test_a_scale_that_nobody_chose_is_that_of_the_photos_size(size, scale, result):
    assert scale_for(*size) == scale_for(*reversed(size)) == scale
    assert result_size(*size, scale_for(*size)) == result


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((30, 40), "40x30 -> 160x120 px (auto: 4x)"),
        ((3, 1500), "1500x3 -> 3000x6 px (auto: 2x)"),
        ((5000, 1), "1x5000 -> 1x4096 px (auto: 0.8192x)"),
    ],
)
def test_a_frame_says_what_was_chosen_for_its_photo(size, said):
    hint, frame = fit(torch.rand(2, 3, *size), scale=0)
    assert str(frame) == said
    assert finish(hint, frame).shape[2:] == (frame.height, frame.width)
    assert str(fit(torch.rand(1, 3, *size), scale=1)[1]).endswith("px (1x)")


def test_no_result_of_such_a_scale_is_larger_than_4096_px():
    for side in (*range(1, 9000, 7), 16384, 32768):
        scale = scale_for(side, side // 2 + 1)
        assert result_size(side, side // 2 + 1, scale)[0] <= 4096
        assert 0.125 <= scale <= 4  # what Prepare Photo takes
