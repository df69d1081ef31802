"""Random graphs over every node of ours, as the host lists them, against one real host process."""

import json
import os
import random
import re
import time
import uuid
from collections import Counter

import psutil
import pytest
from PIL import Image

from ugc_sr.restore.api import Client
from ugc_sr.restore.connection import AnswerError, Connection
from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

FULL = os.environ.get("UGCSR_FUZZ") == "full"
GRAPHS = 3000 if FULL else 80
LONGEST_S = 60
GROWTH_MB = 200
# Nodes of the host and of the tests that stand between and around ours.
AROUND = (
    *("LoadImage", "EmptyImage", "ImageBatch", "RepeatImageBatch", "SolidMask", "InvertMask", "ImageToMask"),
    *("VAEEncode", "VAEDecode", "EmptyLatentImage", "LatentFromBatch", "KSampler", "ConditioningZeroOut"),
    *("PrimitiveInt", "PrimitiveFloat", "PrimitiveString", "PrimitiveBoolean"),
    *("OddImage", "OddMask", "RandomClip"),
)
# What only costs time, or is none of ours to try: widgets of the host's nodes.
TAME = {
    "width": [1, 8, 40, 64, 72],
    "height": [1, 8, 24, 64],
    "batch_size": [1, 2, 3],
    "amount": [1, 2, 3],
    "batch_index": [0, 1],
    "length": [1, 2],
    "steps": [1, 2],
    "sampler_name": ["euler", "ddpm", "dpmpp_2m_sde", "lcm"],
    "scheduler": ["simple", "normal", "ddim_uniform", "karras"],
    "cfg": [1.0, 1.5, 7.0],
    "seed": [0, 1, 2**63, 2**64 - 2],  # ComfyUI's noise for ddpm adds 1, and fails beyond 64 bits
}
OURS = "/custom_nodes/ugc_sr/"
LITERALS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
PRIMITIVES = {"INT": "PrimitiveInt", "FLOAT": "PrimitiveFloat", "STRING": "PrimitiveString"}
STRANGE = [
    None,
    {},
    {"__value__": [1, 2]},
    "",
    "x",
    "7",
    7,
    -1,
    0.5,
    True,
    float("nan"),
    1e308,
    2**70,
    [],
    [5],
]
NUMBERS = [0, 1, -1, 3, 2**31, 2**62, -(2**62), 10**9]
FLOATS = [float("nan"), float("inf"), -float("inf"), 1e-320, -0.0, 1e300, 0.1]
TEXTS = [
    *(
        "",
        " ",
        "\n\n",
        "cat, dog",
        "pets/first",
        "../../out",
        "/etc/passwd",
        "C:\\x",
        "CON",
        "a\0b",
        "\ud800",
    ),
    *("a" * 5000, "\u202etxt", "🐈" * 70, "null", "[]", "{}", '{"steps": []}', '{"scale": 4}', "[" * 5000),
    *("steps[0] = null", "steps[0].probability = 0.5", "steps[999999999] = 1", "name = 5", "# nothing", "="),
    *("steps[1].parameters = []", "steps = null", "steps[0].parameters.x = NaN", "one\ntwo\nthree\nfour"),
]


class Graphs:
    """Draws graphs from the host's list of nodes, around the quick start."""

    def __init__(self, definitions, anatomy, photos):
        wanted = {name for name in definitions if name.startswith("UGCSR_")} | set(AROUND)
        self.nodes = {name: definitions[name] for name in sorted(wanted)}
        self.ours = [name for name in self.nodes if name.startswith("UGCSR_")]
        self.anatomy, self.photos = anatomy, photos
        self.makers = {}
        for name, node in self.nodes.items():
            for slot, kind in enumerate(node["output"]):
                self.makers.setdefault(str(kind), []).append((name, slot))

    def around(self, name):
        """The quick start with one more node, all at its defaults; gives the node's number."""
        self.random, self.share = random.Random(0), 0
        self.graph = self.anatomy(self.photos[-1])
        node = self._add(name)
        self._show(node)
        return node

    def draw(self, seed):
        """One graph in API format; the same seed draws the same."""
        self.random, self.share = random.Random(seed), 1
        self.graph = self.anatomy(self._photo())
        save = self.graph.pop("13")
        # Of every class in turn, so that each is tried as often.
        added = [self._add(self.ours[seed % len(self.ours)])]
        added += [self._add(self.random.choice(list(self.nodes))) for _ in range(self.random.randint(0, 1))]
        if self._chance(0.3):
            self.graph["13"] = save
        for _ in range(self.random.randint(0, 2)):
            self._change()
        for node in added:
            self._show(node)
        if self._chance(0.1):
            self._break()
        return self.graph

    def _show(self, node):
        """Have it run, by an output node at each of its outputs."""
        for slot, _ in enumerate(self.nodes[self.graph[node]["class_type"]]["output"]):
            shown = {"class_type": "PreviewAny", "inputs": {"source": [node, slot]}}
            self.graph[f"show{node}.{slot}"] = shown

    def _chance(self, share):
        return self.random.random() < share * self.share

    def _photo(self):
        return self.random.choice(self.photos) if self._chance(0.4) else self.photos[-1]

    def _add(self, name, depth=0):
        node = str(100 + len(self.graph))
        self.graph[node] = {"class_type": name, "inputs": None}  # has its number, and is no source of its own
        inputs = {}
        for needed, group in self.nodes[name]["input"].items():
            for key, spec in group.items():
                if needed == "required" or (needed == "optional" and self._chance(0.5)):
                    inputs |= self._fill(name, key, *spec, depth=depth)
        self.graph[node]["inputs"] = inputs
        return node

    def _fill(self, name, key, kind, options=None, *, depth=0):
        """The value of one input; several for one that grows."""
        options = options or {}
        if kind == "COMFY_AUTOGROW_V3":
            count = self.random.choice([1, 2, 2, 3, 8])
            return {f"{key}.image{number}": self._link("IMAGE", depth) for number in range(count)}
        if isinstance(kind, list):
            kind, options = "COMBO", {**options, "options": kind}
        kinds = kind.split(",")
        if kinds[0] in LITERALS and not (len(kinds) > 1 and self._chance(0.4)):
            return {key: self._value(name, key, kinds[0], options, depth)}
        return {key: self._link(kinds[-1], depth)}

    def _link(self, kind, depth):
        there = [
            [node, slot]
            for node, entry in self.graph.items()
            if entry["class_type"] in self.nodes and entry["inputs"] is not None
            for slot, made in enumerate(self.nodes[entry["class_type"]]["output"])
            if made == kind
        ]
        if kind == "IMAGE" and self._chance(0.2):
            return [self._add(self.random.choice(["OddImage", "LoadImage", "EmptyImage", "ImageBatch"])), 0]
        makers = self.makers.get(kind, [])
        if makers and depth < 3 and (not there or self._chance(0.1)):
            name, slot = self.random.choice(makers)
            return [self._add(name, depth + 1), slot]
        return self.random.choice(there or [["1", 0]])

    def _value(self, name, key, kind, options, depth):
        if name == "LoadImage" and key == "image":
            return self._photo()
        if name == "UGCSR_EncodeTags" and key == "tags":  # the whole list takes minutes
            return self.random.choice(["cat, dog", *(["a" * 5000, "🐈\n\0", "\ud800, ]"] * self.share)])
        if not name.startswith("UGCSR_") and key in TAME:
            return self.random.choice(TAME[key])
        if self._chance(0.02):
            return self.random.choice(STRANGE)
        if kind in PRIMITIVES and name not in PRIMITIVES.values() and self._chance(0.06):
            return [self._add(PRIMITIVES[kind], depth + 1), 0]  # no bounds are checked over a link
        return getattr(self, f"_{kind.lower()}")(options)

    def _int(self, options):
        low, high = options.get("min", -(2**63)), options.get("max", 2**63 - 1)
        if low < -(2**60):
            return self.random.choice(NUMBERS)
        near = low + int((high - low) * self.random.random() ** 6)
        return self.random.choices(
            [options.get("default", low), near, low, high, low - 1, high + 1],
            [50, *(weight * self.share for weight in (30, 8, 8, 1, 1))],
        )[0]

    def _float(self, options):
        low, high = options.get("min", -1e300), options.get("max", 1e300)
        if low < -(2**60):
            return self.random.choice(FLOATS)
        near = low + (high - low) * self.random.random() ** 3
        strange = self.random.choice(FLOATS)
        return self.random.choices(
            [options.get("default", low), near, low, high, strange],
            [50, *(weight * self.share for weight in (30, 8, 8, 4))],
        )[0]

    def _string(self, options):
        return options.get("default", "") if self._chance(0.4) else self.random.choice(TEXTS)

    def _boolean(self, _):
        return self._chance(0.5)

    def _combo(self, options):
        return self.random.choice(
            [*options.get("options", []), *(["gone"] if self._chance(0.1) else [])] or ["gone"]
        )

    def _change(self):
        """Give one input another value of its kind."""
        node = self.random.choice(
            [node for node, entry in self.graph.items() if entry["class_type"] in self.nodes]
        )
        entry = self.graph[node]
        specs = {
            key: spec
            for group in self.nodes[entry["class_type"]]["input"].values()
            for key, spec in group.items()
        }
        known = [key for key in entry["inputs"] if key in specs]
        if known:
            key = self.random.choice(known)
            entry["inputs"] |= self._fill(entry["class_type"], key, *specs[key])

    def _break(self):
        """Make it what no editor would send.

        A link to nowhere goes to an input that the node has: under any other name, with any node,
        it ends the thread in which ComfyUI 0.30.0 works off its queue.
        """
        node, other = self.random.choices([node for node, made in self.graph.items() if made["inputs"]], k=2)
        entry = self.graph[node]
        key = self.random.choice(list(entry["inputs"]))
        links = [["2", 99], ["2", -1], ["nowhere", 0], [node, 0], [other, 0]]
        wrong = self.random.choice(["gone", "class", "more", *links])
        if wrong == "gone":
            entry["inputs"].pop(key, None)
        elif wrong == "class":
            entry["class_type"] = "UGCSR_Gone"
        elif wrong == "more":
            entry["inputs"]["more"] = self.random.choice(STRANGE)
        else:
            entry["inputs"][key] = wrong


@pytest.fixture(scope="module")
def photos(host_server, tmp_path_factory):
    """Names of uploaded pictures of every kind, and files in the model folders that are no such weights."""
    folder = tmp_path_factory.mktemp("odd")
    scene = Image.linear_gradient("L").resize((40, 24))
    pictures = {
        "scene.png": scene.convert("RGB"),
        "pixel.png": Image.new("RGB", (1, 1)),
        "line.png": Image.new("RGB", (300, 1), (9, 200, 50)),
        "column.png": Image.new("RGB", (8, 200)),
        "alpha.png": Image.merge("RGBA", [scene] * 4),
        "deep.png": scene.convert("I;16"),
        "palette.png": scene.convert("P"),
        "print.jpg": scene.convert("CMYK"),
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    frames = [scene.rotate(angle) for angle in (0, 90, 180)]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    models = host_server.log.parent / "models"
    bundled = (CHECKOUT / "models" / "bundled" / "nano.safetensors").read_bytes()
    for kind in ("model_patches", "controlnet", "sam2"):
        (models / kind).mkdir(parents=True, exist_ok=True)
        (models / kind / "other.safetensors").write_bytes(bundled)
        (models / kind / "cut.safetensors").write_bytes(bundled[:5000])
    client = Client(host_server.address)
    return [client.upload(file) for file in sorted(folder.iterdir())]


@pytest.fixture
def send(host_server):
    """Queues a graph and waits; gives what went wrong: (node's class, kind of error, words, traceback)."""
    connection = Connection(host_server.address)

    def run(graph):
        prompt = str(uuid.uuid4())
        try:
            connection.json("/prompt", json.dumps({"prompt": graph, "prompt_id": prompt}).encode())
        except AnswerError as error:
            answer = json.loads(error.content or "{}") if error.status == 400 else {}
            if not answer:
                return [("", f"HTTP {error.status}", "", [])]
            refused = [
                (graph[node]["class_type"], reason["type"], reason["details"], _trace(reason))
                for node, reasons in (answer["node_errors"] or {}).items()
                for reason in reasons["errors"]
            ]
            return refused or [("", answer["error"]["type"], answer["error"]["message"], [])]
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            job = connection.json(f"/api/jobs/{prompt}")
            if job["status"] not in ("pending", "in_progress"):
                failed = job.get("execution_error")
                parts = ("node_type", "exception_type", "exception_message", "traceback")
                return [tuple(failed[part] for part in parts)] if failed else []
            time.sleep(0.02)
        connection.request(f"/api/jobs/{prompt}/cancel", b"")
        return [("", "hang", f"longer than {LONGEST_S} s", [])]

    return run


def _trace(reason):
    return (reason.get("extra_info") or {}).get("traceback", [])


def defect(kind, words, traceback):
    """Why an error isn't one that a person can use; None if it is, or if it never touched our code.

    An error that passes through our code has to be raised there on purpose, in words.
    """
    if kind == "hang" or kind.startswith("HTTP"):
        return f"{kind} {words}"
    ours = [frame for frame in traceback if OURS in frame]
    if not ours:
        return None
    # An error that is raised again with the node's name has its origin in front of it.
    worded = traceback[-1] == ours[-1] and "\n    raise " in traceback[-1]
    usual = kind.rpartition(".")[2] in (
        "ValueError",
        "RuntimeError",
        "FileNotFoundError",
        "UnsupportedWeightsError",
    )
    return None if worded and usual and words.strip() else f"{kind}: {words[:300]}\n{''.join(traceback[-4:])}"


@pytest.mark.deep
def test_no_graph_crashes_hangs_or_fails_without_words(
    host_server, client, anatomy, photos, photo, send, pictures
):
    def restored():
        return pictures(client.run(anatomy(client.upload(photo)))["13"])[0].tobytes()

    graphs = Graphs(client.node_definitions(), anatomy, photos)
    expected = restored()
    wrong, seen = [], Counter()
    for name in graphs.ours:  # what is imported or loaded once for all is not lost
        graphs.around(name)
        send(graphs.graph)
    before = _held_mb(host_server, send)
    for seed in range(GRAPHS):
        if seed % 250 == 249:  # until memory is short the host keeps all results, in pieces all over it
            _held_mb(host_server, send)
        errors = send(graphs.draw(seed))
        seen["ran" if not errors else "failed" if errors[0][3] else "refused"] += 1
        seen.update(name for name, *_ in errors if name.startswith("UGCSR_") and not errors[0][3])
        for name, *error in errors:
            if problem := defect(*error):
                wrong.append(f"seed {seed}, {name}: {problem}")
                seen["defects"] += 1
        if any(kind == "hang" for _, kind, *_ in errors):  # nothing that comes after it would say more
            break
    grown = _held_mb(host_server, send) - before
    print(dict(seen), f"grown by {grown:.0f} MB")
    assert not wrong, "\n\n".join(wrong)
    assert host_server.process.poll() is None
    assert seen["ran"] > GRAPHS // 5  # most end at their first wrong value
    assert grown < GROWTH_MB
    assert restored() == expected


def numbers(definitions):
    """Every number that our nodes take: node, input, kind, bounds."""
    for name, definition in sorted(definitions.items()):
        for group in definition["input"].values() if name.startswith("UGCSR_") else ():
            for key, (kind, *options) in group.items():
                if kind in ("INT", "FLOAT"):
                    yield name, key, kind, (options[0]["min"], options[0]["max"])


def test_a_number_out_of_bounds_is_refused_over_a_link_too(client, anatomy, photos, send):
    definitions = client.node_definitions()
    graphs = Graphs(definitions, anatomy, photos)
    taken = list(numbers(definitions))
    for name, key, kind, (least, most) in taken:
        for value in (least - 1, 2**62 if most < 2**62 else None, float("nan") if kind == "FLOAT" else None):
            if value is None:
                continue
            node = graphs.around(name)
            made = {"class_type": PRIMITIVES[kind], "inputs": {"value": value}}
            graphs.graph["number"] = made
            graphs.graph[node]["inputs"][key] = ["number", 0]
            del graphs.graph["13"]
            ((failed, error, words, _),) = send(graphs.graph)
            assert (failed, error) == (name, "ValueError"), (name, key, value, words)
            assert re.search(rf": '{key}' is .*; expected {re.escape(f'{least} to {most}')}\.", words)
    assert len(taken) >= 25


def _held_mb(host_server, send):
    """What the host holds once it let go of models, results, history, and what the C library keeps."""
    kept = {"/free": b'{"unload_models": true, "free_memory": true}', "/history": b'{"clear": true}'}
    for path, body in kept.items():
        Connection(host_server.address).request(path, body)
    for _ in range(2):  # it heeds the request after the first
        assert send({"1": {"class_type": "LetGo", "inputs": {}}}) == []
    return psutil.Process(host_server.process.pid).memory_info().rss / 2**20
