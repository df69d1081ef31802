"""Clones of MODELs that the host doesn't lose from its list of what is loaded."""

from comfy.model_patcher import ModelPatcher


def clone(model: ModelPatcher) -> ModelPatcher:
    """Clone of MODEL whose parent is the one that was loaded from a file, not another clone.

    The host's entry for a loaded MODEL passes to its parent when the MODEL goes. If the parent goes with it,
    as all does that a failed node held, ComfyUI 0.30.0 loses the entry, warns of a memory leak, and collects
    all garbage in front of each load from then on.
    """
    made = model.clone()
    while made.parent is not None and made.parent.parent is not None:
        made.parent = made.parent.parent
    return made
