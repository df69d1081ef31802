"""The command line of the benchmarks: `python -m benchmarks parity --fixture DIR`."""

import argparse
import importlib
import json
import sys

from . import bootstrap

BENCHMARKS = {
    "degrade": "Training pairs a second against BasicSR's functions on the same settings, and each effect.",
    "forwards": "Network forwards and multiply-adds of each preset and size, ours against the reference's.",
    "gpu": "Seconds and memory of every preset on this machine's card, in limited time, with a table.",
    "curve": "The bundled model between its ends, at five points, as the file that its preset reads.",
    "parity": "Largest difference from the outputs of the original SeeSR networks, in float32 on the CPU.",
    "quality": "The bundled model against bicubic and Real-ESRGAN, on held-out photos or a folder of pairs.",
    "regions": "Text on the held-out photos, kept by Weigh Regions and Blend Regions.",
    "restore": "Seconds of a restoration through the host against the reference's loop, on the same weights.",
    "train_memory": "The memory plan of a training step against what it takes, at SRlab's full size.",
    "true_shapes": "Peak memory and seconds with random weights of the published files' full shapes.",
}
WITHOUT_HOST = ("degrade", "forwards", "train_memory")
ON_CPU = ("parity",)
STOPPED = 130  # exit status after Ctrl-C
SMALLEST_PX = 64


def main() -> None:
    """Run one benchmark and print its results, one JSON object per line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    add = {name: commands.add_parser(name, help=words).add_argument for name, words in BENCHMARKS.items()}
    add["degrade"]("--rounds", type=int, default=3, help="of ours and theirs in turn; the median counts")
    add["gpu"]("--minutes", type=float, default=9.0, help="after which nothing more is begun")
    add["gpu"]("--fixture", help="folder with spec.json and cases.safetensors, to compare with")
    add["gpu"]("--sizes", nargs="*", type=_size, metavar="HEIGHTxWIDTH", help="of the results")
    add["gpu"]("--device", choices=("auto", "cpu"), default="auto", help="auto is a GPU if it can")
    add["gpu"]("--classic-memory", action="store_true", help="leave DynamicVRAM off")
    add["curve"]("--photos", required=True, help="folder that tools/fetch_photos.sh filled")
    add["curve"]("--out", default="sample/presets/tuned/nano_curve.json", help="file to write")
    add["parity"]("--fixture", required=True, help="folder with spec.json and cases.safetensors")
    add["quality"]("--photos", help="folder that tools/fetch_photos.sh filled")
    add["quality"]("--pairs", nargs="+", default=[], metavar="DIR", help="folders with lr/ and hr/")
    add["quality"]("--peers", action="store_true", help="Real-ESRGAN animevideov3 and x4plus too")
    add["quality"]("--tokens", action="store_true", help="what the semantic tokens bring, too")
    add["quality"]("--recipes", nargs="+", default=argparse.SUPPRESS, help="of the held-out photos")
    add["quality"](
        "--scales",
        nargs="+",
        type=int,
        choices=(1, 2, 3, 4),
        default=argparse.SUPPRESS,
        help="of these photos",
    )
    add["quality"]("--pictures", metavar="DIR", help="folder for sheets, the worst five among them")
    add["regions"]("--photos", required=True, help="folder that tools/fetch_photos.sh filled")
    add["regions"]("--picture", help="file for a sheet of pictures")
    add["restore"]("--steps", type=_steps, help="of DDPM; 4 on the CPU, 50 on a GPU if not given")
    add["restore"]("--rounds", type=int, default=3, help="of each way in turn; the median counts")
    add["train_memory"](
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of the stage, such as crop=64"
    )
    add["train_memory"]("--cpu", action="store_true", help="don't use a GPU")
    add["true_shapes"]("--size", type=_size, default=(512, 512), help="of the result, HEIGHTxWIDTH in pixels")
    add["true_shapes"]("--steps", type=_steps, default=2, help="of DDPM")
    add["true_shapes"]("--device", choices=("auto", "cpu"), default="auto", help="auto is a GPU if it can")
    options = vars(parser.parse_args())
    name = options.pop("name")
    bootstrap.package()
    if name not in WITHOUT_HOST:
        bootstrap.host(cpu=name in ON_CPU or options.pop("device", "auto") == "cpu")
    benchmark = importlib.import_module(f".{name}", __package__)
    results, status = [], 0
    try:
        for result in benchmark.run(**options):
            results.append(result)
            print(json.dumps(result), flush=True)
    except KeyboardInterrupt:
        status = STOPPED
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"{error}\n")
    if hasattr(benchmark, "table"):
        print(f"\n{benchmark.table(results)}", flush=True)
    sys.exit(status)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= SMALLEST_PX):
        raise argparse.ArgumentTypeError(
            f"expected HEIGHTxWIDTH, each at least {SMALLEST_PX}, such as 1080x1920; got {text!r}"
        )
    return int(height), int(width)


def _steps(text: str) -> int:
    if not text.isdecimal() or int(text) == 0 or 1000 % int(text):
        raise argparse.ArgumentTypeError(
            f"expected a divisor of 1000, or the host's schedule isn't the reference's; got {text!r}"
        )
    return int(text)


if __name__ == "__main__":
    main()
