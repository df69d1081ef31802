"""Clones of MODELs that stay in the host's list of loaded models, and their wrappers."""

from collections.abc import Callable

from comfy.model_patcher import ModelPatcher


def clone(model: ModelPatcher) -> ModelPatcher:
    """Return a clone of MODEL whose parent is the model that was loaded from a file, not another clone.

    When a loaded MODEL is deleted, the host's list entry passes to its parent. If the parent is deleted with
    it, as happens to the objects of a failed node, ComfyUI 0.30.0 loses the entry, warns of a memory leak,
    and runs the garbage collector before each later load.
    """
    made = model.clone()
    while made.parent is not None and made.parent.parent is not None:
        made.parent = made.parent.parent
    return made


def replace_wrapper(model: ModelPatcher, kind: str, key: str, wrapper: Callable) -> None:
    """Add a wrapper of a kind (WrappersMP) to a MODEL under `key`, in place of those that it has there."""
    model.remove_wrappers_with_key(kind, key)
    model.add_wrapper_with_key(kind, key, wrapper)
