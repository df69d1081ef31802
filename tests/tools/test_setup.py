"""What `make setup` trusts."""

import hashlib
import importlib
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ugc_sr.restore.server import CHECKOUT

TOOLS = CHECKOUT / "tools"


@pytest.fixture
def load(monkeypatch):
    """Imports one of the set-up's modules, which find each other without an installed package."""
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module


@pytest.fixture
def sources(load):
    return load("sources")


def test_the_lock_is_split_by_name_and_nothing_is_lost(load):
    environment = load("environment")
    text = environment.LOCK.read_text()
    parts = environment.split_lock(text)
    assert sorted("".join(parts.values()).splitlines()) == sorted(text.splitlines())
    assert {"torch", "uv", "sam2", "setuptools", "wheel"} <= parts.keys()
    assert "basicsr" not in parts  # compared with, never installed


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.29.0", r"expected ComfyUI 0\.30\.0, got 0\.29\.0"),
        ("0.30.0", r"its code hashes to [0-9a-f]{64}, expected "),
    ],
)
def test_a_host_of_another_version_or_with_other_code_is_refused(sources, tmp_path, version, message):
    (tmp_path / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    with pytest.raises(ValueError, match=message):
        sources.check_host(tmp_path)


@pytest.fixture
def archive(sources, tmp_path, monkeypatch):
    """A small package in the place of BasicSR's."""
    file = tmp_path / "index" / "basicsr-1.4.2.tar.gz"
    file.parent.mkdir()
    with tarfile.open(file, "w:gz") as tar:
        for name in (*sources.BASICSR_FILES, "setup.py"):
            member = tarfile.TarInfo(f"basicsr-1.4.2/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    monkeypatch.setattr(sources, "archive_address", lambda *_: file.as_uri())
    monkeypatch.setattr(sources, "BASICSR_SDIST_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / "basicsr"


def test_a_source_package_is_unpacked_and_only_what_is_wanted_of_it_stays(sources, archive):
    sources.get_basicsr(archive, Path(sys.executable))
    assert [path.name for path in archive.parent.iterdir()] == ["basicsr"]
    found = {path.name: path.read_text() for path in archive.iterdir()}
    assert found == {Path(name).name: name for name in sources.BASICSR_FILES}


def test_a_source_package_of_another_hash_is_refused(sources, archive, monkeypatch, capsys):
    monkeypatch.setattr(sources, "BASICSR_SDIST_SHA256", "0" * 64)
    sources.get_basicsr(archive, Path(sys.executable))
    assert list(archive.iterdir()) == []
    assert re.search(r"basicsr==1\.4\.2 hashes to [0-9a-f]{64}, expected 0+", capsys.readouterr().out)


def test_without_what_we_compare_with_the_set_up_goes_on(sources, tmp_path, monkeypatch, capsys):
    def refuse(*command, quiet):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(sources, "run", refuse)
    sources.get_basicsr(tmp_path / "basicsr", Path(sys.executable))
    assert "exit status 1; the tests and benchmarks that compare with it will fail" in capsys.readouterr().out


def test_an_environment_that_someone_else_made_is_left_alone(load, tmp_path, monkeypatch):
    setup = load("setup")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    (tmp_path / ".venv").mkdir()
    with pytest.raises(SystemExit, match=r"was not made by this script. Move it away"):
        setup.link_environment(tmp_path / "cache", "key")


def test_a_second_setup_costs_less_than_a_second(tmp_path):
    """Of a checkout whose cache entry is complete: linked once, then found as it is."""
    checkout, cache = tmp_path / "ComfyUI-UGC SR", tmp_path / "cache"
    (checkout / "tools").mkdir(parents=True)
    modules = (f"tools/{name}.py" for name in ("setup", "environment", "sources", "chromium"))
    for name in ("Makefile", "requirements.lock", *modules):
        (checkout / name).write_bytes((CHECKOUT / name).read_bytes())
    script = [sys.executable, checkout / "tools" / "setup.py"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    key = subprocess.check_output(
        [sys.executable, "-c", "import setup; print(setup.cache_key())"],
        cwd=checkout / "tools",
        text=True,
    ).strip()
    entry = cache / "ugc-sr" / key
    for folder in ("venv/bin", "ComfyUI", "basicsr", "chromium"):
        (entry / folder).mkdir(parents=True)
    (entry / "ComfyUI" / "main.py").touch()
    (entry / ".complete").touch()
    subprocess.run(script, env=environment, check=True)
    second = subprocess.check_output(script, env=environment, text=True)
    assert float(re.search(r"\(([\d.]+) s\)", second)[1]) < 1
    assert (checkout / ".host" / "ComfyUI" / "main.py").is_file()
    assert (checkout / ".host" / "ComfyUI" / "custom_nodes" / "ugc_sr").resolve() == checkout
    for tool in ("basicsr", "chromium"):
        assert (checkout / ".host" / tool).resolve() == entry / tool
    (checkout / "tools" / "benchmarks").mkdir()
    script = "import benchmarks, ugc_sr; print(*ugc_sr.__path__)"
    assert ".venv" in subprocess.check_output([checkout / ".venv/bin/python", "-c", script], text=True)


def test_chromium_of_another_hash_is_refused_and_the_set_up_goes_on(load, tmp_path, monkeypatch, capsys):
    chromium = load("chromium")

    def pack(*command, quiet=False):
        Path(command[command.index("--pack-destination") + 1], "other.tgz").write_bytes(b"other")

    monkeypatch.setattr(chromium, "run", pack)
    chromium.get_chromium(tmp_path / "cache", Path(sys.executable))
    assert list((tmp_path / "cache").iterdir()) == []
    said = capsys.readouterr().out
    assert re.search(r"hashes to [0-9a-f]{64}, expected 20e5.*; the tests that need a browser", said)
