"""Pairs of photos restored by a running host, and scored."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ..files import parse_json
from ..restore.api import Client
from ..sample.presets import Graph, Values, apply
from ..score.extras import Extras
from ..score.files import load, partners
from ..score.metrics import evaluate
from ..score.picture import from_picture

IN_FLIGHT = 2  # the host restores one photo while another is scored

Scores = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """A small photo and its original."""

    lr: Path
    gt: Path

    def digest(self) -> str:
        """Tells whether two pairs hold the same files."""
        return hashlib.sha256(self.lr.read_bytes() + self.gt.read_bytes()).hexdigest()


def find_pairs(lr: Path, gt: Path) -> tuple[Pair, ...]:
    """The pairs of two folders, or files, in the order of their names.

    Raises:
        ValueError: if there are no photos, or one has no partner.
        FileNotFoundError: if a path does not exist.
    """
    return tuple(Pair(small, original) for small, original in sorted(partners(lr, gt).items()))


def read_graph(file: Path) -> Graph:
    """A workflow in API format, with one Load Image and one Save Image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no workflow '{file}'.")
    try:
        graph = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"'{file}' is no JSON: {error}.") from None
    nodes = graph.values() if isinstance(graph, dict) else [None]
    if not all(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in nodes):
        raise ValueError(f"'{file}' is no workflow in API format. Save it with File > Export (API).")
    _only(graph, "LoadImage", "Load Image")
    _only(graph, "SaveImage", "Save Image")
    return graph


class Restorer:
    """A graph on a host: photos go in through its Load Image and come out of its Save Image."""

    def __init__(self, client: Client, graph: Graph, extras: Extras) -> None:
        self.client = client
        self.graph = copy.deepcopy(graph)
        self.extras = extras
        # People may use the host too: nothing is left in its output folder.
        save = _only(self.graph, "SaveImage", "Save Image")
        self.saved = next(key for key, node in self.graph.items() if node is save)
        save |= {"class_type": "PreviewImage", "inputs": {"images": save["inputs"]["images"]}}

    def measure(self, values: Values, pairs: Sequence[Pair]) -> list[Scores]:
        """The scores of each pair, restored with these values.

        Raises:
            RuntimeError: if a node fails; in its words.
            ValueError: if a result can't be compared with its original; naming the photo.
        """
        graph = apply(values, self.graph)
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            scored = pool.map(lambda pair: self._score(graph, pair), pairs)
            return list(tqdm(scored, total=len(pairs), unit="photo", leave=False, disable=None))

    def _score(self, graph: Graph, pair: Pair) -> Scores:
        graph = apply({"LoadImage.image": self.client.upload(pair.lr)}, graph)
        (saved,) = self.client.run(graph)[self.saved]["images"]
        with Image.open(io.BytesIO(self.client.fetch(saved))) as picture:
            sr = from_picture(picture)
        gt = load(pair.gt)
        try:
            return evaluate(sr, gt=gt, lr=load(pair.lr)) | self.extras.measure(sr, gt=gt)
        except ValueError as error:
            raise ValueError(f"'{pair.lr.name}', restored, against '{pair.gt}': {error}") from error


def _only(graph: Graph, node_class: str, title: str) -> dict:
    """The one node of a class.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = [node for node in graph.values() if node["class_type"] == node_class]
    if len(found) != 1:
        raise ValueError(f"The workflow has {len(found)} nodes {title}; tuning needs exactly one.")
    return found[0]
