"""What we use of ComfyUI, read from our own source, has the shape that we know; else it is named here.

After a look at what changed, `python tests/trust/test_host_api.py` writes the shapes of the host at hand.
"""

import ast
import enum
import importlib
import inspect
import json
import sys
from pathlib import Path
from types import GenericAlias

import pytest

ROOT = Path(__file__).parents[2]
KNOWN = Path(__file__).with_name("host_api.json")
HOST = ("comfy", "comfy_api", "comfy_execution", "folder_paths", "server")


def used(source):
    """Dotted names of the host that a file uses ("comfy.utils.ProgressBar"), and names of members in it."""
    nodes = list(ast.walk(ast.parse(source)))
    names = dict(pair for node in nodes for pair in imported(node))  # what it is called there -> what it is
    members = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    members |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}  # that we override
    chains = (chain(node) for node in nodes if isinstance(node, ast.Attribute))
    found = {".".join([names[first], *rest]) for first, *rest in chains if first in names}
    return found | {name for name in names.values() if "." in name or name not in HOST}, members


def imported(node):
    """(name in the file, dotted name) of what a statement imports of the host."""
    if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in HOST:
        return [(alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names]
    if not isinstance(node, ast.Import):
        return []
    ours = [alias for alias in node.names if alias.name.split(".")[0] in HOST]
    return [(alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2 for alias in ours]


def chain(node):
    """The parts of `a.b.c`; the first is empty where it doesn't begin with a name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(parts)]


def uses():
    """Every dotted name with the files that use it, and every attribute that our files name."""
    places, attributes = {}, set()
    for file in sorted([*ROOT.glob("host/*.py"), *ROOT.glob("nodes/*.py")]):
        found, named = used(file.read_text())
        attributes |= named
        for name in found:
            places.setdefault(name, []).append(str(file.relative_to(ROOT)))
    return places, attributes


def resolve(name):
    """The object of a dotted name.

    Raises:
        LookupError: if the host has none of that name.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                raise LookupError(name)
            found = getattr(found, part)
        return found
    raise LookupError(name)


def shape(thing):
    """How something may be called or read: parameters without their types, or its type."""
    if inspect.ismodule(thing):
        return "module"
    if isinstance(thing, GenericAlias):  # Pythons differ in what its signature is
        return str(thing)
    if isinstance(thing, type) and issubclass(thing, enum.Enum):
        return "enum " + " ".join(member.name for member in thing)
    if not callable(thing):
        return type(thing).__name__
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "callable"
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_default(parameter))
        for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(bare))


def _default(parameter):
    empty = inspect.Parameter.empty
    plain = parameter.default is None or isinstance(parameter.default, bool | int | float | str)
    return parameter.default if plain or parameter.default is empty else ...


def shapes():
    """Every name that we use, and those methods of the classes among them that we call or override."""
    places, attributes = uses()
    found = {}
    for name in sorted(places):
        try:
            thing = resolve(name)
        except LookupError:
            found[name] = "missing"
            continue
        found[name] = shape(thing)
        if isinstance(thing, type) and name.startswith("comfy."):
            members = ((member, inspect.getattr_static(thing, member)) for member in dir(thing))
            for member, value in members:
                if member in attributes and not member.startswith("__") and callable(getattr(thing, member)):
                    found[f"{name}.{member}"] = shape(getattr(value, "__func__", value))
    return found


def differences(known, here, places):
    """A line for each name that isn't as it was: which, how it was, how it is, and who uses it."""
    lines = []
    for name in sorted(known.keys() | here.keys()):
        was, now = known.get(name, "not used"), here.get(name, "missing")
        if was != now:
            owner = name if name in places else name.rpartition(".")[0]
            lines.append(f"{name}: was {was}, is {now}; used in {', '.join(places.get(owner, ['no file']))}")
    return lines


@pytest.mark.comfy
def test_the_host_has_the_shape_that_we_know():
    assert "\n".join(differences(json.loads(KNOWN.read_text()), shapes(), uses()[0])) == ""


def test_what_is_used_is_read_from_the_source():
    source = (
        "import comfy.utils\nfrom comfy.samplers import KSAMPLER as K\nK.sample(1)\ncomfy.utils.load(a.b.c)"
    )
    found, attributes = used(source)
    assert found == {
        "comfy.utils",
        "comfy.samplers.KSAMPLER",
        "comfy.samplers.KSAMPLER.sample",
        "comfy.utils.load",
    }
    assert attributes == {"sample", "load", "utils", "b", "c"}
    assert len(uses()[0]) > 60


def test_a_change_is_told_with_its_place():
    known = {"comfy.a": "(x)", "comfy.b": "(y)", "comfy.B.go": "(self)"}
    here = {"comfy.a": "(x, z)", "comfy.b": "missing", "comfy.B.go": "(self)"}
    assert differences(known, here, {"comfy.a": ["host/a.py"], "comfy.b": ["host/b.py"]}) == [
        "comfy.a: was (x), is (x, z); used in host/a.py",
        "comfy.b: was (y), is missing; used in host/b.py",
    ]


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(ROOT / ".host" / "ComfyUI"))
    importlib.import_module("comfy.cli_args").args.cpu = True
    KNOWN.write_text(json.dumps(shapes(), indent=1, sort_keys=True) + "\n")
