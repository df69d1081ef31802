"""`python -m ugc_sr.restore.demo --photo P --out DIR`: restores a photo through ComfyUI and shows both."""

from __future__ import annotations

import argparse
import io
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..console import keep_printing
from ..files import replace_file
from ..photos.reader import open_photo
from ..sample.frame import result_size
from ..sample.seconds import seconds_on_cpu
from ..score.metrics import METRICS
from ..score.pil_image import from_picture
from ..score.scoring import json_safe
from ..score.sheet import compare
from .__main__ import scale_option
from .api import Client
from .progress import Progress
from .server import CHECKOUT, OwnHost, accelerator
from .workflow import adjust, find

SCORES = {"lr": ("lr_consistency",), "gt": ("psnr_y", "ssim_y")}  # reference -> metrics that need it
LABELS = {"lr": "LR", "bicubic": "Bicubic", "sr": "SR (nano)", "gt": "GT"}
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

    Without a scale, or with 0, the photo's size determines it. The result's size and the expected time are
    printed first.

    Raises:
        FileNotFoundError: if there is no ComfyUI.
        ValueError: if a file is missing or isn't a photo, or `gt` has another size than the result.
        RuntimeError: if the host or one of its nodes fails.
    """
    # Uploaded as upright pixels, so that the host and the report use the same photo.
    lr = Image.fromarray(open_photo(photo).rgb(deep=False))
    original = Image.fromarray(open_photo(gt).rgb(deep=False)) if gt else None
    workflow = adjust(find("quickstart"), scale=scale).for_size(*lr.size)
    settings = workflow.settings()
    expected = result_size(*lr.size, settings["scale"])
    if original and original.size != expected:
        raise ValueError(
            f"'{gt}' is {original.width}x{original.height} px, but the result of this photo will be "
            f"{expected[0]}x{expected[1]} px. Give an original of that size, or the scale between them."
        )
    out.mkdir(parents=True, exist_ok=True)
    print(_plan(lr.size, expected, settings["scale"]), flush=True)
    print("starting ComfyUI ...", flush=True)
    with OwnHost() as own:
        started = time.monotonic()
        saved = Client(own.address()).restore("photo.png", _png(lr), workflow, _progress_printer())
        prompt_s = time.monotonic() - started
    sr = Image.fromarray(open_photo(Path("result.png"), saved).rgb(deep=False))
    bicubic = lr.resize(sr.size, Image.Resampling.BICUBIC)
    pictures = {"lr": lr, "bicubic": bicubic, "sr": sr} | ({"gt": original} if original else {})
    report = {
        "photo": photo.name,
        "preset": settings["preset"],
        "seed": settings["seed"],
        "scale": settings["scale"],
        "size": {name: list(picture.size) for name, picture in pictures.items() if name != "bicubic"},
        "seconds": {"boot": round(own.host.boot_s, 2), "prompt": round(prompt_s, 2)},
        "device": accelerator() or "cpu",
        "metrics": {name: _metrics(pictures, name) for name in ("sr", "bicubic")},
    }
    sheet = compare([(label, pictures[name]) for name, label in LABELS.items() if name in pictures])
    text = json.dumps(json_safe(report), indent=2, allow_nan=False) + "\n"
    replace_file(out / "sr.png", _png(sr))
    replace_file(out / "compare.png", _png(sheet))
    replace_file(out / "report.json", text.encode())
    return report


def _progress_printer() -> Progress:
    """Return a function that prints each state of the running node once."""
    shown = ""

    def show(node: str, share: float) -> None:
        nonlocal shown
        line = f"  {node}" + (f" {share:.0%}" if 0 < share < 1 else "")
        if line != shown:
            print(line, flush=True)
        shown = line

    return show


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


def _metrics(pictures: dict[str, Image.Image], name: str) -> dict[str, float]:
    tensors = {key: from_picture(picture) for key, picture in pictures.items()}
    return {
        metric: round(METRICS[metric].measure(tensors[name], tensors[reference]).item(), 4)
        for reference, metrics in SCORES.items()
        for metric in (metrics if reference in tensors else ())
    }


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
