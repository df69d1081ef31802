"""A client that runs ComfyUI as a process of its own and restores photos through its HTTP interface."""
