"""What `make setup` trusts."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from ugc_sr.restore.server import CHECKOUT


@pytest.fixture
def setup():
    spec = importlib.util.spec_from_file_location("ugc_sr_setup", CHECKOUT / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_is_split_by_name_and_nothing_is_lost(setup):
    text = setup.LOCK.read_text()
    parts = setup.split_lock(text)
    assert sorted("".join(parts.values()).splitlines()) == sorted(text.splitlines())
    assert {"torch", "uv", "sam2", "setuptools", "wheel"} <= parts.keys()


def test_every_entry_of_the_lock_has_a_version_and_a_hash_and_no_address(setup):
    for name, entries in setup.split_lock(setup.LOCK.read_text()).items():
        assert "==" in entries, name
        assert "--hash=sha256:" in entries, name
        assert "://" not in entries, name


def test_a_host_of_another_version_is_refused(setup, tmp_path):
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.29.0"\n')
    with pytest.raises(ValueError, match=r"expected ComfyUI 0\.30\.0, got 0\.29\.0"):
        setup.check_host(tmp_path)


def test_a_host_with_other_code_is_refused(setup, tmp_path):
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    with pytest.raises(ValueError, match=r"its code hashes to [0-9a-f]{64}, expected "):
        setup.check_host(tmp_path)


def test_an_environment_that_someone_else_made_is_left_alone(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    (tmp_path / ".venv").mkdir()
    with pytest.raises(SystemExit, match=r"was not made by this script. Move it away"):
        setup.link_environment(tmp_path / "cache", "key")


def test_a_second_setup_costs_less_than_a_second(tmp_path):
    """Of a checkout whose cache entry is complete: linked once, then found as it is."""
    checkout, cache = tmp_path / "ComfyUI-UGC SR", tmp_path / "cache"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "scripts/setup.py"):
        (checkout / name).write_bytes((CHECKOUT / name).read_bytes())
    script = [sys.executable, checkout / "scripts" / "setup.py"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    key = subprocess.check_output(
        [sys.executable, "-c", "import setup; print(setup.cache_key())"],
        cwd=checkout / "scripts",
        text=True,
    ).strip()
    entry = cache / "ugc-sr" / key
    (entry / "venv" / "bin").mkdir(parents=True)
    (entry / "ComfyUI").mkdir()
    (entry / "ComfyUI" / "main.py").touch()
    (entry / ".complete").touch()
    subprocess.run(script, env=environment, check=True)
    second = subprocess.check_output(script, env=environment, text=True)
    assert float(re.search(r"\(([\d.]+) s\)", second)[1]) < 1
    assert (checkout / ".host" / "ComfyUI" / "main.py").is_file()
    assert (checkout / ".host" / "ComfyUI" / "custom_nodes" / "ugc_sr").resolve() == checkout
    package = [checkout / ".venv" / "bin" / "python", "-c", "import ugc_sr; print(*ugc_sr.__path__)"]
    assert ".venv" in subprocess.check_output(package, text=True)
