"""The pack in the real host: every node there, quickly, and with its one optional package missing."""

import re

import pytest

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import find_host, running_host

pytestmark = pytest.mark.comfy

NODE_IDS = {
    "UGCSR_ApplySemanticControlNet",
    "UGCSR_ApplySemanticGuidance",
    "UGCSR_BlendRegions",
    "UGCSR_CompareSheet",
    "UGCSR_DegradeImage",
    "UGCSR_EditRecipe",
    "UGCSR_EncodeSemantics",
    "UGCSR_EncodeTags",
    "UGCSR_FinishImage",
    "UGCSR_LRStart",
    "UGCSR_LoadNanoModel",
    "UGCSR_LoadRecipe",
    "UGCSR_LoadSAM2Encoder",
    "UGCSR_LoadSemanticAdapter",
    "UGCSR_LoadSemanticControlNet",
    "UGCSR_MatchColor",
    "UGCSR_PlanRestoration",
    "UGCSR_PrepareImage",
    "UGCSR_PreviewDegradation",
    "UGCSR_ReplayDegradation",
    "UGCSR_RestorationPreset",
    "UGCSR_SaveTrainingPairs",
    "UGCSR_ScoreImage",
    "UGCSR_TagPhoto",
    "UGCSR_TileDiffusion",
    "UGCSR_WeighRegions",
}
# Found before site-packages, so that it is as if sam2 were not installed.
NO_SAM2 = 'raise ImportError("No module named \'sam2\'", name="sam2")\n'


def ours(client):
    return {name: node for name, node in client.node_definitions().items() if name.startswith("UGCSR_")}


def test_every_node_is_known_to_the_host(client):
    assert set(ours(client)) == NODE_IDS


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
        assert set(ours(client)) == NODE_IDS
        graph = anatomy(client.upload(photo))
        with pytest.raises(RuntimeError, match=r"needs the 'sam2' package.*pip install sam2"):
            client.run(graph)
        client.run({key: graph[key] for key in ("1", "3")} | {"13": _save(["3", 0])})


def _save(images):
    return {"class_type": "SaveImage", "inputs": {"images": images, "filename_prefix": "test"}}
