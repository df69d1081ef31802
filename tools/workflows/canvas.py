"""Writes a graph in the editor's format: columns of nodes, links, notes, and the app."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from ...console import PACKAGE, version
from .graph import EDGE, HOME, IN, OUT, SLOT, App, Graph, Json, Node, Socket

CORE, CORE_VERSION = "comfy-core", "0.30.0"

# Lengths in pixels of the editor's canvas.
LEFT, TOP, GAP, MARGIN, TITLE = 40, 140, 50, 20, 30
HEAD, NOTE_WIDTH, NOTE_LINE, NOTE_LETTERS = 80, 420, 16, 68
COLORS = ("#3f789e", "#8A8", "#b58b2a", "#a1309b")

# Text that an app shows while a node of that type runs; the default is "Running" or the type's name.
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


def drawn(graph: Graph) -> Json:
    """Return the graph in the editor's format."""
    return _Sheet(graph).file()


class _Sheet:
    """The layout of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.links: list[tuple[int, Socket, int, int]] = []  # id, source, target node, target slot
        self.notes: list[Json] = []
        self.groups = list(self._place())
        self.sockets = {node.id: self._sockets(node) for node in graph.nodes}
        for slot, (_, socket) in enumerate(graph.outer_outputs):
            self._link(socket, OUT, slot)
        self.nodes = [self._node(order, node) for order, node in enumerate(graph.nodes)]

    def file(self) -> Json:
        """Return the content of a workflow file."""
        graph = self.graph
        if graph.note:
            self._note(graph.note, (LEFT - NOTE_WIDTH - 2 * GAP, TOP - HEAD), NOTE_WIDTH, "Read me")
        nodes = [*self.nodes, *self.notes]
        inner = [_Sheet(one).subgraph() for one in graph.subgraphs.values()]
        return {
            "id": graph.id,
            "revision": 0,
            "last_node_id": len(nodes),
            "last_link_id": graph.first + len(self.links) - 1,
            "nodes": nodes,
            "links": [
                [number, socket.node, socket.slot, node, slot, _link_type(socket)]
                for number, socket, node, slot in self.links
            ],
            "groups": self.groups,
            **({"definitions": {"subgraphs": inner}} if inner else {}),
            "config": {},
            "extra": {
                "ds": {"scale": 0.6, "offset": [NOTE_WIDTH + 2 * GAP, 0]},
                **(_app(graph.app) if graph.app else {}),
            },
            "version": 0.4,
        }

    def subgraph(self) -> Json:
        """Return the graph as the definition of a subgraph inside another file."""
        graph = self.graph
        right = max(node.pos[0] + node.width for node in graph.nodes) + 2 * GAP
        inputs = [(one.name, one.type) for one in graph.outer_inputs]
        outputs = [(name, socket.type) for name, socket in graph.outer_outputs]
        return {
            "id": graph.id,
            "version": 1,
            "state": {
                "lastGroupId": len(self.groups),
                "lastNodeId": graph.nodes[-1].id + len(self.notes),
                "lastLinkId": graph.first + len(self.links) - 1,
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
            "nodes": [*self.nodes, *self.notes],
            "groups": self.groups,
            "links": [
                {
                    "id": number,
                    "origin_id": socket.node,
                    "origin_slot": socket.slot,
                    "target_id": node,
                    "target_slot": slot,
                    "type": _link_type(socket),
                }
                for number, socket, node, slot in self.links
            ],
            "extra": {},
            "category": graph.category,
            "description": graph.description,
        }

    def _end(self, side: int, slot: int, name: str, type_: str, left: int) -> Json:
        """Return the entry of an input or output of a subgraph."""
        linked = [
            number
            for number, socket, node, target in self.links
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
        """Set the position of every node, and yield the group of every column."""
        left = LEFT
        for number, (title, column) in enumerate(self.graph.columns.items()):
            begin = top = TOP + column.down
            if column.says:
                note = self._note(column.says, (left, top), column.width)
                top += note["size"][1] + TITLE + GAP
            for node in column.nodes:
                node.pos = left, top
                top += node.height + TITLE + GAP
            if column.framed:
                yield {
                    "id": number + 1,
                    "title": title,
                    "bounding": [
                        left - MARGIN,
                        begin - HEAD,
                        column.width + 2 * MARGIN,
                        top - TITLE - GAP - begin + HEAD + MARGIN,
                    ],
                    "color": COLORS[number % len(COLORS)],
                    "font_size": 24,
                    "flags": {},
                }
            left += column.width + 2 * MARGIN + GAP

    def _link(self, socket: Socket, node: int, slot: int) -> int:
        """Add a link and return its id; the ids are unique in a file, as those of nodes are."""
        number = self.graph.first + len(self.links)
        self.links.append((number, socket, node, slot))
        return number

    def _sockets(self, node: Node) -> list[Json]:
        sockets: list[Json] = []
        # Inputs without widgets come first, as in the editor's files.
        for one in sorted(node.inputs, key=lambda one: one.widget):
            value = node.values.get(one.name)
            sockets.append(
                {
                    **({"label": label} if (label := node.labels.get(one.name, one.label)) else {}),
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
        package, number = (
            (PACKAGE, version()) if inner or node.type.startswith("UGCSR_") else (CORE, CORE_VERSION)
        )
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
                "cnr_id": package,
                "ver": number,
                **({} if inner else {"Node name for S&R": node.type}),
                **({"models": list(node.models)} if node.models else {}),
                **({"Execution Message": STAGES[node.type]} if node.type in STAGES else {}),
            },
            "widgets_values": node.widget_values(),
        }

    def _from(self, node: int, slot: int) -> list[int]:
        """Return the ids of the links from an output."""
        return [number for number, one, *_ in self.links if (one.node, one.slot) == (node, slot)]

    def _note(self, text: str, pos: tuple[int, int], width: int, title: str = "") -> Json:
        """Return a note of that width, and of the height that its text needs."""
        letters = NOTE_LETTERS * width // NOTE_WIDTH
        lines = sum(1 + len(line) // letters for line in text.splitlines())
        number = len(self.graph.nodes) + len(self.notes)
        note = {
            "id": self.graph.first + number,
            "type": "MarkdownNote",
            "pos": list(pos),
            "size": [width, NOTE_LINE * lines + HEAD],
            "flags": {},
            "order": number,
            "mode": 0,
            "inputs": [],
            "outputs": [],
            **({"title": title} if title else {}),
            "properties": {},
            "widgets_values": [text],
            "color": "#222",
            "bgcolor": "#000",
        }
        self.notes.append(note)
        return note


def _link_type(socket: Socket) -> str:
    """Return the type of a link as one word, also for a menu, as frontend 1.58 requires."""
    return socket.type if isinstance(socket.type, str) else "COMBO"


def _app(app: App) -> Json:
    """Return an app's definition in the editor's format."""
    inputs = [
        [str(node.id), name, *([{"description": words}] if words else [])] for node, name, words in app.inputs
    ]
    outputs = [str(node.id) for node in app.outputs]
    return {"linearMode": app.first, "linearData": {"inputs": inputs, "outputs": outputs}}
