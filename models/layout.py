"""The keys and shapes of a whole network in the host's layout, derived from a few of its weights.

They are written down because nothing else states them: `models` imports neither ComfyUI nor, for nodes,
diffusers, and under DynamicVRAM ComfyUI's layers have no shapes until they are loaded.
"""

from collections.abc import Mapping

from torch import Tensor

from . import weights
from .architecture import image_attention, infer
from .convert import StateDict, from_diffusers, unet_from_diffusers
from .weights import UnsupportedWeightsError

Shapes = dict[str, tuple[int, ...]]

IMAGE = "image_attentions."
_HINT = "input_hint_block."


def converted(state_dict: Mapping[str, Tensor], kind: str, name: str) -> StateDict:
    """Return the weights of an adapter or ControlNet in the host's layout, after every check.

    Args:
        state_dict: a file in the layout of diffusers.
        kind: "adapter" or "controlnet".
        name: of the file, for messages.

    Raises:
        UnsupportedWeightsError: if it is of another kind, or a key or shape doesn't fit the network.
    """
    weights.require(state_dict, kind, name)
    try:
        if kind == "adapter":
            made = unet_from_diffusers(state_dict)[1]
            expected = adapter(made)
        else:
            made = from_diffusers(state_dict)
            expected = controlnet(made)
    except UnsupportedWeightsError as refusal:
        raise UnsupportedWeightsError(f"'{name}': {refusal}") from refusal
    except (LookupError, ArithmeticError, TypeError) as error:
        raise UnsupportedWeightsError(f"'{name}': It has weights of odd shapes ({error}).") from error
    weights.compare(expected, made, name)
    return made


def adapter(state_dict: Mapping[str, Tensor]) -> Shapes:
    """Return the keys and shapes of every image attention ("input_4...") that `state_dict` has a key of.

    Raises:
        UnsupportedWeightsError: if weights that define a size are missing, or heads have another width.
    """
    shapes: Shapes = {}
    token_dim = None  # one for all
    for site in dict.fromkeys(key.partition(".")[0] for key in state_dict):
        size = image_attention(state_dict, site)
        token_dim = token_dim or size.token_dim
        shapes |= _transformer(site, size.channels, token_dim, size.depth, size.linear)
    return shapes


def controlnet(state_dict: Mapping[str, Tensor]) -> Shapes:
    """Return the keys and shapes of a ControlNet with image attentions.

    Raises:
        UnsupportedWeightsError: if weights that define a size are missing, or heads have another width.
    """
    sizes = infer(state_dict)
    base = sizes["model_channels"]
    context, linear = sizes["context_dim"], sizes["use_linear_in_transformer"]
    depths = iter(sizes["transformer_depth"])
    channels, widths = base, [base]  # channels of the current block; channels of every block so far
    shapes = _conv("input_blocks.0.0", sizes["in_channels"], base, 3) | _hint(state_dict, base)
    shapes |= _linear("time_embed.0", base, 4 * base) | _linear("time_embed.2", 4 * base, 4 * base)
    for level, count in enumerate(sizes["num_res_blocks"]):
        if level:
            shapes |= _conv(f"input_blocks.{len(widths)}.0.op", channels, channels, 3)
            widths.append(channels)
        for _ in range(count):
            block, depth = f"input_blocks.{len(widths)}", next(depths)
            wide = sizes["channel_mult"][level] * base
            shapes |= _resnet(f"{block}.0", channels, wide, 4 * base)
            if depth:
                shapes |= _transformer(f"{block}.1", wide, context, depth, linear)
            channels = wide
            widths.append(channels)
    for n in (0, 2):
        shapes |= _resnet(f"middle_block.{n}", channels, channels, 4 * base)
    shapes |= _transformer("middle_block.1", channels, context, sizes["transformer_depth_middle"], linear)
    for n, width in enumerate(widths):
        shapes |= _conv(f"zero_convs.{n}.0", width, width, 1)
    shapes |= _conv("middle_block_out.0", channels, channels, 1)
    image = {key.removeprefix(IMAGE): w for key, w in state_dict.items() if key.startswith(IMAGE)}
    return shapes | {f"{IMAGE}{key}": shape for key, shape in adapter(image).items()}


def _hint(state_dict: Mapping[str, Tensor], out: int) -> Shapes:
    """Return the keys and shapes of the hint embedding, a chain of convolutions of any widths."""
    last = max((int(key.split(".")[1]) for key in state_dict if key.startswith(_HINT)), default=0)
    shapes, channels = {}, 3
    for number in range(0, last + 1, 2):
        wide = out if number == last else _get(state_dict, f"{_HINT}{number}.weight").shape[0]
        shapes |= _conv(f"{_HINT}{number}", channels, wide, 3)
        channels = wide
    return shapes


def _resnet(name: str, channels: int, out: int, embedding: int) -> Shapes:
    shapes = _norm(f"{name}.in_layers.0", channels) | _conv(f"{name}.in_layers.2", channels, out, 3)
    shapes |= _linear(f"{name}.emb_layers.1", embedding, out)
    shapes |= _norm(f"{name}.out_layers.0", out) | _conv(f"{name}.out_layers.3", out, out, 3)
    if channels != out:
        shapes |= _conv(f"{name}.skip_connection", channels, out, 1)
    return shapes


def _transformer(name: str, channels: int, context: int, depth: int, linear: bool) -> Shapes:
    shapes = _norm(f"{name}.norm", channels)
    for part in (f"{name}.proj_in", f"{name}.proj_out"):
        shapes |= _linear(part, channels, channels) if linear else _conv(part, channels, channels, 1)
    for n in range(depth):
        block = f"{name}.transformer_blocks.{n}"
        for part in ("norm1", "norm2", "norm3"):
            shapes |= _norm(f"{block}.{part}", channels)
        for attention, source in (("attn1", channels), ("attn2", context)):
            shapes[f"{block}.{attention}.to_q.weight"] = (channels, channels)
            shapes[f"{block}.{attention}.to_k.weight"] = (channels, source)
            shapes[f"{block}.{attention}.to_v.weight"] = (channels, source)
            shapes |= _linear(f"{block}.{attention}.to_out.0", channels, channels)
        shapes |= _linear(f"{block}.ff.net.0.proj", channels, 8 * channels)
        shapes |= _linear(f"{block}.ff.net.2", 4 * channels, channels)
    return shapes


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _linear(name: str, channels: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, channels), f"{name}.bias": (out,)}


def _conv(name: str, channels: int, out: int, size: int) -> Shapes:
    return {f"{name}.weight": (out, channels, size, size), f"{name}.bias": (out,)}


def _get(state_dict: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state_dict:
        raise UnsupportedWeightsError(f"The network lacks '{key}'. The file is incomplete; get it again.")
    return state_dict[key]
