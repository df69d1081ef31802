"""How the samplers of a graph tell its Finish Photo what they did.

A frame goes from Prepare Photo to Finish Photo, and over Encode Semantics into the MODEL that is sampled.
Each run of a sampler is noted in it, under the sampler's signature in the graph: its node type and inputs,
and those of all nodes before it. The host caches by the same, so that a note belongs to one result.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..sample.report import Sampling
from .tile_run import tile_run

PRESET_KEY = "ugcsr_preset"  # of the preset's name in transformer_options

Runs = dict[str, Sampling]  # by signature


def name_preset(model: Any, name: str) -> None:
    """Let a MODEL, a clone of the caller's own, say which settings it is sampled with."""
    model.model_options["transformer_options"][PRESET_KEY] = name


def note(runs: Runs, transformer_options: Mapping, seconds: float) -> None:
    """Note a run of the sampler that is executed now; nothing where no graph runs."""
    context = get_executing_context()
    if context is not None:
        tiles = tile_run(transformer_options)
        preset = transformer_options.get(PRESET_KEY, "")
        key = _Signatures().of(context.node_id)
        runs[key] = Sampling(preset, len(tiles.boxes) if tiles else 1, seconds)


def noted(runs: Runs, name: str) -> Sampling | None:
    """What is noted of the last sampler before the input `name` of the node that is executed now.

    Its seconds are those of all samplers before that input together.
    """
    context = get_executing_context()
    if context is None or not runs:
        return None
    signatures = _Signatures()
    keys = (signatures.of(node) for node in signatures.before(context.node_id, name))
    found = [runs[key] for key in keys if key in runs]
    return replace(found[0], seconds=sum(run.seconds for run in found)) if found else None


class _Signatures:
    """Those of the nodes of the graph that runs now."""

    def __init__(self) -> None:
        self.graph = get_progress_state().dynprompt
        self.known: dict[str, str] = {}

    def of(self, node: str) -> str:
        """The signature of a node."""
        if node not in self.known:
            entry = self.graph.get_node(node)
            inputs = {
                name: [self.of(value[0]), value[1]] if is_link(value) else value
                for name, value in entry["inputs"].items()
            }
            told = json.dumps([entry["class_type"], inputs], sort_keys=True, default=str)
            self.known[node] = hashlib.sha256(told.encode()).hexdigest()
        return self.known[node]

    def before(self, node: str, name: str) -> Iterator[str]:
        """The nodes that an input depends on, nearest first."""
        ahead = self._sources({name: self.graph.get_node(node)["inputs"].get(name)})
        seen = dict.fromkeys(ahead)
        while ahead:
            yield from ahead
            found = (source for one in ahead for source in self._sources(self.graph.get_node(one)["inputs"]))
            ahead = [source for source in dict.fromkeys(found) if source not in seen]
            seen |= dict.fromkeys(ahead)

    @staticmethod
    def _sources(inputs: Mapping[str, Any]) -> list[str]:
        return [value[0] for value in inputs.values() if is_link(value)]
