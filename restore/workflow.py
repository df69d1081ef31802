"""A workflow that loads one photo and saves one: found by name or file, with the user's settings applied."""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..files import parse_json, read_text
from ..sample.presets import Graph
from .server import CHECKOUT

SUFFIX = ".api.json"
SHIPPED = {file.name.removesuffix(SUFFIX): file for file in sorted(Path(__file__).parent.glob(f"*{SUFFIX}"))}
ENDS = {"LoadImage": "Load Image", "SaveImage": "Save Image"}
RESULTS = ("SaveImage", "PreviewImage")  # the latter in place of the former, for results that nobody keeps
AUTO, AUTO_VALUE = "auto", 0.0  # a scale by each photo's size: as an option, and in Prepare Photo
SEEDS = ("seed", "noise_seed")  # inputs after which the editor adds a menu, except on subgraphs
COMPARE, COMPARISON = "ImageCompare", "IMAGECOMPARE"  # a display-only slider, and its widget


@dataclass(frozen=True, eq=False)
class Workflow:
    """A graph in API format and, if known, in the editor's format."""

    name: str  # name of the shipped workflow, or of the file
    graph: Graph
    # The same in the editor's format, with the same node ids; None if unknown.
    editor: dict[str, Any] | None = None

    def for_size(self, width: int, height: int) -> Workflow:
        """Return the workflow with the scale for a photo of this size in pixels, if its scale is auto."""
        from ..sample.frame import scale_for  # imports torch, which takes seconds

        if self.settings()["scale"] != AUTO:
            return self
        return adjust(self, scale=scale_for(width, height))

    @property
    def end(self) -> str:
        """The id of the node that saves the result."""
        return next(key for key, node in self.graph.items() if node["class_type"] in RESULTS)

    def for_photo(self, name: str) -> tuple[Graph, dict[str, Any] | None]:
        """Return (graph, editor) that load an uploaded photo of that name; `editor` may be None."""
        graph = copy.deepcopy(self.graph)
        for node in _all(graph, "LoadImage"):
            node["inputs"]["image"] = name
        return graph, _follow(self.editor, graph) if self.editor else None

    def sha256(self) -> str:
        """The checksum of everything that determines the result, except the photo."""
        graph, _ = self.for_photo("")
        deciding = {node: (entry["class_type"], entry["inputs"]) for node, entry in graph.items()}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """The preset, scale and seed of the workflow; None for those that it has no input for."""
        scale = _first(self.graph, "UGCSR_PrepareImage", "scale")
        own = "nano" if _all(self.graph, "UGCSR_LoadNanoModel") else None  # the bundled model's only preset
        return {
            "preset": _first(self.graph, "UGCSR_RestorationPreset", "preset") or own,
            "scale": AUTO if scale == AUTO_VALUE else scale,
            "seed": _first(self.graph, None, *SEEDS),
        }


def fitting() -> list[str]:
    """Return the names of the shipped workflows that load one photo and save one."""
    graphs = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in SHIPPED.items()}
    return [name for name, graph in graphs.items() if all(len(_all(graph, kind)) == 1 for kind in ENDS)]


def find(name: str) -> Workflow:
    """Return a shipped workflow by name, or any workflow by its file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it isn't a workflow in API format that loads one photo and saves one.
    """
    file = SHIPPED.get(name, Path(name))
    if not file.is_file():
        raise FileNotFoundError(
            f"--workflow {name}: no such file and no such name; known are {', '.join(fitting())}."
        )
    try:
        graph = read_graph(file)
    except ValueError as error:
        raise ValueError(f"--workflow {name}: {error}") from None
    twin = CHECKOUT / "workflows" / f"{name}.json" if name in SHIPPED else None
    editor = json.loads(twin.read_text(encoding="utf-8")) if twin and twin.is_file() else None
    return Workflow(name if name in SHIPPED else file.name, graph, editor)


def read_graph(file: Path) -> Graph:
    """Return a graph in API format with one Load Image and one Save Image; its sliders are removed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no workflow '{file}'.")
    try:
        graph = parse_json(read_text(file))
    except ValueError as error:
        raise ValueError(f"'{file}' is no JSON: {error}.") from None
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise ValueError(
            f"'{file}' is in the editor's format. "
            "Open it in ComfyUI, choose Workflow > Export (API), and give that file."
        )
    nodes = graph.values() if isinstance(graph, dict) and graph else [None]
    if not all(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in nodes):
        raise ValueError(f"'{file}' is no workflow in ComfyUI's API format.")
    for kind, title in ENDS.items():
        if (count := len(_all(graph, kind))) != 1:
            raise ValueError(
                f"'{file}' has {count} {title} nodes where one is wanted: one photo goes in, one comes out."
            )
    return {key: node for key, node in graph.items() if node["class_type"] != COMPARE}


def adjust(
    workflow: Workflow, *, preset: str | None = None, scale: float | None = None, seed: int | None = None
) -> Workflow:
    """Return the workflow with these settings; None keeps the workflow's own value.

    The scale of a shipped workflow isn't a choice of the user's, so None sets it to auto there.

    Raises:
        ValueError: if it has no input for one of the settings.
    """
    graph = copy.deepcopy(workflow.graph)
    scaled = _places(graph, "UGCSR_PrepareImage", "scale")
    if scale is None and scaled and workflow.name in SHIPPED:
        scale = AUTO_VALUE
    preset = None if preset == workflow.settings()["preset"] else preset
    seeds = [place for name in SEEDS for place in _places(graph, None, name)]
    for option, node, value, places in (
        ("preset", "Restoration Preset", preset, _places(graph, "UGCSR_RestorationPreset", "preset")),
        ("scale", "Prepare Photo", scale, scaled),
        ("seed", "KSampler", seed, seeds),
    ):
        if value is not None and not places:
            raise ValueError(
                f"--{option}: workflow '{workflow.name}' has no {node} whose value could be set. "
                "Leave it out, or choose a workflow that has one."
            )
        for inputs, name in places if value is not None else ():
            inputs[name] = value
    return replace(workflow, graph=graph)


def anew(graph: Graph, node: str) -> Graph:
    """Return the graph with a change that only invalidates the host's cache of that node.

    The cache doesn't notice that a saved file was deleted.
    """
    changed = copy.deepcopy(graph)
    changed[node]["inputs"]["anew"] = uuid.uuid4().hex  # not an input of any node, so the host ignores it
    return changed


def _places(graph: Graph, kind: str | None, name: str) -> list[tuple[dict[str, Any], str]]:
    """Return the inputs of that name that hold a value instead of a link."""
    return [
        (node["inputs"], name)
        for node in graph.values()
        if kind in (None, node["class_type"]) and not isinstance(node["inputs"].get(name, []), list)
    ]


def _first(graph: Graph, kind: str | None, *names: str) -> Any:
    places = (place for name in names for place in _places(graph, kind, name))
    return next((inputs[name] for inputs, name in places), None)


def only(graph: Graph, kind: str) -> str:
    """Return the id of the only node of that class."""
    (found,) = (key for key, node in graph.items() if node["class_type"] == kind)
    return found


def _all(graph: Graph, kind: str) -> list[dict[str, Any]]:
    return [node for node in graph.values() if node["class_type"] == kind]


def _follow(editor: Mapping[str, Any], graph: Graph) -> dict[str, Any] | None:
    """Return the editor's file with the graph's values, stored by position; None if that is ambiguous."""
    followed = copy.deepcopy(dict(editor))
    subgraphs = {one["id"]: one for one in followed.get("definitions", {}).get("subgraphs", ())}
    seen: set[int] = set()
    for prefix, node, inputs in _editor_nodes(followed["nodes"], "", subgraphs, graph):
        before = node.get("widgets_values") or []
        values = _widget_values(node, inputs, subgraph=node["type"] in subgraphs)
        again = id(node) in seen  # a node of a subgraph that is used more than once
        if len(values) != len(before) or (again and values != before):
            return None
        node["widgets_values"] = values
        if prefix:
            seen.add(id(node))
    return followed


def _editor_nodes(
    nodes: Sequence[dict[str, Any]], prefix: str, subgraphs: Mapping[str, Any], graph: Graph
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the nodes of the editor's file that the graph contains, with the graph's values for them."""
    for node in nodes:
        key = f"{prefix}{node['id']}"
        if definition := subgraphs.get(node["type"]):
            yield prefix, node, dict(_promoted(definition, f"{key}:", graph))
            yield from _editor_nodes(definition["nodes"], f"{key}:", subgraphs, graph)
        elif key in graph:
            yield prefix, node, graph[key]["inputs"]


def _promoted(definition: Mapping[str, Any], prefix: str, graph: Graph) -> Iterator[tuple[str, Any]]:
    """Yield the graph's values for the inputs of a subgraph, from the first node that each is linked to."""
    nodes = {node["id"]: node for node in definition["nodes"]}
    targets = {link["id"]: (link["target_id"], link["target_slot"]) for link in definition["links"]}
    for one in definition["inputs"]:
        target, slot = targets[one["linkIds"][0]]
        inner = graph.get(f"{prefix}{target}", {}).get("inputs", {})
        if (name := nodes[target]["inputs"][slot]["name"]) in inner:
            yield one["name"], inner[name]


def _widget_values(node: Mapping[str, Any], inputs: Mapping[str, Any], *, subgraph: bool) -> list[Any]:
    """Return a value for each widget: the graph's, or the saved one if a link sets it."""
    values: list[Any] = []
    kept = iter(node.get("widgets_values") or [])
    for socket in node.get("inputs", []):
        if "widget" not in socket or socket["type"] == COMPARISON:
            continue
        before, name = next(kept, None), socket["name"]
        linked = socket.get("link") is not None or isinstance(inputs.get(name, []), list)
        values.append(before if linked else inputs[name])
        if name in SEEDS and not subgraph:
            values.append(next(kept, None))
    return values
