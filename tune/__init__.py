"""Search for the best sampling parameters of a workflow, with a running ComfyUI."""
