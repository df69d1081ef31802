"""The random base of full size has the shapes of Stable Diffusion 2."""

import pytest
import torch


def shapes(network):
    return {name: tuple(weight.shape) for name, weight in network.state_dict().items()}


@pytest.fixture(scope="module")
def base():
    from benchmarks.random_base import random_base

    with torch.device("meta"):
        return random_base()


def test_the_networks_that_train_are_those_that_the_other_benchmarks_measure(base):
    from benchmarks import networks
    from ugc_sr.models.twins import SemanticControlNet

    with torch.device("meta"):
        unet, controlnet = networks.build()
        ours = SemanticControlNet.from_unet(base.unet, load_weights_from_unet=False)
        assert shapes(ours.add_image_attentions(512)) == shapes(controlnet)
        assert shapes(base.unet.add_image_attentions(512)) == shapes(unet)


def test_what_is_frozen_beside_the_unet_has_the_published_size(base):
    parameters = [sum(p.numel() for p in network.parameters()) for network in (base.vae, base.text_encoder)]
    assert parameters == [83_653_863, 340_387_840]  # of stable-diffusion-2-base
