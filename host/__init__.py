"""The port: everything that touches ComfyUI's internals."""
