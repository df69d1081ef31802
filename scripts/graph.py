"""Describes graphs of ComfyUI: `canvas` draws one for the editor, `Graph.to_api` gives its API format."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

PACKAGE = "ugc-super-resolution"
HOME = uuid.uuid5(uuid.NAMESPACE_DNS, PACKAGE)  # ids of files and subgraphs, the same every time

COMPARISON = "IMAGECOMPARE"  # the slider of Image Compare
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", COMPARISON)
IN, OUT = -10, -20  # the nodes that stand for a subgraph's inputs and outputs

# Pixels of the editor's canvas that a node takes.
SLOT, WIDGET, TEXT, COMPARED, EDGE = 20, 24, 90, 350, 16


@dataclass(frozen=True, eq=False)
class Socket:
    """An output of a node, or an input of the subgraph around it."""

    node: int
    slot: int
    type: str
    value: Any = None  # what an input of the subgraph begins with, if it is a widget


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
        return COMPARED if self.type == COMPARISON else WIDGET * (1 + self.seed + self.upload)

    def default(self) -> Any:
        """What the widget begins with."""
        if "default" in self.options:
            return self.options["default"]
        if self.type == COMPARISON:
            return {"__value__": ["", ""]}  # how the editor writes a list that is no link
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
    labels: dict[str, str] = field(default_factory=dict)  # words in place of an input's name
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
                if isinstance(value, Socket):
                    value = one.default() if value.value is None else value.value
                if one.type == COMPARISON:
                    continue  # the editor fills it and saves nothing
                values.append(value)
                if one.seed:
                    values.append(self.after)
                if one.upload:
                    values.append("image")
        return values

    def _value(self, one: Input) -> Any:
        return self.values[one.name] if one.name in self.values else one.default()


@dataclass(frozen=True, eq=False)
class Column:
    """Nodes below each other, a group of the editor if framed; what its note says; where it begins."""

    width: int
    says: str
    down: int
    framed: bool
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class App:
    """What the editor's app shows of a graph.

    Attributes:
        inputs: (node, input, words about it), in their order.
        outputs: the nodes whose results it shows.
        first: whether the graph opens as its app.
    """

    inputs: Sequence[tuple[Node, str, str]]
    outputs: Sequence[Node]
    first: bool


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
    columns: dict[str, Column] = field(default_factory=dict)
    current: str = ""
    subgraphs: dict[str, Graph] = field(default_factory=dict)
    outer_inputs: list[Input] = field(default_factory=list)
    outer_outputs: list[tuple[str, Socket]] = field(default_factory=list)
    app: App | None = None

    @property
    def id(self) -> str:
        """The same every time."""
        return str(uuid.uuid5(HOME, self.name))

    def column(
        self, title: str, width: int = 320, says: str = "", *, down: int = 0, framed: bool = True
    ) -> None:
        """Begin a column, so many pixels down, or go back to one; nodes that are added stand in it."""
        self.current = title
        self.columns.setdefault(title, Column(width, says, down, framed))

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
        column = self.columns[self.current]
        number, width = self.first + len(self.nodes), column.width
        node = Node(number, type_, definition, inputs, called, models, width, picture, after)
        if unknown := inputs.keys() - {one.name for one in node.inputs}:
            raise ValueError(f"{type_} has no input {', '.join(sorted(unknown))}.")
        for one in node.inputs:
            if not (one.widget or one.optional or one.name in inputs or type_ in self.subgraphs):
                raise ValueError(f"{type_}: {one.name} is not connected.")
        self.nodes.append(node)
        column.nodes.append(node)
        return node

    def input(self, name: str, type_: str, like: str = "", **options: Any) -> Socket:
        """Let the subgraph have an input: of a type, or like an input of a node type with other options."""
        if like:
            (found,) = (one for one in _inputs(self.definitions[type_], {}) if one.name == like)
            # The editor keeps no 'control after generate' for a widget of a subgraph.
            type_, options = found.type, found.options | {"control_after_generate": False} | options
        made = Input(name, type_, optional=False, options=options)
        self.outer_inputs.append(made)
        return Socket(IN, len(self.outer_inputs) - 1, type_, made.default() if made.widget else None)

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
            inputs = {
                name: self._resolve(value, prefix, given)
                for name, value in node.api().items()
                if not self._open(value, given)
            }
            if subgraph := self.subgraphs.get(node.type):
                yield from subgraph._flat(f"{prefix}{node.id}:", inputs)
            else:
                title = node.title or node.definition["display_name"]
                entry = {"inputs": inputs, "class_type": node.type, "_meta": {"title": title}}
                yield f"{prefix}{node.id}", entry

    def _open(self, value: Any, given: Json) -> bool:
        """Whether it is an input of the subgraph that nothing is connected to."""
        inner = isinstance(value, Socket) and value.node == IN
        return inner and self.outer_inputs[value.slot].name not in given

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
