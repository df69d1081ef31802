"""The mutation check itself: it changes what it should, and tells what no test notices."""

import ast
import importlib.util
import re
import subprocess
import sys

import pytest

from ugc_sr.restore.server import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "mutants.py"
START = CHECKOUT / "sample" / "start.py"


@pytest.fixture(scope="module")
def changes():
    """Every change of a text of code, as `before -> after`."""
    spec = importlib.util.spec_from_file_location("mutants", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(text):
        return [str(mutant).split(": ", 1)[1] for mutant in module.mutants(ast.parse(text))]

    return make


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("f(3)", ["f(3) -> pass", "3 -> 4", "3 -> 2"]),
        ("print(0.5, '', 'a', True)", ["0.5 -> 1.0", "'' -> '?'", "'a' -> ''", "True -> False"]),
        ("f(a < b)", ["a < b -> a <= b"]),
        ("f(a < b < c)", ["a < b < c -> a <= b < c", "a < b < c -> a < b <= c"]),
        ("f(a // b + c)", ["a // b + c -> a // b - c", "a // b -> a / b"]),
        ("f(-a)", ["-a -> a"]),
        ("f(a and b)", ["a and b -> a or b", "a and b -> a", "a and b -> b"]),
        ("f(a, key=b)", ["f(a, key=b) -> f(a)"]),
        ("f(a, b)", ["f(a, b) -> f(a)", "f(a, b) -> f(b)"]),
        ("f(a.clip(b))", ["a.clip(b) -> a"]),
        ("f(min(a))", ["min -> max"]),
        ("f(a[b:c:d])", ["b:c:d -> :c:d", "b:c:d -> b::d", "b:c:d -> b:c"]),
        ("if a < b:\n f()", ["a < b -> not a < b"]),
        ("f(x for x in a if b)", ["b -> not b"]),
        ("a = b", ["a = b -> a = None"]),
        ("a += b", ["a += b -> a -= b"]),
        ("def f():\n return a", ["return a -> return None"]),
        ("raise a", ["raise a -> pass"]),
        ("while a:\n break", ["a -> not a", "break -> continue"]),
    ],
)
def test_the_code_is_changed_in_these_ways(changes, code, expected):
    made = changes(code)
    assert set(expected) <= set(made)
    assert len(made) == len(set(made))


def test_what_says_nothing_about_the_tests_stays_as_it_is(changes):
    code = """
import math
@cache(size=2)
def f(a: int | str = b) -> dict[1, 2]:
    '''Words.'''
    g(f'words {math.floor(a):.2f}')
"""
    assert changes(code) == ["g(f'words {math.floor(a):.2f}') -> pass", "math.floor -> math.ceil"]


@pytest.mark.slow
def test_a_weak_test_is_found_out_and_no_file_is_touched():
    """For one step a schedule's length plays no part, so this case alone can't tell how it is divided."""
    text = START.read_text()
    line = text[: text.index("return 1 + (steps - 1)")].count("\n") + 1
    weak = "tests/sample/test_start.py::test_ddpm_begins_at_the_last_multiple_of_its_stride[1-1]"
    command = [sys.executable, SCRIPT, f"sample/start.py:{line}", "--tests", weak]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    *survived, count, total = ended.stdout.splitlines()
    assert f"sample/start.py:{line}:31: timesteps // steps -> timesteps / steps" in survived
    assert not [found for found in survived if not found.startswith(f"sample/start.py:{line}:")]
    noticed, tried = map(int, re.match(r"(\d+) of (\d+) changes were noticed", total).groups())
    assert 0 < noticed == tried - len(survived)
    assert count == f"sample/start.py: {total}"
    assert START.read_text() == text
