"""Shipped graphs in API format, run node by node in this process."""

import asyncio
import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, inference_mode, zeros

from .bootstrap import ROOT

Graph = dict[str, dict[str, Any]]


@dataclass
class Run:
    """The results of a graph: outputs and seconds by node, inputs by class of node."""

    outputs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)


def shipped(name: str, **changes: Mapping[str, Any]) -> Graph:
    """Return a shipped graph with inputs changed by class of node, such as KSampler={"cfg": 2.0}."""
    graph = json.loads((ROOT / "restore" / f"{name}.api.json").read_text())
    for node in graph.values():
        node["inputs"] |= changes.get(node["class_type"], {})
    return graph


def node_classes() -> dict[str, Any]:
    """Return id -> class of the host's own nodes, its TorchCompileModel and the extension's nodes."""
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    import ugc_sr

    own: Any = importlib.import_module("nodes")  # the host's module; the checkout has one of the same name
    extension = asyncio.run(ugc_sr.comfy_entrypoint())
    ours = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
    return {**own.NODE_CLASS_MAPPINGS, "TorchCompileModel": TorchCompileModel, **ours}


@inference_mode()
def execute(
    graph: Graph,
    photo: Tensor,
    classes: Mapping[str, Any],
    known: Mapping[str, tuple[Any, ...]],
    wait: Callable[[], None] = lambda: None,
) -> Run:
    """Run the nodes that Save Image depends on.

    Args:
        graph: the graph in API format.
        photo: (B, H, W, 3) in [0, 1], the output of Load Image.
        classes: node id -> class.
        known: key in the graph -> outputs of nodes that need not run.
        wait: returns when the device has finished its work.
    """
    run = Run(outputs=dict(known))

    def value(given: Any) -> Any:
        linked = isinstance(given, list) and len(given) == 2 and given[0] in graph
        return output(given[0])[given[1]] if linked else given

    def output(key: str) -> tuple[Any, ...]:
        if key not in run.outputs:
            kind = graph[key]["class_type"]
            inputs = {name: value(given) for name, given in graph[key]["inputs"].items()}
            started = time.perf_counter()
            if kind == "LoadImage":
                run.outputs[key] = photo, zeros(photo.shape[:3])
            else:
                run.outputs[key] = () if kind == "SaveImage" else call(classes[kind], inputs)
            wait()
            run.seconds[key] = time.perf_counter() - started
            run.inputs[kind] = inputs
        return run.outputs[key]

    for key, node in graph.items():
        if node["class_type"] == "SaveImage":
            output(key)
    return run


def call(node: Any, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the outputs of a node class for these inputs; it may use the host's V1 or V3 interface."""
    if hasattr(node, "GET_SCHEMA"):
        return node.execute(**inputs).result
    return getattr(node(), node.FUNCTION)(**inputs)
