"""The pack in the real host: every node there, quickly, and with its one optional package missing."""

import re

import pytest

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import CHECKOUT, find_host, running_host

pytestmark = pytest.mark.comfy

# Found before site-packages, so that it is as if sam2 were not installed.
NO_SAM2 = 'raise ImportError("No module named \'sam2\'", name="sam2")\n'


def test_importing_the_pack_takes_no_time(host_server):
    seconds = re.search(r"([\d.]+) seconds: \S*/custom_nodes/ugc_sr\b", host_server.log.read_text())

    assert float(seconds[1]) <= 0.3


def test_without_sam2_one_node_says_what_to_install_and_the_rest_work(tmp_path, anatomy, photo):
    blocker = tmp_path / "blocker"
    (blocker / "sam2").mkdir(parents=True)
    (blocker / "sam2" / "__init__.py").write_text(NO_SAM2)
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
