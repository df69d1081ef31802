"""The pack in the real host: every node there, and with the packages missing that only it needs."""

import pytest

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import CHECKOUT, find_host, running_host

pytestmark = pytest.mark.comfy

# Packages that the host doesn't import when it starts, so the pack must not either.
HEAVY = ("accelerate", "diffusers", "lpips", "matplotlib", "optuna", "pillow_heif", "ray", "rich", "sam2")


def test_every_node_is_there_without_heavy_packages_and_one_says_to_install_sam2(tmp_path, anatomy, photo):
    blocker = tmp_path / "blocker"  # found before site-packages
    blocker.mkdir()
    for name in HEAVY:
        (blocker / f"{name}.py").write_text(f'raise ImportError("No module named {name!r}", name="{name}")\n')
    with running_host(
        find_host(), tmp_path / "base", cpu=True, environment={"PYTHONPATH": str(blocker)}
    ) as host:
        client = Client(host.address)
        assert set(client.node_definitions()) >= {
            file.stem for file in (CHECKOUT / "web" / "docs").glob("*.md")
        }
        graph = anatomy(client.upload(photo))
        with pytest.raises(RuntimeError, match=r"needs the 'sam2' package.*pip install sam2"):
            client.run(graph)
        save = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "test"}}
        client.run({"1": graph["1"], "3": graph["3"], "13": save})
