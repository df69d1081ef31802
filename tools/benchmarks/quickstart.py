"""The quick-start graph as a function, computed by the host's own sampling."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.encoder import encode
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.nano import LoadedNano, sharpened
from ugc_sr.image import from_socket, to_socket
from ugc_sr.models.semantics import Semantics
from ugc_sr.sample.color_match import match
from ugc_sr.sample.frame import finish, fit

from .sampling import sample

Tokens = Callable[[Semantics], Semantics]

# The options of `restore` for the bundled model's truest and sharpest results.
TRUE, SHARP = "nano, true end", "nano, sharp end"
ENDS = {TRUE: {"steps": 0}, "nano, as shipped": {"sharpness": 0.75}, SHARP: {"steps": 1}}


@torch.inference_mode()
def restore(nano: LoadedNano, lr: Tensor, scale: float = 4, **options: Any) -> Tensor:
    """Return the graph's result (B, 3, scale * h, scale * w) for (B, 3, h, w), both in [0, 1].

    The options are those of `sampled`.
    """
    hint, frame = fit(lr, scale)
    picture = sampled(nano, lr, scale, **options)
    return finish(match(picture, hint, "wavelet"), frame).clamp(0, 1)


def sampled(
    nano: LoadedNano,
    lr: Tensor,
    scale: float = 4,
    *,
    steps: int = 1,
    seed: int = 0,
    sharpness: float = 1.0,
    tokens: Tokens | None = None,
) -> Tensor:
    """Return the graph's output of VAE Decode, on the padded canvas, before Match Color.

    With steps 0 only the VAE runs, and the output is the anchor.
    """
    hint, _ = fit(lr, scale)
    latent = nano.vae.encode(to_socket(hint))
    if steps:
        semantics = encode(nano.encoder, lr)
        semantics = tokens(semantics) if tokens else semantics
        model = apply_guidance(sharpened(nano.model, sharpness), nano.adapter, semantics)
        prompts = apply_controlnet([nano.conditioning] * 2, nano.control_net, hint, semantics)
        method = "euler", "simple"
        latent = sample(model, prompts, latent, steps=steps, cfg=1.0, seed=seed, method=method)
    return from_socket(nano.vae.decode(latent))


def zero(semantics: Semantics) -> Semantics:
    """Return semantics whose tokens are zero."""
    return replace(semantics, tokens=torch.zeros_like(semantics.tokens))


def shuffled(semantics: Semantics) -> Semantics:
    """Return semantics with the tokens and the channels in another order."""
    generator = torch.Generator().manual_seed(0)
    _, count, width = semantics.tokens.shape
    rows, columns = torch.randperm(count, generator=generator), torch.randperm(width, generator=generator)
    return replace(semantics, tokens=semantics.tokens[:, rows][:, :, columns])
