"""What hostile input must not do: take long, take much memory, run anything, or fail without words."""

import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

SECONDS = 20  # for any one input; a busy machine takes several times what an idle one does
MEGABYTES = 1500  # of address space beside what there is already
LONGEST_WORDS = 3000  # letters of a refusal: with names and values, it is still read by a person
# Events of Python's audit hooks that mean that something else was started, asked or unpickled.
STARTED = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn"),
    *("pickle.find_class", "socket.connect", "socket.getaddrinfo", "webbrowser.open", "os.startfile"),
}

hypothesis.settings.register_profile("full", max_examples=5000, deadline=None)
hypothesis.settings.register_profile("quick", max_examples=60, deadline=None, derandomize=True, database=None)
FULL = os.environ.get("UGCSR_FUZZ") == "full"
hypothesis.settings.load_profile("full" if FULL else "quick")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Attempts in full number are among the deep tests."""
    for item in items:
        if FULL and item.path.name.startswith("test_fuzz"):
            item.add_marker(pytest.mark.deep)


_watched: list[str] | None = None


def _note(event, arguments):
    if _watched is not None and event in STARTED:
        _watched.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_note)


def _late(*_):
    raise TimeoutError(f"still at work after {SECONDS} s")


@contextmanager
def _bounds():
    global _watched
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGALRM, _late)
    _watched = started = []
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEGABYTES * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        _watched = None
    assert started == []


@pytest.fixture(scope="session")
def refusal():
    """Runs a function inside of bounds; gives the words of its refusal, None if it had nothing against it.

    Any other error than those that a person is meant to see is a failure of the test.
    """
    import matplotlib.font_manager  # noqa: F401 - lists the machine's fonts by `fc-list`, once for each user

    def run(function, *arguments, errors=(ValueError, FileNotFoundError)):
        with _bounds():
            try:
                function(*arguments)
            except errors as error:
                words = str(error)
                assert words.strip()
                assert len(words) < LONGEST_WORDS, words[:200]
                assert "Traceback" not in words
                return words
        return None

    return run


@pytest.fixture
def run_command(refusal, capsys):
    """Runs a command inside of bounds; gives its exit status and its one line of complaint."""

    def run(main, *arguments):
        status = []

        def call():
            try:
                status.append(main([str(argument) for argument in arguments]) or 0)
            except SystemExit as end:
                status.append(end.code or 0)

        assert refusal(call) is None  # a command puts every error into words itself
        return status[0], capsys.readouterr().err

    return run
