"""Clients of ComfyUI: they start it as a child process if needed, and restore photos through its HTTP API."""
