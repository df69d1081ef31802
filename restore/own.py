"""A ComfyUI that is started for the duration of the work, and started again if it ends."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import yaml

from .server import Host, find_host, running_host


class OwnHost:
    """Runs a host inside a `with` statement, with the models folders of its ComfyUI.

    Its photos and results are in a temporary folder, which outlives a host that ends but not this object.

    Args:
        comfyui: ComfyUI's folder; that of `find_host` if not given.
        models: the models folder; ComfyUI's models/ if not given.
    """

    def __init__(self, comfyui: Path | None = None, models: Path | None = None) -> None:
        self.comfyui = find_host(comfyui)
        self.models = models or self.comfyui / "models"
        self._starts = 0
        self._lock = threading.Lock()
        self._outer = ExitStack()
        self._running = ExitStack()

    def __enter__(self) -> OwnHost:
        self._folder = Path(self._outer.enter_context(tempfile.TemporaryDirectory(prefix="ugc-sr-")))
        try:
            self._host = self._start()
        except BaseException:
            self._outer.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._outer, self._running:
            pass

    @property
    def process(self) -> int:
        """The process id of the running host."""
        return self._host.process.pid

    def address(self) -> str:
        """Return the address of the host, which is started again if it has ended.

        Raises:
            RuntimeError: if it can't be started.
        """
        with self._lock:
            if self._host.process.poll() is not None:
                self._running.close()
                self._host = self._start()
            return self._host.address

    def _start(self) -> Host:
        folders = {folder.name: folder.name for folder in sorted(self.models.iterdir()) if folder.is_dir()}
        paths = self._folder / "models.yaml"
        paths.write_text(
            yaml.safe_dump({"comfyui": {"base_path": str(self.models), **folders}}), encoding="ascii"
        )
        flags = ["--extra-model-paths-config", str(paths)]
        for kind in ("input", "output"):
            (self._folder / kind).mkdir(exist_ok=True)
            flags += [f"--{kind}-directory", str(self._folder / kind)]
        self._starts += 1
        base = self._folder / f"host{self._starts}"
        return self._running.enter_context(running_host(self.comfyui, base, flags=flags))
