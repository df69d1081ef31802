"""What is known of one file of published weights, and of each place to get it from."""

from __future__ import annotations

from dataclasses import dataclass

from .files import SAFE, STEM

UNKNOWN = "unknown"
HUB = "https://huggingface.co/"
DRIVE = "https://drive.google.com/drive/folders/"


@dataclass(frozen=True)
class Source:
    """One place to get a file from: its own address, or a folder of Google Drive that it lies in."""

    url: str
    inside: str = ""  # of a folder of Google Drive: the folder in it with the network
    size: int | None = None  # bytes; None where it is not known
    sha256: str = UNKNOWN
    note: str = ""

    @property
    def file(self) -> str:
        """The name of the file; empty where a folder has to be listed first."""
        return "" if self.url.startswith(DRIVE) else self.url.rsplit("/", 1)[1]

    @property
    def page(self) -> str:
        """What to open in a browser."""
        return self.url.partition("/resolve/")[0] if self.url.startswith(HUB) else self.url


@dataclass(frozen=True)
class Weights:
    """One file, or one folder of diffusers, to get."""

    name: str  # as published
    kind: str  # of models.weights.KINDS, or "clip vision"
    purpose: str
    page: str  # for a person to read or to get it from
    folder: str  # below ComfyUI's models/
    saved: str  # what it is called there, and in the loader's list
    licence: str
    sources: tuple[Source, ...]  # in the order in which they are tried
    sets: tuple[str, ...] = ()  # that it belongs to
    estimate: int = 0  # bytes where no source states them: float32 weights of the network's shapes
    kept: int = 0  # bytes after the conversion, where that leaves something out: of the shapes, in float16

    @property
    def target(self) -> str:
        """The file that `fetch` writes, below models/."""
        inner = "" if self.saved.endswith(SAFE) else f"/{STEM}{SAFE}"
        return f"{self.folder}/{self.saved}{inner}"

    @property
    def asked_for(self) -> str:
        """What to tell `fetch`: its set, with all that it is used with; or its own name."""
        return self.sets[0] if self.sets else self.saved

    def takes_as_is(self, source: Source) -> bool:
        """Whether the source's file is stored unchanged; others are converted."""
        return source.file.endswith(SAFE) and self.saved.endswith(SAFE)

    @property
    def url(self) -> str | None:
        """Of the file itself; None where there is only a page with a button."""
        return self.sources[0].url if self.sources[0].file else None

    @property
    def size(self) -> int | None:
        """Of the published file in bytes; None where it is not known."""
        return next((source.size for source in self.sources if source.size), None)

    @property
    def sha256(self) -> str:
        """Of the published file."""
        return next((source.sha256 for source in self.sources if source.sha256 != UNKNOWN), UNKNOWN)

    @property
    def note(self) -> str:
        """What is to be said of where it comes from first."""
        return self.sources[0].note

    @property
    def repacked(self) -> str | None:
        """The same as .safetensors, by a third party, where a pickle is published."""
        safe = (source.url for source in self.sources if source.file.endswith(SAFE))
        return None if self.sources[0].file.endswith(SAFE) else next(safe, None)

    @property
    def download(self) -> dict[str, str] | None:
        """What a workflow's `properties.models` says; None where the host's dialog can't fetch it.

        The dialog fetches from hubs such as Hugging Face alone, and into no folder of diffusers; our loaders
        open .safetensors alone.
        """
        url = next((s.url for s in self.sources if s.url.startswith(HUB) and s.file.endswith(SAFE)), None)
        if url is None or not self.saved.endswith(SAFE):
            return None
        return {"name": url.rsplit("/", 1)[1], "url": url, "directory": self.folder}
