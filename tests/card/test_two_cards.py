"""ComfyUI's split of CFG over two cards, on pretended ones."""

import pytest

pytestmark = pytest.mark.comfy


class InThisThread:
    """The host's pool of threads, one a card, without threads: the pretended cards are seen in one alone."""

    def __init__(self, devices):
        self.work = {}

    def submit(self, device, function, *arguments):
        self.work[device] = function, arguments

    def get_result(self, device):
        function, arguments = self.work.pop(device)
        return function(*arguments), None

    def shutdown(self):
        assert not self.work


def test_each_card_has_its_own_adapter_and_the_picture_is_the_same(
    card, run_graph, quickstart_on, photos, psnr, monkeypatch
):
    import comfy.multigpu

    monkeypatch.setattr(comfy.multigpu, "MultiGPUThreadPool", InThisThread)
    graph = quickstart_on(
        KSampler={"steps": 2, "cfg": 2.0},
        UGCSR_TileDiffusion={"tile_size": 256, "overlap": 64, "tile_batch": 4},
    )
    expected = run_graph(graph, photos())
    active = card(count=2)
    (tiles,) = [key for key, node in graph.items() if node["class_type"] == "UGCSR_TileDiffusion"]
    graph["split"] = {
        "class_type": "MultiGPU_WorkUnits",
        "inputs": {"model": graph[tiles]["inputs"]["model"], "max_gpus": 2},
    }
    graph[tiles]["inputs"]["model"] = ["split", 0]
    picture = run_graph(graph, photos())
    assert psnr(picture, expected) > 60
    between = {line for kind, line in active.events if kind == "between cards"}
    assert not any("attention.py" in line for line in between), "weights of an adapter go to the other card"


@pytest.mark.deep
def test_a_model_moved_to_another_card_takes_its_adapter_along(card, run_graph, quickstart_on, photos):
    graph = quickstart_on()
    expected = run_graph(graph, photos())
    card(count=2)
    (guided,) = [key for key, node in graph.items() if node["class_type"] == "UGCSR_ApplySemanticGuidance"]
    for node in graph.values():
        for name, value in node["inputs"].items():
            if value == [guided, 0]:
                node["inputs"][name] = ["moved", 0]
    graph["moved"] = {
        "class_type": "SelectModelDevice",
        "inputs": {"model": [guided, 0], "device": "gpu:1"},
    }
    picture = run_graph(graph, photos())
    assert (picture.to("cpu") - expected).abs().max() < 1e-3
