"""Descriptions of ComfyUI graphs; `canvas` writes the editor's format, `Graph.to_api` the API format."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...console import PACKAGE

Json = dict[str, Any]

HOME = uuid.uuid5(uuid.NAMESPACE_DNS, PACKAGE)  # namespace of the reproducible ids of files and subgraphs

COMPARISON = "IMAGECOMPARE"  # type of Image Compare's slider
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", COMPARISON)
IN, OUT = -10, -20  # ids of the nodes for a subgraph's inputs and outputs

# Heights of a node's parts in pixels of the editor's canvas.
SLOT, WIDGET, TEXT, COMPARED, EDGE = 20, 24, 90, 350, 16


@dataclass(frozen=True, eq=False)
class Socket:
    """An output of a node, or an input of the subgraph around it."""

    node: int
    slot: int
    type: str
    value: Any = None  # default of a subgraph's input, if it is a widget


@dataclass(frozen=True)
class Input:
    """The declaration of a node's input."""

    name: str
    type: str
    optional: bool
    options: Json
    label: str = ""

    @property
    def widget(self) -> bool:
        """True if the editor draws a widget for it."""
        return self.type.split(",")[0] in WIDGETS

    @property
    def seed(self) -> bool:
        """True if the editor adds the menu 'control after generate' after it."""
        return bool(self.options.get("control_after_generate"))

    @property
    def upload(self) -> bool:
        """True if the editor adds an upload button after it."""
        return bool(self.options.get("image_upload"))

    @property
    def height(self) -> int:
        """The height of its widget in pixels."""
        if self.options.get("multiline"):
            return TEXT
        return COMPARED if self.type == COMPARISON else WIDGET * (1 + self.seed + self.upload)

    def default(self) -> Any:
        """The default value of the widget."""
        if "default" in self.options:
            return self.options["default"]
        if self.type == COMPARISON:
            return {"__value__": ["", ""]}  # the editor's form of a list that isn't a link
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
    picture: int  # height in pixels of the node's preview
    after: str  # value of 'control after generate'
    labels: dict[str, str] = field(default_factory=dict)  # label instead of an input's name
    pos: tuple[int, int] = (0, 0)

    def __getitem__(self, output: str) -> Socket:
        slot = self.definition["output_name"].index(output)
        return Socket(self.id, slot, self.definition["output"][slot])

    @property
    def inputs(self) -> list[Input]:
        """The inputs in the order of the node's declaration."""
        return list(_inputs(self.definition, self.values))

    @property
    def height(self) -> int:
        """The height in pixels that the editor needs for it."""
        rows = max(sum(not one.widget for one in self.inputs), len(self.definition["output"]))
        widgets = sum(one.height for one in self.inputs if one.widget)
        return EDGE + SLOT * rows + widgets + self.picture

    def api(self) -> Json:
        """Return the values and links of all inputs that have one, in API format."""
        return {one.name: self._value(one) for one in self.inputs if one.widget or one.name in self.values}

    def widget_values(self) -> list[Any]:
        """Return the value of each widget by position, as the editor saves it, also for linked ones."""
        values = []
        for one in self.inputs:
            if not one.widget or one.type == COMPARISON:
                continue  # the editor sets a comparison and saves nothing
            value = self._value(one)
            if isinstance(value, Socket):
                value = one.default() if value.value is None else value.value
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
    """A column of nodes, an editor's group if framed, with the text of its note and its position."""

    width: int
    says: str
    down: int
    framed: bool
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class App:
    """The editor's app of a graph.

    Attributes:
        inputs: (node, input, description), in the order of the form.
        outputs: the nodes whose results it shows.
        first: True if the graph opens as its app.
    """

    inputs: Sequence[tuple[Node, str, str]]
    outputs: Sequence[Node]
    first: bool


@dataclass
class Graph:
    """A graph, or a subgraph where it has inputs and outputs.

    Nodes are arranged in columns; each column is a group of the editor.
    """

    name: str
    definitions: Mapping[str, Json]  # node definitions from the host's /object_info
    description: str = ""
    category: str = ""
    note: str = ""
    first: int = 1  # id of the first node; ids are unique in a file, including its subgraphs
    nodes: list[Node] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    current: str = ""
    subgraphs: dict[str, Graph] = field(default_factory=dict)
    outer_inputs: list[Input] = field(default_factory=list)
    outer_outputs: list[tuple[str, Socket]] = field(default_factory=list)
    app: App | None = None

    @property
    def id(self) -> str:
        """The id of the file or subgraph; it is reproducible."""
        return str(uuid.uuid5(HOME, self.name))

    def column(
        self, title: str, width: int = 320, says: str = "", *, down: int = 0, framed: bool = True
    ) -> None:
        """Begin a column `down` pixels below the top, or return to one; added nodes are placed in it."""
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
        """Add an input to the subgraph, of a type or like a node type's input, and return its socket."""
        if like:
            (found,) = (one for one in _inputs(self.definitions[type_], {}) if one.name == like)
            # The editor has no 'control after generate' for a widget of a subgraph.
            type_, options = found.type, found.options | {"control_after_generate": False} | options
        made = Input(name, type_, optional=False, options=options)
        self.outer_inputs.append(made)
        return Socket(IN, len(self.outer_inputs) - 1, type_, made.default() if made.widget else None)

    def output(self, name: str, socket: Socket) -> None:
        """Add an output to the subgraph, which returns the value of a socket."""
        self.outer_outputs.append((name, socket))

    def as_node(self) -> Json:
        """Return the subgraph as a node definition, as in `definitions`."""
        return {
            "display_name": self.name,
            "input": {"required": {one.name: [one.type, one.options] for one in self.outer_inputs}},
            "output": [socket.type for _, socket in self.outer_outputs],
            "output_name": [name for name, _ in self.outer_outputs],
        }

    def to_api(self) -> dict[str, Json]:
        """Return the graph in API format; ids of nodes in a subgraph are outer:inner."""
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
        """Return True if the value is an unconnected input of the subgraph."""
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
    """Yield the connected inputs of a growing list, and one free input."""
    ((kind, *_),) = template["input"]["required"].values()
    connected = sum(key.startswith(f"{name}.") for key in values)
    for number in range(connected + 1):
        label = f"{template['prefix']}{number}"
        yield Input(f"{name}.{label}", kind, number >= template["min"], {}, label)
