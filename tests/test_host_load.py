"""The pack in the real host: every node there, no heavy import, and with its one optional package missing."""

import subprocess
import sys

import pytest

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import CHECKOUT, find_host, running_host

pytestmark = pytest.mark.comfy

# Found before site-packages, so that it is as if sam2 were not installed.
NO_SAM2 = 'raise ImportError("No module named \'sam2\'", name="sam2")\n'


# Prints the packages that the pack imports beside those that the host has imported before it.
NEW_PACKAGES = """
import importlib.util, sys
import comfy.cli_args; comfy.cli_args.args.cpu = True
import nodes, comfy_api.latest
before = set(sys.modules)
spec = importlib.util.spec_from_file_location("ugc_sr", sys.argv[1], submodule_search_locations=[sys.argv[2]])
sys.modules["ugc_sr"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["ugc_sr"])
import ugc_sr.nodes
names = {name.split(".")[0] for name in set(sys.modules) - before}
print(*sorted(names - sys.stdlib_module_names))
"""


def test_the_host_imports_no_other_package_for_the_pack():
    command = [sys.executable, "-c", NEW_PACKAGES, CHECKOUT / "__init__.py", CHECKOUT]
    told = subprocess.run(command, cwd=find_host(), text=True, stdout=subprocess.PIPE, check=True)

    assert told.stdout.split() == ["ugc_sr"]


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
