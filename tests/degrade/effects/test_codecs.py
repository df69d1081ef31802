import os
import subprocess
import sys

import pytest
import torch

from ugc_sr.degrade.effects.codecs import SUBSAMPLING, avif, jpeg, webp
from ugc_sr.degrade.effects.video import CODECS, _context, _drifted, video

# name -> an effect with one number that sets the damage, from little to much
LADDERS = {
    "jpeg": lambda image, step: jpeg(image, (95, 60, 15)[step]),
    "webp": lambda image, step: webp(image, (95, 50, 5)[step]),
    "avif": lambda image, step: avif(image, (95, 50, 5)[step], speed=10),
    **{
        codec: lambda image, step, codec=codec: video(image, codec, (10, 28, 45)[step], "ultrafast")
        for codec in CODECS
    },
}
each_codec = pytest.mark.parametrize("name", LADDERS)


@pytest.fixture
def photo():
    """Edges, a ramp and texture, 64x48, multiples of 1/255."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 6, 8, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    ramp = torch.linspace(0, 0.4, 64)
    image = 0.5 * coarse + ramp + 0.1 * torch.rand(1, 3, 48, 64, generator=generator)
    return image.clamp(0, 1).mul(255).round().div(255)


def error(one, other):
    return (one - other).square().mean().item()


@each_codec
def test_damage_grows_as_quality_falls(name, photo):
    damage = [error(LADDERS[name](photo, step), photo) for step in range(3)]
    assert 0 < damage[0] < damage[1] < damage[2]


@each_codec
def test_what_comes_out_of_a_file_has_eight_bits(name, photo):
    levels = LADDERS[name](photo * 1.2 - 0.1, 1) * 255
    assert levels.min() >= 0
    assert levels.max() <= 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


@each_codec
def test_brightness_does_not_drift(name, photo):
    assert (LADDERS[name](photo, 0) - photo).mean().abs() < 1 / 255


def test_444_keeps_more_colour_than_422_and_that_more_than_420():
    chess = torch.zeros(1, 3, 32, 32)
    chess[:, 0, ::2, ::4] = chess[:, 0, ::2, 1::4] = 1
    damage = [error(jpeg(chess, 90, layout), chess) for layout in SUBSAMPLING]
    assert damage == sorted(damage)
    assert damage[0] < damage[2] / 2


@pytest.mark.parametrize("quality", [10, 50, 85])
def test_the_differentiable_codec_is_close_to_libjpeg(quality, photo):
    soft, hard = jpeg(photo, quality, codec="kornia"), jpeg(photo, quality)
    assert error(soft, hard) < 0.3 * error(hard, photo)


def test_gradients_flow_through_the_differentiable_codec(photo):
    photo.requires_grad_()
    (jpeg(photo, 60, codec="kornia") - 0.5).square().sum().backward()
    assert photo.grad.isfinite().all()
    assert (photo.grad != 0).float().mean() > 0.9


def test_the_differentiable_codec_refuses_colour_it_cannot_store(photo):
    with pytest.raises(ValueError, match=r"codec kornia knows subsampling 4:2:0 only, got 4:4:4"):
        jpeg(photo, 60, "4:4:4", codec="kornia")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda image: webp(image, 50), r"webp: can't save a photo of 70000x1 px .* Make it smaller"),
        (lambda image: jpeg(image, 50), r"jpeg: can't save a photo of 70000x1 px .* Make it smaller"),
        (lambda image: avif(image, 50), r"avif: can't save a photo of 70000x1 px .* Make it smaller"),
        (lambda image: video(image, "h264", 30, "fast"), r"video: h264 can't encode .* 70000x16 px"),
    ],
)
def test_a_photo_too_large_for_a_format_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 3, 1, 70_000))


def test_a_codec_that_this_ffmpeg_lacks_is_refused():
    with pytest.raises(RuntimeError, match=r"this PyAV has no codec libx999. Install the one from PyPI"):
        _context("libx999", "w")


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("motion", [0.0, 1.5])
def test_the_last_frame_of_a_clip_is_the_photo_where_it_was(codec, motion, photo):
    out = video(photo, codec, 12, "veryfast", frames=4, motion=motion)
    here = error(out, photo)
    assert here < 0.004  # chroma at half the size
    for dims, shift in ((2, 1), (2, -1), (3, 1), (3, -1)):
        assert here < error(out, photo.roll(shift, dims)) / 2


def test_more_frames_and_another_path_are_coded_otherwise(photo):
    outs = [
        video(photo, "h264", 30, "veryfast", frames, motion, angle)
        for frames, motion, angle in ((1, 0.0, 0.5), (4, 0.0, 0.5), (4, 1.3, 0.5), (4, 1.3, 2.0))
    ]
    assert all(not torch.equal(one, other) for i, one in enumerate(outs) for other in outs[:i])


def test_a_drift_moves_by_that_many_pixels(photo):
    drifted = _drifted(photo, 3.0, 0.0)
    torch.testing.assert_close(drifted[..., 3:], photo[..., :-3])
    assert torch.equal(drifted[..., :1], photo[..., :1])
    halfway = _drifted(photo, 2.5, torch.pi / 2)
    torch.testing.assert_close(halfway[:, :, 3:], 0.5 * (photo[:, :, :-3] + photo[:, :, 1:-2]))


CLIPS = """
import hashlib, torch
from ugc_sr.degrade.effects.video import video
for size in ((36, 111), (101, 6)):
    photo = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    for codec in ("h264", "h265", "mpeg2", "mpeg4"):
        print(hashlib.sha256(video(photo, codec, 31, "medium", 8, 1.0).numpy()).hexdigest())
"""


@pytest.mark.deep
def test_a_clip_has_the_same_bytes_whatever_was_in_memory():
    """x264 and x265 read memory that they never wrote, unless kept from it; glibc fills it on request."""
    outs = [
        subprocess.check_output(
            [sys.executable, "-c", CLIPS],
            env={**os.environ, "GLIBC_TUNABLES": f"glibc.malloc.perturb={fill}"},
        )
        for fill in (0, 170)
    ]
    assert outs[0] == outs[1]


def test_encoders_print_nothing(photo, capfd):
    for codec in CODECS:
        video(photo, codec, 30, "ultrafast")
    assert capfd.readouterr() == ("", "")
