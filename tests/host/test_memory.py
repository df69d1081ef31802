"""Out of memory, in the words of every device that the host runs on."""

import comfy.model_management as management
import pytest
import torch

from ugc_sr.host.memory import is_out_of_memory, on_device_or_cpu

pytestmark = pytest.mark.comfy

SHORTAGES = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cuda driver": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cublas inside": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasGemmEx(...)`"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cudnn 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "cudnn search": RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    "cufft": RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    "hip": RuntimeError("HIP out of memory. Tried to allocate 512.00 MiB (GPU 0; 7.98 GiB total capacity)"),
    "hipblas": RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB, max allowed: 18.13 GB)."),
    "mps buffer": RuntimeError("Invalid buffer size: 28.14 GB"),
    "directml": RuntimeError(
        "Could not allocate tensor with 603979776 bytes. There is not enough GPU video memory available!"
    ),
    "xpu": RuntimeError("Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
    "old xpu": RuntimeError("Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES) -5"),
    "npu": RuntimeError("NPU out of memory. Tried to allocate 20.00 MiB (NPU 0; 32.00 GiB total capacity)"),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
        "to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "cpu of windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    "numpy": MemoryError("Unable to allocate 4.00 TiB for an array"),
}
OTHERS = {
    "shapes": RuntimeError("mat1 and mat2 shapes cannot be multiplied (77x768 and 1024x320)"),
    "devices": RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu"),
    "misused": RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    "illegal": RuntimeError("CUDA error: an illegal memory access was encountered"),
    "shared memory": RuntimeError("out of resource: shared memory, Required: 131072, Hardware limit: 101376"),
    "a name": ValueError("'out of memory.png' is no photo"),
    "a stop": KeyboardInterrupt("out of memory"),
    "the disk": OSError(28, "No space left on device"),
}


@pytest.mark.parametrize("error", SHORTAGES.values(), ids=SHORTAGES)
def test_every_device_s_shortage_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_other_errors_are_no_shortage(error):
    assert not is_out_of_memory(error)


def test_the_real_allocator_s_error_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_host_s_own_word_counts_first(monkeypatch):
    monkeypatch.setattr(management, "is_oom", lambda error: "a new device" in str(error))
    assert is_out_of_memory(RuntimeError("a new device is full"))
    assert is_out_of_memory(SHORTAGES["mps"])


@pytest.mark.parametrize("problem", [SHORTAGES["cuda"], SHORTAGES["mps"], NotImplementedError("no such op")])
def test_what_a_device_cannot_do_is_done_on_the_cpu(monkeypatch, caplog, problem):
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("meta"))

    def work(device):
        if device.type != "cpu":
            raise problem
        return "done"

    assert on_device_or_cpu(work, "Match Color") == "done"
    assert f"Match Color: works on the CPU, for the device can't ({problem})." in caplog.text


@pytest.mark.parametrize("kind", ["meta", "cpu"])
def test_other_problems_and_those_of_the_cpu_end_the_node(monkeypatch, kind):
    problem = OTHERS["shapes"] if kind == "meta" else SHORTAGES["cpu"]
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device(kind))
    tries = []

    def work(device):
        tries.append(device.type)
        raise problem

    with pytest.raises(RuntimeError) as caught:
        on_device_or_cpu(work, "Match Color")
    assert (caught.value, tries) == (problem, [kind])
