"""Records of the table of weights: one published file, and the sources it can be downloaded from."""

from __future__ import annotations

from dataclasses import dataclass

from .files import SAFE, STEM

UNKNOWN = "unknown"
HUB = "https://huggingface.co/"
DRIVE = "https://drive.google.com/drive/folders/"


@dataclass(frozen=True)
class Source:
    """One source of a file: the file's own address, or the address of a Google Drive folder that holds it."""

    url: str
    inside: str = ""  # Google Drive only: the sub-folder that holds the network
    size: int | None = None  # bytes; None where it is not known
    sha256: str = UNKNOWN
    note: str = ""

    @property
    def file(self) -> str:
        """The name of the file; empty for a folder, which must be listed first."""
        return "" if self.url.startswith(DRIVE) else self.url.rsplit("/", 1)[1]

    @property
    def page(self) -> str:
        """The address of the page to open in a browser."""
        return self.url.partition("/resolve/")[0] if self.url.startswith(HUB) else self.url


@dataclass(frozen=True)
class Weights:
    """One published file, or one folder in diffusers' layout."""

    name: str  # as published
    kind: str  # one of models.weights.KINDS, or "clip vision"
    purpose: str
    page: str  # shown in tables and reports, with the page of the publisher
    folder: str  # below ComfyUI's models/
    saved: str  # its name in that folder, and in the loader's list
    licence: str
    sources: tuple[Source, ...]  # in the order in which they are tried
    sets: tuple[str, ...] = ()  # the sets it belongs to
    estimate: int = 0  # bytes of float32 weights of the network's shapes, where no source states a size
    stored_size: int = 0  # bytes of the float16 weights that remain, where a conversion leaves some out

    @property
    def target(self) -> str:
        """The path of the file that `fetch` writes, relative to models/."""
        inner = "" if self.saved.endswith(SAFE) else f"/{STEM}{SAFE}"
        return f"{self.folder}/{self.saved}{inner}"

    @property
    def fetch_name(self) -> str:
        """The name to give to `fetch`: the first set of the file, or its own name if it is in none."""
        return self.sets[0] if self.sets else self.saved

    def takes_as_is(self, source: Source) -> bool:
        """Return True if the source's file is stored unchanged, False if it has to be converted."""
        return source.file.endswith(SAFE) and self.saved.endswith(SAFE)

    @property
    def size(self) -> int | None:
        """The size of the published file in bytes; None if it is unknown."""
        return next((source.size for source in self.sources if source.size), None)

    @property
    def sha256(self) -> str:
        """The sha256 of the published file, in hexadecimal digits; `UNKNOWN` if no source states it."""
        return next((source.sha256 for source in self.sources if source.sha256 != UNKNOWN), UNKNOWN)

    @property
    def download(self) -> dict[str, str] | None:
        """The entry for a workflow's `properties.models`; None if the host's dialog can't download the file.

        The dialog downloads only from hubs such as Hugging Face, and never a folder in diffusers' layout; the
        loaders of this extension open .safetensors only.
        """
        url = next((s.url for s in self.sources if s.url.startswith(HUB) and s.file.endswith(SAFE)), None)
        if url is None or not self.saved.endswith(SAFE):
            return None
        return {"name": url.rsplit("/", 1)[1], "url": url, "directory": self.folder}
