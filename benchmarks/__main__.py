"""Command line of the benchmarks: `python -m benchmarks parity --fixture DIR`."""

import argparse
import importlib
import json

from . import bootstrap

BENCHMARKS = {
    "degrade": "Training pairs a second against BasicSR's functions on the same settings, and each effect.",
    "parity": "Largest difference from the outputs of the original SeeSR networks, in float32 on the CPU.",
    "quality": "The bundled model against bicubic enlargement, on the held-out photos.",
}


def main() -> None:
    """Run one benchmark and print its results, one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    degrade = commands.add_parser("degrade", help=BENCHMARKS["degrade"])
    degrade.add_argument(
        "--rounds", type=int, default=3, help="of ours and theirs in turn; the median counts"
    )
    parity = commands.add_parser("parity", help=BENCHMARKS["parity"])
    parity.add_argument("--fixture", required=True, help="folder with spec.json and cases.safetensors")
    quality = commands.add_parser("quality", help=BENCHMARKS["quality"])
    quality.add_argument("--photos", required=True, help="folder that scripts/fetch_photos.sh filled")
    quality.add_argument("--pictures", help="folder for one sheet of pictures a recipe")
    options = vars(parser.parse_args())
    name = options.pop("name")
    bootstrap.package()
    if name != "degrade":
        bootstrap.host(cpu=name == "parity")
    benchmark = importlib.import_module(f".{name}", __package__)
    for result in benchmark.run(**options):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
