"""Training of the networks; never loaded by ComfyUI."""
