"""Adapters to ComfyUI: everything that depends on its internals."""
