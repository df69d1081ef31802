"""Draws graphs of ComfyUI: one description gives the editor's file and its twin in API format."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

PACKAGE, VERSION = "ugc-super-resolution", "0.1.0"
CORE, CORE_VERSION = "comfy-core", "0.30.0"
HOME = uuid.uuid5(uuid.NAMESPACE_DNS, PACKAGE)  # ids of files and subgraphs, the same every time

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
IN, OUT = -10, -20  # the nodes that stand for a subgraph's inputs and outputs

# Pixels of the editor's canvas.
LEFT, TOP, GAP, MARGIN, TITLE = 40, 140, 50, 20, 30
SLOT, WIDGET, TEXT, EDGE = 20, 24, 90, 16
HEAD, NOTE_WIDTH, NOTE_LINE, NOTE_LETTERS = 80, 420, 16, 68
COLORS = ("#3f789e", "#8A8", "#b58b2a", "#a1309b")

# What an app says while a node of that type runs; without it, "Running" or what the type's name suggests.
STAGES = {
    "UGCSR_LoadNanoModel": "Loading the model",
    "UGCSR_PrepareImage": "Enlarging the photo",
    "UGCSR_EncodeSemantics": "Reading what the photo shows",
    "UGCSR_TagPhoto": "Finding words for the photo",
    "VAEEncode": "Encoding the photo",
    "KSampler": "Sampling",
    "VAEDecode": "Decoding the picture",
    "UGCSR_MatchColor": "Matching the colours",
    "UGCSR_BlendRegions": "Putting regions back",
    "UGCSR_FinishImage": "Cutting to size",
    "UGCSR_DegradeImage": "Damaging the photo",
    "UGCSR_PreviewDegradation": "Damaging the photo under several seeds",
    "UGCSR_ScoreImage": "Measuring the result",
    "UGCSR_CompareSheet": "Drawing the sheet",
}


@dataclass(frozen=True, eq=False)
class Socket:
    """An output of a node, or an input of the subgraph around it."""

    node: int
    slot: int
    type: str


@dataclass(frozen=True)
class Input:
    """An input as a node declares it."""

    name: str
    type: str
    optional: bool
    options: Json
    label: str = ""

    @property
    def widget(self) -> bool:
        """Whether the editor draws a widget for it."""
        return self.type.split(",")[0] in WIDGETS

    @property
    def seed(self) -> bool:
        """Whether the editor keeps behind it what it does after each run."""
        return bool(self.options.get("control_after_generate"))

    @property
    def upload(self) -> bool:
        """Whether the editor puts a button behind it."""
        return bool(self.options.get("image_upload"))

    @property
    def height(self) -> int:
        """Pixels that its widget takes."""
        if self.options.get("multiline"):
            return TEXT
        return WIDGET * (1 + self.seed + self.upload)

    def default(self) -> Any:
        """What the widget begins with."""
        if "default" in self.options:
            return self.options["default"]
        return "" if self.type == "STRING" else self.options["options"][0]


@dataclass(eq=False)
class Node:
    """A node of a graph, with the values of its widgets and the sockets that it is connected to."""

    id: int
    type: str
    definition: Json
    values: Json
    title: str
    models: Sequence[Json]
    width: int
    picture: int  # pixels of height for what it shows
    after: str  # what the seed does after each run
    pos: tuple[int, int] = (0, 0)

    def __getitem__(self, output: str) -> Socket:
        slot = self.definition["output_name"].index(output)
        return Socket(self.id, slot, self.definition["output"][slot])

    @property
    def inputs(self) -> list[Input]:
        """In the order in which the node declares them."""
        return list(_inputs(self.definition, self.values))

    @property
    def height(self) -> int:
        """What the editor needs to draw it."""
        rows = max(sum(not one.widget for one in self.inputs), len(self.definition["output"]))
        widgets = sum(one.height for one in self.inputs if one.widget)
        return EDGE + SLOT * rows + widgets + self.picture

    def api(self) -> Json:
        """Values and sockets of all inputs that have one, as the editor exports them."""
        return {one.name: self._value(one) for one in self.inputs if one.widget or one.name in self.values}

    def widget_values(self) -> list[Any]:
        """What the editor saves: a value for each widget, by position, also where a link sets it."""
        values = []
        for one in self.inputs:
            if one.widget:
                value = self._value(one)
                values.append(one.default() if isinstance(value, Socket) else value)
                if one.seed:
                    values.append(self.after)
                if one.upload:
                    values.append("image")
        return values

    def _value(self, one: Input) -> Any:
        return self.values[one.name] if one.name in self.values else one.default()


@dataclass
class Graph:
    """A graph, or a subgraph where it has inputs and outputs.

    Nodes stand below each other in columns, each of which is a group of the editor.
    """

    name: str
    definitions: Mapping[str, Json]  # of all nodes, as the host's /object_info tells
    description: str = ""
    category: str = ""
    note: str = ""
    first: int = 1  # id of the first node; no two nodes of a file share one, in subgraphs neither
    nodes: list[Node] = field(default_factory=list)
    columns: dict[str, tuple[int, list[Node]]] = field(default_factory=dict)
    current: str = ""
    subgraphs: dict[str, Graph] = field(default_factory=dict)
    outer_inputs: list[Input] = field(default_factory=list)
    outer_outputs: list[tuple[str, Socket]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The same every time."""
        return str(uuid.uuid5(HOME, self.name))

    def column(self, title: str, width: int = 320) -> None:
        """Begin a column, or go back to one; nodes that are added stand in it."""
        self.current = title
        self.columns.setdefault(title, (width, []))

    def add(
        self,
        type_: str | Graph,
        called: str = "",
        *,
        picture: int = 0,
        models: Sequence[Json] = (),
        after: str = "fixed",
        **inputs: Any,
    ) -> Node:
        """Add a node; inputs that are not given keep their defaults.

        Raises:
            ValueError: if it has no such input, or one without a default is not given.
        """
        if isinstance(type_, Graph):
            self.subgraphs[type_.id] = type_
            type_, definition, called = type_.id, type_.as_node(), called or type_.name
        else:
            definition = self.definitions[type_]
        width, column = self.columns[self.current]
        node = Node(
            self.first + len(self.nodes), type_, definition, inputs, called, models, width, picture, after
        )
        if unknown := inputs.keys() - {one.name for one in node.inputs}:
            raise ValueError(f"{type_} has no input {', '.join(sorted(unknown))}.")
        for one in node.inputs:
            if not (one.widget or one.optional or one.name in inputs or type_ in self.subgraphs):
                raise ValueError(f"{type_}: {one.name} is not connected.")
        self.nodes.append(node)
        column.append(node)
        return node

    def input(self, name: str, type_: str, like: str = "", **options: Any) -> Socket:
        """Let the subgraph have an input: of a type, or like an input of a node type with other options."""
        if like:
            (found,) = (one for one in _inputs(self.definitions[type_], {}) if one.name == like)
            # The editor keeps no 'control after generate' for a widget of a subgraph.
            type_, options = found.type, found.options | {"control_after_generate": False} | options
        self.outer_inputs.append(Input(name, type_, optional=False, options=options))
        return Socket(IN, len(self.outer_inputs) - 1, type_)

    def output(self, name: str, socket: Socket) -> None:
        """Let the subgraph give what a socket gives."""
        self.outer_outputs.append((name, socket))

    def as_node(self) -> Json:
        """What `definitions` would say of the subgraph as a node."""
        return {
            "display_name": self.name,
            "input": {"required": {one.name: [one.type, one.options] for one in self.outer_inputs}},
            "output": [socket.type for _, socket in self.outer_outputs],
            "output_name": [name for name, _ in self.outer_outputs],
        }

    def to_api(self) -> dict[str, Json]:
        """The graph in API format; nodes of a subgraph are called outer:inner."""
        return dict(self._flat("", {}))

    def _flat(self, prefix: str, given: Json) -> Iterator[tuple[str, Json]]:
        for node in self.nodes:
            inputs = {name: self._resolve(value, prefix, given) for name, value in node.api().items()}
            if subgraph := self.subgraphs.get(node.type):
                yield from subgraph._flat(f"{prefix}{node.id}:", inputs)
            else:
                title = node.title or node.definition["display_name"]
                entry = {"inputs": inputs, "class_type": node.type, "_meta": {"title": title}}
                yield f"{prefix}{node.id}", entry

    def _resolve(self, value: Any, prefix: str, given: Json) -> Any:
        if not isinstance(value, Socket):
            return value
        if value.node == IN:
            return given[self.outer_inputs[value.slot].name]
        node = self.nodes[value.node - self.first]
        if subgraph := self.subgraphs.get(node.type):
            _, inner = subgraph.outer_outputs[value.slot]
            return subgraph._resolve(inner, f"{prefix}{node.id}:", {})
        return [f"{prefix}{node.id}", value.slot]

    def to_editor(self) -> Json:
        """The file of the editor."""
        return _Sheet(self).file()


def _inputs(definition: Json, values: Json) -> Iterator[Input]:
    for group, optional in (("required", False), ("optional", True)):
        for name, (kind, *rest) in definition["input"].get(group, {}).items():
            options = rest[0] if rest else {}
            if kind == "COMFY_AUTOGROW_V3":
                yield from _grown(name, options["template"], values)
            else:
                menu = {"options": kind} if isinstance(kind, list) else {}
                yield Input(name, "COMBO" if menu else str(kind), optional, options | menu)


def _grown(name: str, template: Json, values: Json) -> Iterator[Input]:
    """As many inputs as are connected, and an empty one to connect next."""
    ((kind, *_),) = template["input"]["required"].values()
    connected = sum(key.startswith(f"{name}.") for key in values)
    for number in range(connected + 1):
        label = f"{template['prefix']}{number}"
        yield Input(f"{name}.{label}", kind, number >= template["min"], {}, label)


class _Sheet:
    """Lays a graph out and writes it down."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.links: list[tuple[Socket, int, int]] = []  # from, to node, to slot
        self.groups = list(self._place())
        self.sockets = {node.id: self._sockets(node) for node in graph.nodes}
        for slot, (_, socket) in enumerate(graph.outer_outputs):
            self._link(socket, OUT, slot)
        self.nodes = [self._node(order, node) for order, node in enumerate(graph.nodes)]

    def file(self) -> Json:
        """What the editor saves."""
        graph = self.graph
        nodes = [*self.nodes, *([self._note()] if graph.note else [])]
        inner = [_Sheet(one).subgraph() for one in graph.subgraphs.values()]
        return {
            "id": graph.id,
            "revision": 0,
            "last_node_id": len(nodes),
            "last_link_id": len(self.links),
            "nodes": nodes,
            "links": [
                [number, socket.node, socket.slot, node, slot, socket.type]
                for number, (socket, node, slot) in enumerate(self.links, 1)
            ],
            "groups": self.groups,
            **({"definitions": {"subgraphs": inner}} if inner else {}),
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [NOTE_WIDTH + 2 * GAP, 0]}},
            "version": 0.4,
        }

    def subgraph(self) -> Json:
        """The same as a definition inside another file."""
        graph = self.graph
        right = max(node.pos[0] + node.width for node in graph.nodes) + 2 * GAP
        inputs = [(one.name, one.type) for one in graph.outer_inputs]
        outputs = [(name, socket.type) for name, socket in graph.outer_outputs]
        return {
            "id": graph.id,
            "version": 1,
            "state": {
                "lastGroupId": len(self.groups),
                "lastNodeId": graph.nodes[-1].id,
                "lastLinkId": len(self.links),
                "lastRerouteId": 0,
            },
            "revision": 0,
            "config": {},
            "name": graph.name,
            "inputNode": {"id": IN, "bounding": [LEFT - 240, TOP, 160, EDGE + SLOT * len(inputs)]},
            "outputNode": {"id": OUT, "bounding": [right, TOP, 120, EDGE + SLOT * len(outputs)]},
            "inputs": [self._end(IN, slot, *end, LEFT - 100) for slot, end in enumerate(inputs)],
            "outputs": [self._end(OUT, slot, *end, right + 20) for slot, end in enumerate(outputs)],
            "widgets": [],
            "nodes": self.nodes,
            "groups": self.groups,
            "links": [
                {
                    "id": number,
                    "origin_id": socket.node,
                    "origin_slot": socket.slot,
                    "target_id": node,
                    "target_slot": slot,
                    "type": socket.type,
                }
                for number, (socket, node, slot) in enumerate(self.links, 1)
            ],
            "extra": {},
            "category": graph.category,
            "description": graph.description,
        }

    def _end(self, side: int, slot: int, name: str, type_: str, left: int) -> Json:
        """An input or output of a subgraph."""
        linked = [
            number
            for number, (socket, node, target) in enumerate(self.links, 1)
            if (side, slot) in ((socket.node, socket.slot), (node, target))
        ]
        return {
            "id": str(uuid.uuid5(HOME, f"{self.graph.name} {side} {name}")),
            "name": name,
            "type": type_,
            "linkIds": linked,
            "localized_name": name,
            "pos": [left, TOP + SLOT * (slot + 1)],
        }

    def _place(self) -> Iterator[Json]:
        """Give every node its place, and every column its group."""
        left = LEFT
        for number, (title, (width, nodes)) in enumerate(self.graph.columns.items()):
            top = TOP
            for node in nodes:
                node.pos = left, top
                top += node.height + TITLE + GAP
            tall = top - TITLE - GAP - TOP + HEAD + MARGIN
            yield {
                "id": number + 1,
                "title": title,
                "bounding": [left - MARGIN, TOP - HEAD, width + 2 * MARGIN, tall],
                "color": COLORS[number % len(COLORS)],
                "font_size": 24,
                "flags": {},
            }
            left += width + 2 * MARGIN + GAP

    def _link(self, socket: Socket, node: int, slot: int) -> int:
        self.links.append((socket, node, slot))
        return len(self.links)

    def _sockets(self, node: Node) -> list[Json]:
        sockets: list[Json] = []
        # Plain ones come first, as the editor writes them.
        for one in sorted(node.inputs, key=lambda one: one.widget):
            value = node.values.get(one.name)
            sockets.append(
                {
                    **({"label": one.label} if one.label else {}),
                    "localized_name": one.name,
                    "name": one.name,
                    **({"shape": 7} if one.optional else {}),
                    "type": one.type,
                    **({"widget": {"name": one.name}} if one.widget else {}),
                    "link": self._link(value, node.id, len(sockets)) if isinstance(value, Socket) else None,
                }
            )
            if one.upload:
                upload = {"localized_name": "upload", "name": "upload", "type": "IMAGEUPLOAD"}
                sockets.append({**upload, "widget": {"name": "upload"}, "link": None})
        return sockets

    def _node(self, order: int, node: Node) -> Json:
        outputs = zip(node.definition["output_name"], node.definition["output"], strict=True)
        inner = node.type in self.graph.subgraphs
        package, version = (
            (PACKAGE, VERSION) if inner or node.type.startswith("UGCSR_") else (CORE, CORE_VERSION)
        )
        properties = {"cnr_id": package, "ver": version}
        return {
            "id": node.id,
            "type": node.type,
            "pos": list(node.pos),
            "size": [node.width, node.height],
            "flags": {},
            "order": order,
            "mode": 0,
            "inputs": self.sockets[node.id],
            "outputs": [
                {
                    "localized_name": name,
                    "name": name,
                    "type": type_,
                    "links": self._from(node.id, slot) or None,
                }
                for slot, (name, type_) in enumerate(outputs)
            ],
            **({"title": node.title} if node.title else {}),
            "properties": {
                **properties,
                **({} if inner else {"Node name for S&R": node.type}),
                **({"models": list(node.models)} if node.models else {}),
                **({"Execution Message": STAGES[node.type]} if node.type in STAGES else {}),
            },
            "widgets_values": node.widget_values(),
        }

    def _from(self, node: int, slot: int) -> list[int]:
        """The links that leave a socket."""
        return [
            number
            for number, (socket, _, _) in enumerate(self.links, 1)
            if (socket.node, socket.slot) == (node, slot)
        ]

    def _note(self) -> Json:
        lines = sum(1 + len(line) // NOTE_LETTERS for line in self.graph.note.splitlines())
        return {
            "id": len(self.nodes) + 1,
            "type": "MarkdownNote",
            "pos": [LEFT - NOTE_WIDTH - 2 * GAP, TOP - HEAD],
            "size": [NOTE_WIDTH, NOTE_LINE * lines + HEAD],
            "flags": {},
            "order": len(self.nodes),
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "title": "Read me",
            "properties": {},
            "widgets_values": [self.graph.note],
            "color": "#222",
            "bgcolor": "#000",
        }
