"""`python -m ugc_sr.models`: commands that list, fetch, convert and check files of weights."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

try:
    from torch import Tensor
except ModuleNotFoundError:
    sys.exit(
        f"This Python, {sys.executable}, has no PyTorch. Run the command with the Python that runs ComfyUI."
    )

from ..console import keep_printing
from ..doctor import command as doctor
from ..fetch import command as fetch
from . import catalogue, files, repack, weights
from .layout import IMAGE

CONVERT = """Write a published file or a folder of diffusers as one .safetensors file for a loader node.

A pickle (.pt, .pth, .bin, .ckpt) is opened without running code. Everything is checked before anything is
written, and written whole or not at all. Tensors pass through memory one at a time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands.

    Returns:
        The exit status of the command, or 2 after a message of one line on stderr.
    """
    keep_printing()
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.models", description="Weights.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    convert = commands.add_parser(
        "convert",
        help="a published file or folder -> one .safetensors file",
        description=CONVERT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("source", metavar="SRC", type=Path, help="a file, or a folder such as seesr/unet")
    convert.add_argument("target", metavar="DST", type=Path, help="the .safetensors file to write")
    convert.add_argument(
        "--kind", choices=("auto", *weights.OURS), default="auto", help="auto tells by what is in it"
    )
    convert.add_argument("--half", action="store_true", help="store float16: half the size")
    convert.add_argument(
        "--fold",
        action="store_true",
        help="halve the token projections, exactly; for weights trained on SAM2 tokens given twice (SRlab)",
    )
    convert.add_argument(
        "--adapter-only",
        action="store_true",
        help="of a UNet, keep the image attentions alone: the base model comes from its checkpoint",
    )
    convert.add_argument("--force", action="store_true", help="write over DST")
    convert.set_defaults(run=_convert)
    fetch.add_parser(commands)
    known = commands.add_parser("list", help="the published weights and where to get them")
    known.set_defaults(run=_list)
    check = commands.add_parser("check", help="what a file is, and which node loads it")
    check.add_argument("file", metavar="FILE", type=Path, help="a file, or a folder such as seesr/unet")
    check.set_defaults(run=_check)
    doctor.add_parser(commands)
    return parser


def _convert(options: argparse.Namespace) -> None:
    written = repack.convert(
        options.source,
        options.target,
        kind=options.kind,
        half=options.half,
        fold=options.fold,
        adapter_only=options.adapter_only,
        force=options.force,
    )
    print(
        f"{written.path}: {weights.KINDS[written.kind].what}, {_count(written.tensors, written.parameters)}"
    )
    print(f"size   {written.size:,} bytes")
    print(f"sha256 {written.sha256}")
    print(f"Put it where {weights.KINDS[written.kind].loader} looks, then press R in ComfyUI.")


def _list(_: argparse.Namespace) -> None:
    for entry in catalogue.WEIGHTS:
        print(f"{entry.name}  ->  models/{entry.folder}/{entry.saved}")
        for label, text in (
            ("for", entry.purpose),
            ("fetch", catalogue.command(entry.fetch_name)),
            *(("from", " ".join(filter(None, (source.url, source.note)))) for source in entry.sources),
            ("size", catalogue.size_of(entry)),
            ("licence", entry.licence),
            ("sha256", entry.sha256),
        ):
            print(f"    {label:8}{text}")


def _check(options: argparse.Namespace) -> None:
    """Print the kind, the data types and the shape of a file of weights, and the node that loads it.

    Raises:
        UnsupportedWeightsError: if no loader node of this extension loads the file.
    """
    source: Path = options.file.resolve()
    state_dict = repack.read(source)
    kind = weights.detect(state_dict)
    parameters = sum(weight.numel() for weight in state_dict.values())
    print(f"{source}: {weights.describe(state_dict)}, {_count(len(state_dict), parameters)}")
    types = Counter(str(weight.dtype).removeprefix("torch.") for weight in state_dict.values())
    print(f"types  {', '.join(f'{name} ({count})' for name, count in types.most_common())}")
    for part in files.parts(source):
        digest = repack.sha256(part)
        entry = catalogue.recognise(digest)
        print(f"sha256 {digest} {part.name}{f', as published: {entry.name}' if entry else ''}")
    if kind not in weights.OURS:
        raise weights.UnsupportedWeightsError(f"No node of ours loads it. {weights.KINDS[kind].advice}")
    for line in _shape(repack.check(state_dict, kind, source.name), kind):
        print(line)
    safe = all(part.suffix.lower() == files.SAFE for part in files.parts(source))
    print(f"fits   {weights.KINDS[kind].loader}{'' if safe else ', once it is converted'}")


def _shape(checked: Mapping[str, Tensor], kind: str) -> list[str]:
    """Return lines with an encoder's width, or the places of image attentions and their tokens' width."""
    if kind == "encoder":
        return [f"width  {checked['image_encoder.trunk.patch_embed.proj.weight'].shape[0]}"]
    prefix = IMAGE if kind == "controlnet" else ""
    image = {key.removeprefix(prefix): w for key, w in checked.items() if key.startswith(prefix)}
    inputs = {key.partition(".")[0]: w for key, w in image.items() if key.endswith("proj_in.weight")}
    places = ", ".join(f"{place} ({weight.shape[0]})" for place, weight in inputs.items())
    token_dim = next(w.shape[1] for key, w in image.items() if key.endswith("attn2.to_k.weight"))
    return [f"places {places}", f"tokens {token_dim} wide"]


def _count(tensors: int, parameters: int) -> str:
    return f"{tensors} tensors, {parameters / 1e6:.1f} M parameters"


if __name__ == "__main__":
    sys.exit(main())
