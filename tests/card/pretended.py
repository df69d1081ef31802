"""A pretended NVIDIA card: tensors that say `cuda:0` and are computed on the CPU, or hold no numbers at all.

A CardTensor wraps a CPU tensor. While a Card is active, it sees every operation of PyTorch: it refuses those
that mix devices, counts copies and reads that make the CPU wait, and adds up the bytes that are alive.
"""

import collections
import contextlib
import functools
import math
import sys
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten

# Operations whose answer the CPU has to wait for.
READS = {
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
}
# Operations that may take tensors of the CPU along: only their shapes, or as indices.
MAY_MIX = {
    aten.empty_like.default,
    aten.full_like.default,
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten.new_empty.default,
    aten.new_full.default,
    aten.new_ones.default,
    aten.new_zeros.default,
    aten.ones_like.default,
    aten.rand_like.default,
    aten.randn_like.default,
    aten.zeros_like.default,
}
# Operations that are one kernel on a card and keep nothing in between.
FUSED = {aten.scaled_dot_product_attention.default}
FACTORIES = ("arange", "empty", "empty_strided", "full", "ones", "rand", "randn", "zeros")


class CardTensor(torch.Tensor):
    """A tensor on a pretended card; `inner` holds its numbers, or is on the meta device and holds none."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner, device):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=device,
        )
        made.inner = inner
        return made

    def __init__(self, inner, device):
        """Everything is done by __new__."""

    def __repr__(self):
        return f"CardTensor({tuple(self.shape)}, {self.dtype}, {self.device})"

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return Card.active.run(op, args, kwargs or {})


class Card(TorchDispatchMode):
    """A context in which operations of PyTorch run on pretended cards, checked and counted.

    Attributes:
        limit: bytes of a card; beyond it an allocation raises torch.OutOfMemoryError. None is endless.
        numbers_up_to: larger tensors hold no numbers, so that networks of true size fit into RAM.
        now, peak: bytes alive, and the most that ever were.
        events: how often each (kind, line of ours) came: "read", "upload", "upload, waiting", "download",
            "between cards".
        uploaded: bytes that went up.
    """

    active: ClassVar["Card | None"] = None

    def __init__(self, limit: int | None = None, numbers_up_to: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.numbers_up_to = numbers_up_to
        self.now = self.peak = self.uploaded = 0
        self.events: collections.Counter[tuple[str, str]] = collections.Counter()
        self._storages = WeakIdKeyDictionary()

    def __enter__(self):
        Card.active = self
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(False)
        Card.active = None
        return super().__exit__(*error)

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        return self.run(op, args, kwargs or {})

    def count(self, kind: str) -> int:
        """Return the number of events of a kind."""
        return sum(number for (name, _), number in self.events.items() if name == kind)

    def run(self, op: Any, args: tuple, kwargs: dict) -> Any:
        """Return the result of an operation, which runs on the card of its tensors if they are on one."""
        if op is torch.ops.prim.device.default:
            return args[0].device
        if op is aten._to_copy.default:
            return self._to_copy(*args, **kwargs)
        if op is aten.copy_.default:
            return self._copy_into(*args)
        if _is_composite(op) and op not in FUSED:
            with self._again():
                out = op.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        device = self._common_device(op, args, kwargs)
        return self._on_card(op, args, kwargs, device) if device else _plain(op, args, kwargs)

    def _on_card(self, op: Any, args: tuple, kwargs: dict, device: torch.device) -> Any:
        if op in READS or _picks_by_truth(op, args):
            self._note("read")
        inner_args, inner_kwargs = tree_map_only(CardTensor, lambda x: x.inner, (args, dict(kwargs)))
        if "device" in inner_kwargs:
            inner_kwargs["device"] = torch.device("cpu")
        inner_kwargs.pop("pin_memory", None)
        return self._answer(op, args, self._compute(op, inner_args, inner_kwargs), device)

    def _common_device(self, op: Any, args: tuple, kwargs: dict) -> torch.device | None:
        """The card on which an operation runs, or None for the CPU.

        Raises:
            RuntimeError: if its tensors are on several devices.
        """
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        devices = {x.device for x in tensors if isinstance(x, CardTensor)}
        asked = kwargs.get("device")
        if asked is not None and op not in READS:
            asked = _indexed(torch.device(asked))
            return asked if asked.type == "cuda" else None
        strangers = {x.device for x in tensors if not isinstance(x, CardTensor) and x.dim() > 0}
        if len(devices) > 1 or (devices and strangers and op not in MAY_MIX):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found "
                f"{sorted(map(str, devices | strangers))}: {op} at {_line()}"
            )
        return next(iter(devices), None)

    def _compute(self, op: Any, args: tuple, kwargs: dict) -> Any:
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        name = op.name().split("::")[1].split(".")[0]
        if name.startswith("new_") and not self._too_large(args[1]):
            args = (torch.empty(0, dtype=args[0].dtype), *args[1:])  # small ones always hold numbers
            kwargs = {"dtype": args[0].dtype, **kwargs, "device": torch.device("cpu")}
        elif any(x.is_meta for x in tensors):
            if op is aten._local_scalar_dense.default:
                return 1.0 if args[0].dtype.is_floating_point else 1
            args, kwargs = tree_map_only(Tensor, lambda x: x.to("meta") if x.dim() else x, (args, kwargs))
            if "device" in kwargs:
                kwargs["device"] = torch.device("meta")
        elif name in FACTORIES and args and isinstance(args[0], (list, tuple)) and self._too_large(args[0]):
            kwargs["device"] = torch.device("meta")
        return _plain(op, args, kwargs)

    def _answer(self, op: Any, args: tuple, out: Any, device: torch.device) -> Any:
        """What an operation gives back: of one that writes into an argument, that argument itself."""
        if isinstance(out, Tensor):
            for argument, given in zip(op._schema.arguments, args, strict=False):
                written = argument.alias_info is not None and argument.alias_info.is_write
                if written and isinstance(given, CardTensor):
                    return given
        return tree_map_only(Tensor, lambda x: self._place(x, device), out)

    def _to_copy(self, source: Tensor, *, dtype=None, device=None, memory_format=None, **how: Any) -> Tensor:
        target = _indexed(torch.device(device)) if device is not None else source.device
        inner = source.inner if isinstance(source, CardTensor) else source
        options = {"dtype": dtype or source.dtype}
        if memory_format is not None:
            options["memory_format"] = memory_format
        if source.device != target:
            self._note_copy(source, target, how.get("non_blocking", False))
        if target.type != "cuda":
            if inner.is_meta and not source.is_meta:
                return torch.zeros(inner.shape, dtype=options["dtype"])
            return _plain(aten._to_copy.default, (inner,), options)
        if self._too_large(inner.shape) and not inner.is_meta:
            inner = torch.empty(inner.shape, dtype=inner.dtype, device="meta")
        return self._place(_plain(aten._to_copy.default, (inner,), options), target)

    def _copy_into(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        if target.device != source.device and source.numel():
            self._note_copy(source, target.device, non_blocking)
        inner = [x.inner if isinstance(x, CardTensor) else x for x in (target, source)]
        if not any(x.is_meta for x in inner):
            _plain(aten.copy_.default, tuple(inner), {})
        return target

    def _note_copy(self, source: Tensor, target: torch.device, non_blocking: bool) -> None:
        if target.type != "cuda":
            self._note("download")
            return
        if source.device.type == "cuda":
            self._note("between cards")
            return
        self.uploaded += source.numel() * source.element_size()
        self._note("upload" if non_blocking else "upload, waiting")

    def _place(self, inner: Tensor, device: torch.device) -> CardTensor:
        """A tensor on a card, whose bytes count as long as they are alive.

        Raises:
            OutOfMemoryError: beyond the limit.
        """
        storage = inner.untyped_storage()
        if storage not in self._storages:
            size = storage.nbytes()
            if self.limit is not None and self.now + size > self.limit:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size} bytes beside {self.now} of {self.limit}."
                )
            self._storages[storage] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, size)
        return CardTensor(inner, device)

    def _free(self, size: int) -> None:
        self.now -= size

    def _note(self, kind: str) -> None:
        self.events[kind, _line()] += 1

    def _too_large(self, shape: Any) -> bool:
        return self.numbers_up_to is not None and math.prod(shape) > self.numbers_up_to

    @contextlib.contextmanager
    def _again(self) -> Iterator[None]:
        """See the operations inside of an operation, too."""
        TorchDispatchMode.__enter__(self)
        try:
            yield
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)


@functools.cache
def _is_composite(op: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")


def _picks_by_truth(op: Any, args: tuple) -> bool:
    """Indexing by a mask has to wait for how many places are true."""
    if op is not aten.index.Tensor:
        return False
    return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])


def _plain(op: Any, args: tuple, kwargs: dict) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        return op(*args, **kwargs)


def _indexed(device: torch.device) -> torch.device:
    return torch.device("cuda", 0) if device.type == "cuda" and device.index is None else device


def _line() -> str:
    """The innermost line of this project, and that of the host which it called, if any."""
    ours, innermost, frame = "", "", sys._getframe(1)
    while frame and not ours:
        file = frame.f_code.co_filename
        if "site-packages" not in file and not file.endswith(("pretended.py", "comfy/ops.py")):
            line = f"{file.rsplit('/', 1)[-1]}:{frame.f_lineno}"
            innermost = innermost or line
            if "ComfyUI/comfy" not in file and "/tests/" not in file:
                ours = line
        frame = frame.f_back
    return " < ".join(filter(None, (ours, innermost)))
