"""Programs of others queue the shipped files as they are."""

import json
import os
import subprocess
import sys

import pytest

from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy


def test_comfy_cli_runs_the_quick_start_from_the_editor_file(host_server, client, photo, tmp_path):
    workflow = json.loads((CHECKOUT / "workflows" / "quickstart.json").read_text())
    (load,) = (node for node in workflow["nodes"] if node["type"] == "LoadImage")
    load["widgets_values"][0] = client.upload(photo)
    file = tmp_path / "quickstart.json"
    file.write_text(json.dumps(workflow))
    host, port = host_server.address.removeprefix("http://").split(":")
    where = ("--host", host, "--port", port, "--timeout", "300")
    done = subprocess.run(
        [sys.executable, "-m", "comfy_cli", "--skip-prompt", "run", "--workflow", file, "--wait", *where],
        capture_output=True,
        text=True,
        timeout=330,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["ok"], answer["error"]
    assert answer["data"]["status"] == "completed"
    saved = [address for address in answer["data"]["outputs"] if address.endswith("type=output")]
    assert len(saved) == 1  # besides the two pictures of the slider
