"""Records of sampler runs, from the samplers of a graph to its Finish Photo.

A frame passes from Prepare Photo to Finish Photo, and through Encode Semantics into the sampled MODEL. Each
run of a sampler is stored in it under the sampler's signature in the graph: its node type and inputs, and
those of all nodes before it. The host's cache uses the same key, so that a record belongs to one result.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from comfy_execution.graph_utils import is_link
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..sample.result_line import Sampling
from .tile_run import tile_run

PRESET_KEY = "ugcsr_preset"  # key of the preset's name in transformer_options

Runs = dict[str, Sampling]  # by signature


def name_preset(model: Any, name: str) -> None:
    """Store the name of the preset in a MODEL, which must be the caller's own clone."""
    model.model_options["transformer_options"][PRESET_KEY] = name


def record_run(runs: Runs, transformer_options: Mapping, seconds: float) -> None:
    """Store a run of the sampler that is executed now; does nothing outside of a graph."""
    context = get_executing_context()
    if context is not None:
        tiles = tile_run(transformer_options)
        preset = transformer_options.get(PRESET_KEY, "")
        key = _Signatures().of(context.node_id)
        runs[key] = Sampling(preset, len(tiles.boxes) if tiles else 1, seconds)


def last_run(runs: Runs, name: str) -> Sampling | None:
    """Return the record of the last sampler before the input `name` of the node that is executed now.

    Its seconds are the sum over all samplers before that input. None if there is no record.
    """
    context = get_executing_context()
    if context is None or not runs:
        return None
    signatures = _Signatures()
    keys = (signatures.of(node) for node in signatures.before(context.node_id, name))
    found = [runs[key] for key in keys if key in runs]
    return replace(found[0], seconds=sum(run.seconds for run in found)) if found else None


class _Signatures:
    """Signatures of the nodes of the graph that is executed now."""

    def __init__(self) -> None:
        self.graph = get_progress_state().dynprompt
        self.known: dict[str, str] = {}

    def of(self, node: str) -> str:
        """Return the signature of a node."""
        if node not in self.known:
            entry = self.graph.get_node(node)
            inputs = {
                name: [self.of(value[0]), value[1]] if is_link(value) else value
                for name, value in entry["inputs"].items()
            }
            text = json.dumps([entry["class_type"], inputs], sort_keys=True, default=str)
            self.known[node] = hashlib.sha256(text.encode()).hexdigest()
        return self.known[node]

    def before(self, node: str, name: str) -> Iterator[str]:
        """Yield the nodes that an input depends on, nearest first."""
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
