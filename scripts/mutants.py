"""Mutation check: does a test notice when the code is changed a little?

    python scripts/mutants.py sample
    python scripts/mutants.py models/convert.py --tests tests/models/test_convert.py --comfy
    python scripts/mutants.py degrade/recipe.py:60-90 --every 3

Every change (another comparison, number or operator; an argument, a call or the end of a slice left out; a
condition turned round; no result) is tried in a process of its own, forked where the libraries are loaded
already, on the tests of the same folder that call the changed function, quickest first, until one fails. No
file is touched. What is printed are the changes that no test notices, as FILE:LINE:COLUMN: a hole in the
tests, needless code, or no difference.

Docstrings, annotations, decorators, base classes and the fixed parts of formatted texts stay as they are.
mutmut would also leave out properties, cached functions and all that is not in a function: half of what the
check is for.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import importlib.util
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import singledispatch
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ugc_sr"  # as tests/conftest.py calls the checkout
PRELOADED = ("torch", "numpy", "PIL.Image", "safetensors.torch", "hypothesis", "aiohttp", "kornia.filters")
PYTEST = ("-q", "-x", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception")
MEMORY = 8 * 1024**3  # bytes that a changed program may ask for
OUTCOMES = {
    int(pytest.ExitCode.OK): "missed",
    int(pytest.ExitCode.NO_TESTS_COLLECTED): "missed",  # none has the same parameters still
    int(pytest.ExitCode.TESTS_FAILED): "noticed",
    int(pytest.ExitCode.INTERRUPTED): "noticed",  # by an error in an import
}

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPPOSITES = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NAMES = {"min": "max", "any": "all", "floor": "ceil", "clamp_min": "clamp_max"}
NAMES |= {other: name for name, other in NAMES.items()}
CONDITIONS = ("test", "ifs", "guard")  # fields of nodes
LEFT_OUT = ("annotation", "returns", "decorator_list", "bases", "format_spec")


class Mutant(NamedTuple):
    """One change of one file: `changed` in the place of `node`."""

    node: Any
    changed: ast.AST
    function: int | None  # first line of the function that it is in, None outside of functions

    def __str__(self) -> str:
        line, column = self.node.lineno, self.node.col_offset + 1
        return f"{line}:{column}: {in_short(self.node)} -> {in_short(self.changed)}"


def in_short(node: ast.AST) -> str:
    """The code of a node on one line."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} ... {text[-25:]}"


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """All changes of a file, from top to bottom."""
    modules = {name for node in ast.walk(tree) for name in _imported(node)}
    for node, field, function in _walk(tree, None):
        for changed in (*variants(node), *_turned(node, field)):
            # `math.floor(x)` as `math` would say nothing about the tests.
            if not (isinstance(node, ast.Call) and isinstance(changed, ast.Name) and changed.id in modules):
                yield Mutant(node, ast.copy_location(changed, node), function)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def _walk(parent: ast.AST, function: int | None) -> Iterator[tuple[ast.AST, str, int | None]]:
    """What may change: the node, the field of its parent that holds it, and the function that it is in."""
    for field, value in ast.iter_fields(parent):
        for child in value if isinstance(value, list) else [value]:
            # A text that stands alone is a docstring or the fixed part of a formatted one.
            fixed = isinstance(child, ast.Constant) and isinstance(parent, ast.Expr | ast.JoinedStr)
            if not isinstance(child, ast.AST) or field in LEFT_OUT or fixed:
                continue
            inside = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
            if hasattr(child, "lineno"):
                yield child, field, inside
            yield from _walk(child, inside)


def _turned(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """The opposite of a condition, where `variants` doesn't make it."""
    made = isinstance(node, ast.UnaryOp) or (
        isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], OPPOSITES)
    )
    if field in CONDITIONS and isinstance(node, ast.expr) and not made:
        yield ast.UnaryOp(ast.Not(), node)


def _with(node: ast.AST, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _without_one(items: list[Any]) -> Iterator[list[Any]]:
    return (items[:place] + items[place + 1 :] for place in range(len(items)))


@singledispatch
def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become."""
    del node
    yield from ()


@variants.register
def _(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield from (ast.Constant(value + 1), ast.Constant(value - 1))
    elif isinstance(value, float):
        yield ast.Constant(2 * value or 1.0)
    elif isinstance(value, str):
        yield ast.Constant("" if value else "?")


@variants.register
def _(node: ast.Compare) -> Iterator[ast.AST]:
    for place, operator in enumerate(node.ops):
        yield _with(node, ops=[*node.ops[:place], COMPARISONS[type(operator)](), *node.ops[place + 1 :]])


@variants.register(ast.BinOp)
@variants.register(ast.AugAssign)
def _(node: Any) -> Iterator[ast.AST]:
    if type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())


@variants.register
def _(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


@variants.register
def _(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for rest in _without_one(node.values):
        yield rest[0] if len(rest) == 1 else _with(node, values=rest)


@variants.register
def _(node: ast.Call) -> Iterator[ast.AST]:
    for rest in _without_one(node.keywords):
        yield _with(node, keywords=rest)
    if len(node.args) > 1:
        yield from (_with(node, args=rest) for rest in _without_one(node.args))
    if isinstance(node.func, ast.Attribute):
        yield node.func.value


@variants.register
def _(node: ast.Name) -> Iterator[ast.AST]:
    if node.id in NAMES:
        yield _with(node, id=NAMES[node.id])


@variants.register
def _(node: ast.Attribute) -> Iterator[ast.AST]:
    if node.attr in NAMES:
        yield _with(node, attr=NAMES[node.attr])


@variants.register
def _(node: ast.Slice) -> Iterator[ast.AST]:
    for end in ("lower", "upper", "step"):
        if getattr(node, end):
            yield _with(node, **{end: None})


@variants.register(ast.Assign)
@variants.register(ast.AnnAssign)
@variants.register(ast.Return)
def _(node: Any) -> Iterator[ast.AST]:
    if node.value and ast.unparse(node.value) != "None":
        yield _with(node, value=ast.Constant(None))


@variants.register(ast.Expr)
@variants.register(ast.Raise)
def _(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise) or not isinstance(node.value, ast.Constant):
        yield ast.Pass()


@variants.register(ast.Break)
@variants.register(ast.Continue)
def _(node: ast.AST) -> Iterator[ast.AST]:
    yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()


class _Change(ast.NodeTransformer):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def visit(self, node: ast.AST) -> Any:
        return self.mutant.changed if node is self.mutant.node else self.generic_visit(node)


class _Loader(SourceFileLoader):
    """Finds and loads one module as a mutant makes it. `tree` is changed, so this belongs into a child."""

    def __init__(self, file: Path, tree: ast.Module, mutant: Mutant) -> None:
        super().__init__(".".join((PACKAGE, *file.relative_to(ROOT).with_suffix("").parts)), str(file))
        self.code = compile(ast.fix_missing_locations(_Change(mutant).visit(tree)), str(file), "exec")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As a finder on sys.meta_path."""
        del path, target
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        """As a loader."""
        del fullname
        return self.code


class Seen:
    """A plugin of pytest that notes which functions of `files` each test calls, and how long it takes."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = {str(file) for file in files}
        self.calls: dict[str, list[tuple[str, int]]] = {}  # test -> files and first lines of functions
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Around each test."""
        self._forget_results()
        called = set()

        def note(frame: FrameType, event: str, argument: Any) -> None:
            del event, argument
            code = frame.f_code
            if code.co_filename in self.files:
                called.add((code.co_filename, code.co_firstlineno))

        started = time.perf_counter()
        sys.settrace(note)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.seconds[item.nodeid] = time.perf_counter() - started
            self.calls[item.nodeid] = sorted(called)

    def _forget_results(self) -> None:
        """Or only the first test would call what keeps its results."""
        for module in list(sys.modules.values()):
            if getattr(module, "__file__", None) in self.files:
                for kept in (thing for thing in vars(module).values() if hasattr(thing, "cache_clear")):
                    kept.cache_clear()


class Chosen:
    """A plugin of pytest that runs just these tests, in this order."""

    def __init__(self, tests: list[str]) -> None:
        self.order = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Once they are found."""
        wanted = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(wanted, key=lambda item: self.order[item.nodeid])


class Check:
    """The tests, run once as the code is and once for each change."""

    def __init__(self, files: list[Path], tests: list[str], marks: str, folder: Path) -> None:
        self.log, notes = folder / "log.txt", folder / "seen.json"
        self.options = [*PYTEST, "-m", marks]
        seen = Seen(files)

        def watch() -> int:
            code = pytest.main([*self.options, *tests], plugins=[seen])
            notes.write_text(json.dumps([seen.calls, seen.seconds]))
            return code

        if in_child(watch, self.log, seconds=3600):
            sys.exit(f"{self.log.read_text()}\nThe tests fail before anything is changed.")
        self.calls, self.seconds = json.loads(notes.read_text())

    def tests_of(self, file: Path, mutant: Mutant) -> list[str]:
        """The tests that call what is changed, quickest first.

        Outside of functions, all tests of each test file that calls anything of `file`: some may only read.
        """
        if mutant.function is None:
            users = {_file_of(test) for test, calls in self.calls.items() if str(file) in dict(calls)}
            tests = [test for test in self.calls if _file_of(test) in users]
        else:
            tests = [test for test, calls in self.calls.items() if [str(file), mutant.function] in calls]
        return sorted(tests, key=self.seconds.__getitem__)

    def outcome(self, file: Path, tree: ast.Module, mutant: Mutant) -> str:
        """Whether the change is "noticed" by a failing test, "late" by far, or "missed"."""
        tests = self.tests_of(file, mutant)

        def run() -> int:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            sys.meta_path.insert(0, _Loader(file, tree, mutant))  # type: ignore[arg-type]
            files = dict.fromkeys(map(_file_of, tests))
            return pytest.main([*self.options, *files], plugins=[Chosen(tests)])

        if not tests:
            return "missed"
        code = in_child(run, self.log, seconds=20 + 5 * sum(self.seconds[test] for test in tests))
        if code > 0 and code not in OUTCOMES:
            sys.exit(f"{self.log.read_text()}\n{file}:{mutant}: pytest ended with {code}.")
        return (
            "late" if code == -signal.SIGALRM else OUTCOMES.get(code, "noticed")
        )  # other signals: it crashed


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def in_child(work: Callable[[], int], log: Path, seconds: float) -> int:
    """The exit code of some work in a forked process; negative if a signal ended it, as when it's late."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = int(pytest.ExitCode.INTERNAL_ERROR)
    with suppress(BaseException):
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.alarm(math.ceil(seconds))
        code = int(work())
        sys.stdout.flush()
    os._exit(code)


def sources(target: str) -> Iterator[tuple[Path, range]]:
    """The files that FOLDER, FILE, FILE:LINE or FILE:FIRST-LAST means, and which of their lines."""
    name, _, lines = target.partition(":")
    first, _, last = lines.partition("-")
    wanted = range(int(first), int(last or first) + 1) if first else range(sys.maxsize)
    path = ROOT / name
    if not path.exists():
        sys.exit(f"{name}: there is no such file or folder in {ROOT}.")
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        yield file, wanted


def count(check: Check, file: Path, lines: range, every: int) -> Counter[str]:
    """The outcomes of the changes of a file; prints what was missed, and how much was not."""
    tree = ast.parse(file.read_text(), str(file))
    outcomes: Counter[str] = Counter()
    name = file.relative_to(ROOT).as_posix()
    for mutant in [mutant for mutant in mutants(tree) if mutant.node.lineno in lines][::every]:
        outcome = check.outcome(file, tree, mutant)
        outcomes[outcome] += 1
        if outcome == "missed":
            print(f"{name}:{mutant}", flush=True)
    if outcomes:
        print(f"{name}: {in_words(outcomes)}", flush=True)
    return outcomes


def in_words(outcomes: Counter[str]) -> str:
    """How much was noticed."""
    tried = outcomes.total()
    noticed = tried - outcomes["missed"]
    late = f", {outcomes['late']} of them by the time they took" if outcomes["late"] else ""
    return f"{noticed} of {tried} changes were noticed ({noticed / max(tried, 1):.1%}){late}."


def preload(comfy: bool) -> None:
    """What takes long to import and is never changed; the host on the CPU, as in tests/conftest.py."""
    for name in PRELOADED:
        importlib.import_module(name)
    if comfy:
        sys.path.insert(0, os.environ.get("COMFYUI_PATH", str(ROOT / ".host" / "ComfyUI")))
        importlib.import_module("comfy.cli_args").args.cpu = True
        importlib.import_module("comfy.utils")
    gc.freeze()


def main(arguments: list[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("targets", nargs="+", help="FOLDER, FILE, FILE:LINE or FILE:FIRST-LAST")
    parser.add_argument("--tests", nargs="+", help="files or folders; else tests/FOLDER of each target")
    parser.add_argument("--comfy", action="store_true", help="also tests that import ComfyUI")
    parser.add_argument("--every", type=int, default=1, help="try one change in so many")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT / "scripts"]
    chosen = [pair for target in options.targets for pair in sources(target)]
    tests = options.tests or sorted({f"tests/{file.relative_to(ROOT).parts[0]}" for file, _ in chosen})
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        preload(options.comfy)
        marks = "not slow and not gpu" if options.comfy else "not slow and not gpu and not comfy"
        check = Check([file for file, _ in chosen], tests, marks, Path(folder))
        outcomes = (count(check, file, lines, options.every) for file, lines in chosen)
        print(in_words(sum(outcomes, Counter())))


if __name__ == "__main__":
    main(sys.argv[1:])
