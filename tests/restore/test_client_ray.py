"""The client on a Ray cluster of this machine: a host on each of two workers."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

pytestmark = [pytest.mark.comfy, pytest.mark.deep]


@pytest.fixture
def temporary():
    """A folder for temporary files with a short name: Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield folder


def test_a_local_ray_restores_every_photo_and_leaves_no_host_behind(tmp_path, temporary):
    (tmp_path / "in").mkdir()
    for number in range(6):
        Image.new("RGB", (8, 6), (40 * number, 99, 9)).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "broken.jpg").write_text("no picture")
    arguments = [tmp_path / "in", tmp_path / "out", "--engine", "ray", "--workers", "2"]
    ended = subprocess.run(
        ["env", f"TMPDIR={temporary}", sys.executable, "-m", "ugc_sr.restore", *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    said = f"6 restored; 1 failed. Results are in {tmp_path / 'out'}\nfailed: 1 (broken.jpg)\n"
    assert ended.stdout == said, ended.stderr
    results = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in results] == [f"{number}.png" for number in range(6)]
    for number, file in enumerate(results):
        middle = Image.open(file).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert middle == pytest.approx((40 * number, 99, 9), abs=20)
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in running if b"main.py" in line and temporary.encode() in line]
