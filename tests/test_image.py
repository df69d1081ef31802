import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from ugc_sr.color import luma
from ugc_sr.image import check_image, from_socket, opaque, resize, to_socket


def test_the_socket_round_trip_is_the_identity():
    image = torch.rand(2, 5, 7, 4)
    assert_close(to_socket(from_socket(image)), image, rtol=0, atol=0)


def test_to_socket_clamps_and_is_float32():
    out = to_socket(torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64).view(1, 3, 1, 1))
    assert out.dtype == torch.float32
    assert out.flatten().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_photos_of_any_precision_come_in_as_float32(dtype):
    image = torch.rand(1, 4, 6, 3)
    check_image(image.to(dtype))
    assert_close(from_socket(image.to(dtype)), from_socket(image), rtol=1e-2, atol=0)


def test_what_is_transparent_is_laid_on_white():
    image = torch.tensor([[0.2, 0.4, 0.6, 0.0], [0.2, 0.4, 0.6, 0.5], [0.2, 0.4, 0.6, 1.0]]).view(3, 1, 1, 4)
    assert_close(opaque(image).flatten(1)[:, 0], torch.tensor([1.0, 0.6, 0.2]))
    assert torch.equal(opaque(image[..., :3]), from_socket(image[..., :3]))


@pytest.mark.parametrize("channels", [3, 4])
def test_photos_of_one_pixel_are_fine(channels):
    check_image(torch.rand(1, 1, 1, channels))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(4, 4, 3), r"^'image' has shape \(4, 4, 3\); expected \(batch"),
        (torch.rand(1, 4, 4, 5), r"'image' has 5 channels; expected 3 \(RGB\) or 4 \(RGBA\)"),
        (torch.rand(1, 4, 4, 1), r"'image' has 1 channels; expected 3"),
        (torch.full((1, 2, 2, 3), torch.inf), r"'image' holds NaN or infinite values"),
    ],
)
def test_bad_images_are_refused_in_words_of_the_graph(image, message):
    with pytest.raises(ValueError, match=message):
        check_image(image)


def test_the_message_names_the_socket():
    with pytest.raises(ValueError, match=r"^'reference' has 2 channels"):
        check_image(torch.rand(1, 2, 2, 2), socket="reference")


def test_luma_is_bt601_studio_range():
    colors = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).view(5, 3, 1, 1)
    expected = torch.tensor([16.0, 235.0, 81.481, 144.553, 40.966]) / 255  # ITU-R BT.601, 8-bit table
    assert_close(luma(colors).flatten(), expected, rtol=0, atol=1e-4)


def test_resize_to_the_same_size_is_exact_and_a_flat_image_stays_flat():
    image = torch.rand(1, 3, 9, 11)
    assert torch.equal(resize(image, 9, 11), image)
    assert_close(resize(torch.full((1, 3, 9, 11), 0.3), 31, 5), torch.full((1, 3, 31, 5), 0.3))


def test_resize_does_not_clamp_the_overshoot_of_an_edge():
    edge = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)], dim=-1)
    assert resize(edge, 32, 64).max() > 1.01


def test_a_device_that_cannot_resize_smoothly_leaves_it_to_the_cpu(monkeypatch):
    image, interpolate = torch.rand(1, 3, 8, 8), F.interpolate
    expected = resize(image, 5, 6)
    moved = []

    def refusing(x, **options):
        if not moved:  # as Apple's GPUs did before PyTorch 2.8
            moved.append(x)
            raise NotImplementedError("The operator 'aten::_upsample_bicubic2d_aa.out' is not implemented")
        return interpolate(x, **options)

    monkeypatch.setattr(F, "interpolate", refusing)
    assert torch.equal(resize(image, 5, 6), expected)
    assert moved
