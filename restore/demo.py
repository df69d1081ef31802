"""`python -m ugc_sr.restore.demo --photo P --out DIR`: restores a photo through ComfyUI and shows both."""

from __future__ import annotations

import argparse
import io
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..console import keep_printing
from ..files import replace_file
from ..photos.reader import open_photo
from ..sample.frame import result_size, scale_for
from ..sample.seconds import seconds_on_cpu
from ..score.metrics import METRICS
from ..score.scoring import json_safe, load
from ..score.sheet import compare
from .__main__ import scale_option
from .api import Client, Graph
from .server import CHECKOUT, Host, accelerator, find_host, running_host
from .workflow import only

WORKFLOW = Path(__file__).with_name("quickstart.api.json")
PRESET = "nano"
SCORES = {"lr": ("lr_consistency",), "gt": ("psnr_y", "ssim_y")}  # reference -> metrics that need it
SAMPLE, SAMPLE_GT = CHECKOUT / "demo" / "photo.png", CHECKOUT / "demo" / "photo_gt.jpg"


def main(arguments: Sequence[str] | None = None) -> None:
    """Restore a photo and write sr.png, compare.png and report.json."""
    keep_printing()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the host is ended too
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.restore.demo", description=__doc__)
    parser.add_argument("--photo", type=Path, help="the photo to restore; a sample of ours if not given")
    parser.add_argument("--gt", type=Path, help="the undamaged original, of the size of the result")
    parser.add_argument(
        "--scale", type=scale_option, metavar="X|auto", help="size of the result / size of the photo; auto"
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for the results")
    options = parser.parse_args(arguments)
    photo, gt = (options.photo, options.gt) if options.photo else (SAMPLE, options.gt or SAMPLE_GT)
    try:
        report = restore(photo, options.out, gt, options.scale)
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(_summary(report, options.out))


def restore(photo: Path, out: Path, gt: Path | None = None, scale: float | None = None) -> dict[str, Any]:
    """Restore `photo` with the quick-start workflow, write the three files into `out`, return the report.

    Without a scale, or with 0, `scale_for` chooses it. The result's size and the expected time are printed
    first.

    Raises:
        FileNotFoundError: if there is no ComfyUI.
        ValueError: if a file is missing or isn't a photo, or `gt` has another size than the result.
        RuntimeError: if the host or one of its nodes fails.
    """
    lr = Image.fromarray(open_photo(photo).rgb(deep=False))
    original = Image.fromarray(open_photo(gt).rgb(deep=False)) if gt else None
    graph: Graph = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    expected = scaled(graph, lr.size, scale)
    if original and original.size != expected:
        raise ValueError(
            f"'{gt}' is {original.width}x{original.height} px, but the result of this photo will be "
            f"{expected[0]}x{expected[1]} px. Give an original of that size, or the scale between them."
        )
    out.mkdir(parents=True, exist_ok=True)
    chosen = _one(graph, "UGCSR_PrepareImage")["scale"]
    print(_plan(lr.size, expected, chosen), flush=True)
    with tempfile.TemporaryDirectory(prefix="ugc-sr-") as folder:
        print("starting ComfyUI ...", flush=True)
        with running_host(find_host(), Path(folder, "host")) as host:
            started = time.monotonic()
            sr = _run(host, graph, lr, Path(folder))
            prompt_s = time.monotonic() - started
        replace_file(out / "sr.png", _png(sr))
        bicubic = lr.resize(sr.size, Image.Resampling.BICUBIC)
        versions = {"lr": lr, "bicubic": bicubic} | ({"gt": original} if original else {})
        for name, picture in versions.items():
            picture.save(Path(folder, f"{name}.png"))
        report = {
            "photo": photo.name,
            "preset": PRESET,
            "seed": _one(graph, "KSampler")["seed"],
            "scale": chosen,
            "size": {name: list(p.size) for name, p in (versions | {"sr": sr}).items() if name != "bicubic"},
            "seconds": {"boot": round(host.boot_s, 2), "prompt": round(prompt_s, 2)},
            "device": accelerator() or "cpu",
            "metrics": _metrics(out / "sr.png", Path(folder), with_gt=original is not None),
        }
    replace_file(out / "compare.png", _png(_sheet(versions | {"sr": sr})))
    text = json.dumps(json_safe(report), indent=2, allow_nan=False) + "\n"
    replace_file(out / "report.json", text.encode())
    return report


def scaled(graph: Graph, photo: tuple[int, int], scale: float | None) -> tuple[int, int]:
    """Set the graph's scale, by default the one for a photo of this size, and return the result's (w, h)."""
    chosen = scale or scale_for(*photo)
    _one(graph, "UGCSR_PrepareImage")["scale"] = chosen
    return result_size(*photo, chosen)


def _run(host: Host, graph: Graph, lr: Image.Image, folder: Path) -> Image.Image:
    client = Client(host.address)
    # Uploaded as upright pixels, so that the host and the report use the same photo.
    upright = folder / "photo.png"
    lr.save(upright)
    _one(graph, "LoadImage")["image"] = client.upload(upright)
    shown = ""

    def progress(node: str, share: float) -> None:
        nonlocal shown
        line = f"  {node}" + (f" {share:.0%}" if 0 < share < 1 else "")
        if line != shown:
            print(line, flush=True)
        shown = line

    saved = client.saved(client.run(graph, progress))
    return Image.open(io.BytesIO(saved), formats=("PNG",)).convert("RGB")


def _sheet(versions: dict[str, Image.Image]) -> Image.Image:
    labels = {"lr": "LR", "bicubic": "Bicubic", "sr": "SR (nano)", "gt": "GT"}
    return compare([(label, versions[name]) for name, label in labels.items() if name in versions])


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _plan(photo: tuple[int, int], result: tuple[int, int], scale: float) -> str:
    """Return a line with the result's size and, on a CPU, the expected time after the start of ComfyUI."""
    size = f"{photo[0]}x{photo[1]} -> {result[0]}x{result[1]} px, scale {scale:g}"
    if device := accelerator():
        how_long = f"how long {device} takes isn't known before"
    else:
        how_long = f"about {max(1, round(seconds_on_cpu(*result)))} s on this CPU"
    return f"{size}; {how_long}; SCALE= changes it"


def _one(graph: Graph, class_type: str) -> dict[str, Any]:
    """Return the inputs of the only node of that type."""
    return graph[only(graph, class_type)]["inputs"]


def _metrics(sr: Path, folder: Path, *, with_gt: bool) -> dict[str, dict[str, float]]:
    references = {name: load(folder / f"{name}.png") for name in (("lr", "gt") if with_gt else ("lr",))}
    scores = {}
    for name, file in {"sr": sr, "bicubic": folder / "bicubic.png"}.items():
        picture = load(file)
        scores[name] = {
            metric: round(METRICS[metric].measure(picture, reference).item(), 4)
            for kind, reference in references.items()
            for metric in SCORES[kind]
        }
    return scores


def _summary(report: dict[str, Any], out: Path) -> str:
    """Return a summary of the report in a few lines."""
    (w, h), (sr_w, sr_h) = report["size"]["lr"], report["size"]["sr"]
    seconds = report["seconds"]
    lines = [
        f"{w}x{h} -> {sr_w}x{sr_h} in {seconds['prompt']:.1f} s; ComfyUI started in {seconds['boot']:.1f} s"
    ]
    for metric, value in report["metrics"]["sr"].items():
        lines.append(f"  {metric:<15} {value:>8.3f}   bicubic {report['metrics']['bicubic'][metric]:>8.3f}")
    lines.append(f"{out / 'compare.png'} shows it.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
