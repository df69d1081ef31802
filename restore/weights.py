"""Which weights a workflow works with: their names, and checksums of those that can be seen from here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .api import Graph
from .server import CHECKOUT
from .workflow import weights_named

BUNDLED = CHECKOUT / "models" / "bundled" / "nano.safetensors"
BLOCK = 1 << 20


def checksums(graph: Graph, models: Path | None) -> dict[str, str | None]:
    """The sha256 of each file of weights by its name; None for those that are not below `models`.

    A name that stands for a folder gives the .safetensors files in it.
    """
    found: dict[str, str | None] = {}
    if any(node["class_type"] == "UGCSR_LoadNanoModel" for node in graph.values()):
        found[BUNDLED.name] = _sha256(BUNDLED)
    for name in weights_named(graph):
        inside = ".." not in Path(name).parts
        places = sorted(models.glob(f"*/{_literal(name)}")) if models and inside else []
        files = [
            file
            for place in places[:1]
            for file in (sorted(place.glob("*.safetensors")) or [place])
            if file.is_file()
        ]
        found |= {f"{name}/{f.name}" if f.name != Path(name).name else name: _sha256(f) for f in files} or {
            name: None
        }
    return found


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
