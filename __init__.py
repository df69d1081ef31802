"""UGC Super-Resolution: restores photos that phones and social networks have damaged, inside ComfyUI."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension  # noqa: TID251 - for type checkers only

WEB_DIRECTORY = "./web"  # help pages: web/docs/NODE.md, web/docs/NODE/zh.md


async def comfy_entrypoint() -> ComfyExtension:
    """Called by ComfyUI; everything else is imported only then, so that the package loads without it."""
    from .nodes import Extension

    return Extension()
