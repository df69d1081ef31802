"""Pairs of photos restored by a running host, and scored."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from ..files import printable
from ..image import from_levels
from ..photos.reader import open_photo
from ..restore.api import Client
from ..restore.photo import read
from ..restore.workflow import Workflow
from ..sample.presets import Graph, Values, apply
from ..score.extras import Extras
from ..score.metrics import evaluate
from ..score.scoring import load

IN_FLIGHT = 2  # the host restores one photo while another is scored

Scores = dict[str, float]


@dataclass(frozen=True)
class Pair:
    """A small photo and its original."""

    lr: Path
    gt: Path

    def digest(self) -> str:
        """Return a hash of the contents of both files."""
        return hashlib.sha256(self.lr.read_bytes() + self.gt.read_bytes()).hexdigest()


class PairRestorer:
    """Restores pairs on a running ComfyUI and scores them; the graph has one LoadImage and one SaveImage."""

    def __init__(self, client: Client, graph: Graph, extras: Extras) -> None:
        self.client, self.extras = client, extras
        self.workflow = Workflow("", copy.deepcopy(graph))
        # A preview, since the output folder of the ComfyUI may belong to others.
        save = self.workflow.graph[self.workflow.end]
        save |= {"class_type": "PreviewImage", "inputs": {"images": save["inputs"]["images"]}}

    def measure(self, values: Values, pairs: Sequence[Pair]) -> list[Scores]:
        """Return the scores of each pair, restored with these values.

        Raises:
            RuntimeError: if a node fails, with its message.
            ValueError: if a result can't be compared with its original, naming the photo.
        """
        workflow = replace(self.workflow, graph=apply(values, self.workflow.graph))
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            scored = pool.map(lambda pair: self._score(workflow, pair), pairs)
            return list(tqdm(scored, total=len(pairs), unit="photo", leave=False, disable=None))

    def _score(self, workflow: Workflow, pair: Pair) -> Scores:
        name = f"{printable(pair.lr.stem)}.png"
        restored = self.client.restore(name, read(pair.lr).png, workflow)
        sr = from_levels(open_photo(Path("result.png"), restored).rgb())
        gt = load(pair.gt)
        try:
            return evaluate(sr, gt=gt, lr=load(pair.lr)) | self.extras.measure(sr, gt=gt)
        except ValueError as error:
            raise ValueError(f"'{pair.lr.name}', restored, against '{pair.gt}': {error}") from error
