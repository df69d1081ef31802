"""Searches the sampling parameters that suit a model best, through a real ComfyUI."""
