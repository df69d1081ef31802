"""The layer table: which folder may import what, read from the source."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ugc_sr.tools import architecture

ROOT = Path(__file__).parents[1]

# folder or module -> our layers, then packages besides the standard library, that it may import
LAYERS = {
    "__init__": ({"nodes"}, {"comfy_api"}),  # comfy_api for type checkers only
    "nodes": ({"host", "models", "sample", "score", "degrade", "image", "files"}, {"comfy_api", "torch"}),
    "host": (
        {"models", "sample", "image", "files"},
        {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server", "torch", "safetensors"},
    ),
    "models": ({"image", "files", "console"}, {"torch", "safetensors"}),
    "fetch": ({"models", "files"}, {"aiohttp", "filelock", "tqdm"}),
    "sample": ({"image"}, {"torch"}),
    "degrade": (
        {"score", "photos", "fonts", "color", "image", "files", "console", "processes"},
        {"torch", "PIL", "av", "kornia", "numpy", "scipy", "tqdm"},
    ),
    "score": (
        {"sample", "photos", "fonts", "color", "image", "files", "console"},
        {"torch", "PIL", "numpy", "safetensors", "scipy", "jinja2", "tqdm"},
    ),
    "train": (
        {"models", "degrade", "score", "sample", "photos", "fonts", "color", "image", "files", "console"}
        | {"processes"},
        {"torch", "PIL", "diffusers", "numpy", "safetensors", "tqdm"},
    ),
    "restore": (
        {"score", "sample", "photos", "image", "files", "console", "processes"},
        {"torch", "PIL", "aiohttp", "tqdm", "yaml"},
    ),
    "tune": (
        {"restore", "score", "sample", "photos", "image", "files", "console"},
        {"torch", "PIL", "numpy", "tqdm"},
    ),
    "doctor": (
        {"models", "fetch", "restore", "score", "sample", "photos", "image", "console"},
        {"torch", "safetensors", "PIL", "numpy", "tqdm"},
    ),
    "photos": ({"files"}, {"PIL", "numpy"}),  # no torch, which takes seconds to import
    "fonts": (set(), {"PIL"}),
    "color": (set(), {"torch"}),
    "image": (set(), {"torch", "numpy"}),  # numpy for type checkers only
    "files": (set(), set()),
    "processes": (set(), set()),
    "console": (set(), set()),
    # Run by contributors, never by ComfyUI; they may name the installed package.
    "tools": (
        {"models", "restore", "sample", "files", "console"},
        {"ugc_sr", "torch", "torchvision", "numpy", "safetensors", "PIL"}
        | {"comfy", "comfy_aimdo", "comfy_extras", "comfyui_version", "folder_paths", "nodes"},
    ),
}
# The one file of a layer that owns a package, or one of our layers that nothing else of its own may see.
OWNERS = {
    "models/__main__.py": {"doctor", "fetch"},
    "fetch/command.py": {"restore"},  # where ComfyUI is
    "host/survey.py": {"comfy_aimdo", "comfyui_version", "utils"},
    "fetch/drive.py": {"gdown", "requests"},
    "fetch/hub.py": {"huggingface_hub"},
    "models/segmenter.py": {"sam2"},
    "models/twins.py": {"diffusers"},
    "degrade/dataset/ray_engine.py": {"ray"},
    "degrade/compare_command.py": {"matplotlib"},
    "train/distributed.py": {"accelerate"},
    "train/base.py": {"transformers"},
    "train/run_log.py": {"rich", "matplotlib"},
    "photos/formats.py": {"pillow_heif"},
    "restore/cluster.py": {"ray"},
    "processes.py": {"psutil", "ray"},
    "tools/benchmarks/reference.py": {"diffusers"},
    "tools/benchmarks/random_base.py": {"diffusers", "transformers"},
    "tools/release.py": {"tomlkit"},
    "tools/setup.py": {"environment", "sources"},
    "tools/environment.py": {"chromium", "sources"},
    "tools/chromium.py": {"sources"},
    "tools/matrix.py": {"sources"},
    "tools/sbom.py": {"chromium", "environment", "sources"},
    "score/extras.py": {"lpips", "pyiqa"},
    "score/plots.py": {"matplotlib"},
    "tune/study.py": {"optuna"},
    "tune/outcome.py": {"matplotlib"},
}

# A missing or conflicting one of these must not take all nodes with it.
HEAVY = {
    *(
        "accelerate",
        "av",
        "diffusers",
        "gdown",
        "huggingface_hub",
        "jinja2",
        "kornia",
        "lpips",
        "matplotlib",
        "optuna",
        "pillow_heif",
        "pyiqa",
        "ray",
        "sam2",
    ),
    *("scipy", "transformers"),
}
MAY_IMPORT_HEAVY_AT_ONCE = ("train/", "models/twins.py", "tools/benchmarks/random_base.py")


def package_files():
    """The text of every file of a layer by its path from the root."""
    files = [path for layer in LAYERS for path in (*ROOT.glob(f"{layer}.py"), *(ROOT / layer).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


def violations(source, file):
    """What a file (path from the root) imports against the table."""
    layer = Path(file).parts[0].removesuffix(".py")
    layers, packages = LAYERS[layer]
    allowed = packages | OWNERS.get(file, set())
    problems = []
    for dotted, ours, at_once in architecture.imported_names(file, source):
        name = dotted.split(".")[0]
        if name not in (
            layers | {layer} | (allowed - packages) if ours else allowed | sys.stdlib_module_names
        ):
            problems.append(f"{file}: {layer} may not import {name}")
        elif name in HEAVY and at_once and not file.startswith(MAY_IMPORT_HEAVY_AT_ONCE):
            problems.append(f"{file}: {name} must be imported inside the function that needs it")
    return problems


def test_a_file_imports_only_what_its_layer_may():
    assert [problem for file, source in package_files().items() for problem in violations(source, file)] == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("sample/tiles.py", "import comfy.utils"),
        ("models/weights.py", "def f():\n    from ..host import paths"),
        ("models/weights.py", "from .. import nodes"),
        ("models/segmenter.py", "from sam2.modeling.backbones.hieradet import Hiera"),
        ("models/semantics.py", "def f():\n    import sam2"),
        ("degrade/effects/blur.py", "import kornia.filters"),
        ("degrade/dataset/ray_engine.py", "import ray"),
        ("score/damage.py", "def f():\n    from matplotlib import figure"),
        ("degrade/effects/video.py", "from av.codec import CodecContext"),
        ("host/guidance.py", "from ugc_sr.models.convert import fold_tokens"),
        ("nodes/image.py", "if True:\n    from ..train import loop"),
        ("image.py", "from .sample import tiles"),
        ("restore/demo.py", "import requests"),
        ("score/html.py", "from ..tools import release"),
        ("score/html.py", "from ugc_sr.tools import release"),
        ("degrade/look.py", "import benchmarks"),
    ],
)
def test_a_planted_violation_is_found(file, source):
    assert len(violations(source, file)) == 1


def test_the_picture_of_the_imports_shows_those_of_the_code():
    """After a change of imports between folders: python tools/architecture.py."""
    assert architecture.FILE.read_text() == architecture.picture()


def test_every_folder_of_code_is_a_layer():
    folders = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests"}
    assert folders <= set(LAYERS)


def test_no_module_imports_itself_through_others():
    files = package_files()
    names = {file: file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files}
    graph = {name: set() for name in names.values()}
    for file, source in files.items():
        for dotted, ours, at_once in architecture.imported_names(file, source):
            module = dotted if dotted in graph else dotted.rpartition(".")[0]
            if ours and at_once and module in graph.keys() - {names[file]}:
                graph[names[file]].add(module)
    assert graph["train.run"] >= {"train.config", "train.validate", "console"}
    TopologicalSorter(graph).prepare()  # raises CycleError


# Folders that know no nodes: they say what was expected of an argument; nodes/ adds the names of the graph.
WITHOUT_NODE_NAMES = (
    *("sample/", "score/", "degrade/", "train/", "photos/", "fonts/"),
    *("color.py", "image.py", "files.py", "console.py"),
)


def node_names():
    """The display names of our nodes, from their schemas."""
    return {
        keyword.value.value
        for path in (ROOT / "nodes").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "io.Schema"
        for keyword in call.keywords
        if keyword.arg == "display_name"
    }


def test_what_lies_below_the_nodes_does_not_name_them():
    names = node_names()
    assert len(names) > 15
    assert "Score Photo" in names
    below = {file: text for file, text in package_files().items() if file.startswith(WITHOUT_NODE_NAMES)}
    assert not [(file, name) for file, text in below.items() for name in names if name in text]


SHORT = ("host", "sample", "models", "fetch", "doctor", "train", "score", "degrade", "restore", "tune")
SHORT += ("photos", "fonts")
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 50


def test_files_and_functions_stay_short():
    """Where every file is short already; other folders follow."""
    long = []
    for file in (*ROOT.glob("*.py"), *(file for folder in SHORT for file in (ROOT / folder).rglob("*.py"))):
        source, name = file.read_text(), file.relative_to(ROOT).as_posix()
        long += [name] if source.count("\n") > MOST_LINES else []
        long += [
            f"{name}: {node.name}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
        ]
    assert not long
