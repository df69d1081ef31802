"""Out of memory at one stage of the quick start, in the real host: this photo is restored, and the next."""

import pytest
import torch

from ugc_sr.score.pil_image import from_picture

pytestmark = pytest.mark.comfy

VAE, MODEL, ENCODER = ["2", 2], ["7", 0], ["2", 5]
# stage -> the part that fails, what makes it fail, the sockets that it feeds, what the host's log says then
STAGES = {
    "encode": ("ShortVAE", VAE, {"stage": "encode"}, [("8", "vae")], "tiled VAE encoding"),
    "semantics": ("ShortEncoder", ENCODER, {}, [("4", "encoder")], "without the other models"),
    "diffusion": ("ShortModel", MODEL, {}, [("9", "model")], "going on with tiles of"),
    "decode": ("ShortVAE", VAE, {"stage": "decode"}, [("10", "vae")], "tiled VAE decoding"),
}


@pytest.fixture
def restore(client, pictures):
    return lambda graph: from_picture(pictures(client.run(graph)["13"])[0])


def short_of_memory(graph, stage, times):
    """The graph with a part of one stage that fails the first times."""
    class_type, part, options, sockets, _ = STAGES[stage]
    short = {"class_type": class_type, "inputs": {"part": part, "times": times, **options}}
    made = graph | {"90": short}
    for node, socket in sockets:
        made[node] = made[node] | {"inputs": made[node]["inputs"] | {socket: ["90", 0]}}
    return made


def alike(picture, expected):
    """PSNR of the two."""
    return -10 * (picture - expected).square().mean().clamp_min(1e-12).log10()


@pytest.mark.parametrize("stage", STAGES)
def test_the_photo_is_restored_all_the_same_and_the_next_one_is_as_ever(
    restore, client, host_server, wide_photo, upload_anew, anatomy, stage
):
    graph = anatomy(client.upload(wide_photo))
    expected = restore(graph)
    before = len(host_server.log.read_text())
    short = restore(short_of_memory(graph, stage, times=1))
    said = host_server.log.read_text()[before:]

    assert STAGES[stage][-1] in said
    assert short.shape == expected.shape == (1, 3, 240, 680)
    assert alike(short, expected) > 40
    assert torch.equal(restore(anatomy(upload_anew(wide_photo))), expected)


@pytest.mark.parametrize(("stage", "times", "said"), [("semantics", 2, "reading on the CPU")])
def test_a_second_time_too(restore, client, host_server, wide_photo, anatomy, stage, times, said):
    graph = anatomy(client.upload(wide_photo))
    short = restore(short_of_memory(graph, stage, times))

    assert said in host_server.log.read_text()
    assert alike(short, restore(graph)) > 40


def test_what_cannot_fit_is_one_error_and_the_next_photo_is_restored(restore, client, wide_photo, anatomy):
    graph = anatomy(client.upload(wide_photo))
    with pytest.raises(RuntimeError, match="out of memory"):
        client.run(short_of_memory(graph, "diffusion", times=100))
    assert restore(graph).shape == (1, 3, 240, 680)
