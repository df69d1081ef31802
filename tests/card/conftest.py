"""The real host, set up as with an NVIDIA card, over pretended tensors, in each of its memory modes."""

import asyncio
import gc
import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GIB = 2**30


def _sibling(name):
    """A module of this folder; pytest's importlib mode has no packages of tests."""
    if f"card_{name}" not in sys.modules:
        spec = importlib.util.spec_from_file_location(f"card_{name}", HERE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[f"card_{name}"] = module
        spec.loader.exec_module(module)
    return sys.modules[f"card_{name}"]


class Mode(NamedTuple):
    """A memory mode of the host: its flag, and whether DynamicVRAM keeps or streams the weights."""

    state: str = "NORMAL_VRAM"
    gpu_only: bool = False
    dynamic: str | None = None


MODES = {
    "plain": Mode(),
    "dynamic": Mode(dynamic="resident"),
    "streamed": Mode(dynamic="streamed"),
    "novram": Mode("NO_VRAM"),
    "lowvram": Mode("LOW_VRAM"),
    "highvram": Mode("HIGH_VRAM"),
    "gpu_only": Mode("HIGH_VRAM", gpu_only=True),
}


@pytest.fixture
def card(monkeypatch):
    """Enters a pretended card: card(mode, total=bytes, count=cards, limit=..., numbers_up_to=...) -> Card."""
    entered = []
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else .to() drops the wrappers

    def enter(mode="plain", total=24 * GIB, count=1, **options):
        _quieten(monkeypatch)
        _believe(monkeypatch, MODES[mode], count)
        _limit(monkeypatch, total)
        entered.append(_sibling("pretended").Card(**options))
        return entered[-1].__enter__()

    yield enter
    for active in entered:
        active.__exit__(None, None, None)
    torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


def _quieten(monkeypatch):
    """Let torch.cuda answer what is asked of it without a driver."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    answers = {"_lazy_init": None, "current_device": 0, "is_bf16_supported": True}
    for name, value in (answers | {"synchronize": None, "set_device": None}).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator("cpu"))
    torch._C._ensureCUDADeviceGuardSet()  # a guard that does nothing where there is no driver


def _believe(monkeypatch, mode, count):
    """Tell the host about cards that it can't see; everything is taken back behind the test."""
    import comfy.model_management as management
    from comfy.cli_args import args

    cards = [torch.device("cuda", number) for number in range(count)]

    def computes_in_half(device=None, *_, **__):
        return _of_card(device) and not management.FORCE_FP32

    facts = {
        "cpu_state": management.CPUState.GPU,
        "vram_state": management.VRAMState[mode.state],
        "set_vram_to": management.VRAMState[mode.state],
        "current_loaded_models": [],
        "ENABLE_PYTORCH_ATTENTION": True,
        "MIN_WEIGHT_MEMORY_RATIO": 0.0,
        "get_torch_device": lambda: cards[0],
        "get_all_torch_devices": lambda exclude_current=False: cards[exclude_current:],
        "should_use_fp16": computes_in_half,
        "should_use_bf16": computes_in_half,
        "soft_empty_cache": lambda force=False: None,
        "synchronize": lambda: None,
        "discard_cuda_async_error": lambda: None,
        "current_stream": lambda device: None,
        "set_torch_device": lambda device: None,
    }
    facts |= {f"supports_{kind}_compute": lambda device=None: False for kind in ("fp8", "nvfp4", "mxfp8")}
    for name, value in facts.items():
        monkeypatch.setattr(management, name, value)
    monkeypatch.setattr(args, "gpu_only", mode.gpu_only)
    attention = importlib.import_module("comfy.ldm.modules.attention")
    for module in (attention, importlib.import_module("ugc_sr.host.attention")):
        monkeypatch.setattr(module, "optimized_attention", attention.attention_pytorch)  # as on NVIDIA cards
    if mode.dynamic:
        _sibling("dynamic_vram").switch_on(monkeypatch, resident=mode.dynamic == "resident")


def _of_card(device):
    return device is None or torch.device(device).type == "cuda"


def _limit(monkeypatch, total):
    """Tell the host how much memory a card has, and has left."""
    import comfy.model_management as management

    pretended = _sibling("pretended")
    free_of, total_of = management.get_free_memory, management.get_total_memory

    def free(device=None, torch_free_too=False):
        if not _of_card(device):
            return free_of(device, torch_free_too)
        left = total - (pretended.Card.active.now if pretended.Card.active else 0)
        return (max(left, 0), 0) if torch_free_too else max(left, 0)

    def whole(device=None, torch_total_too=False):
        if not _of_card(device):
            return total_of(device, torch_total_too)
        return (total, 0) if torch_total_too else total

    monkeypatch.setattr(management, "get_free_memory", free)
    monkeypatch.setattr(management, "get_total_memory", whole)


@pytest.fixture(scope="session")
def node_classes():
    """The nodes of the host's core, those for several cards, and the extension's, by id."""
    import comfy_extras.nodes_multigpu

    from benchmarks import graphs

    extension = asyncio.run(comfy_extras.nodes_multigpu.comfy_entrypoint())
    several = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
    return graphs.node_classes() | several


@pytest.fixture
def run_graph(node_classes):
    """Runs a graph in API format, node by node: run_graph(graph, photo) -> the IMAGE at Save Image.

    A third argument, a dict, gets the results of all nodes, which the host keeps in its cache.
    """
    from benchmarks import graphs

    def run(graph, photo, results=None):
        gc.collect()  # models of an earlier run, which are in circles
        done = graphs.execute(graph, photo, node_classes, known={})
        if results is not None:
            results.update(done.outputs)
        return done.inputs["SaveImage"]["images"]

    return run


@pytest.fixture
def quickstart_on():
    """The shipped quick start, with inputs set by node type: quickstart_on(KSampler={"cfg": 2.0})."""
    from benchmarks import graphs

    return lambda **changes: graphs.shipped("quickstart", **changes)


@pytest.fixture
def psnr():
    """psnr(picture, other): dB of an IMAGE on any device, compared with another; infinite for the same."""
    return lambda picture, other: -10 * (picture.to("cpu", torch.float64) - other).square().mean().log10()


@pytest.fixture
def photos():
    """photos(batch, side): smooth photos as they travel through a graph, of 72x40 px if no side is given.

    Restored to four times the size these take two tiles of 256 px.
    """

    def make(batch=1, side=None):
        height, width = (side, side) if side else (40, 72)
        small = torch.rand(batch, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
        large = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic")
        return large.clamp(0, 1).movedim(1, -1).contiguous()

    return make
