"""ComfyUI as a child process: it is started on a free port, and ended with all its own child processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..processes import ENDS_WITH_US
from .connection import AccessError, AnswerError, Connection, ServerLostError

CHECKOUT = Path(__file__).resolve().parents[1]
# ComfyUI makes no online requests, opens no browser and keeps no database. The upload limit is 1 GiB: 3 bytes
# for each of 256 megapixels, and PNG's overhead.
FLAGS = ("--disable-api-nodes", "--disable-auto-launch", "--database-url", "sqlite:///:memory:")
FLAGS += ("--max-upload-size", "1024")
BOOT_LIMIT_S = 180  # a first start takes 8 to 14 s on two cores
STOP_LIMIT_S = 10
LOG_TAIL_LINES = 25


@dataclass(frozen=True)
class Host:
    """A running host."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    boot_s: float


def find_host(given: Path | None = None) -> Path:
    """Return the ComfyUI folder that is given, else the one that COMFYUI_PATH names.

    Without both it is the one around this package, else that of `make setup`.

    Raises:
        FileNotFoundError: if there is no ComfyUI.
    """
    around = Path(__file__).absolute().parents[3]  # above custom_nodes/ugc_sr/restore; follows no link
    own = around if (around / "main.py").is_file() else CHECKOUT / ".host" / "ComfyUI"
    folder = Path(given or os.environ.get("COMFYUI_PATH") or own).absolute()
    if not (folder / "main.py").is_file():
        raise FileNotFoundError(f"There is no ComfyUI in '{folder}'. Run make setup, or set COMFYUI_PATH.")
    return folder


def accelerator() -> str | None:
    """Return the name of the device that ComfyUI uses here, such as a graphics card; None for the CPU."""
    import torch  # importing it takes seconds

    for kind in ("cuda", "xpu", "npu", "mlu"):  # ROCm's device type is cuda, too
        device = getattr(torch, kind, None)
        if device is not None and device.is_available():
            return device.get_device_name()
    return "Apple GPU" if torch.backends.mps.is_available() else None


@contextmanager
def running_host(
    host: Path,
    base: Path,
    *,
    cpu: bool | None = None,
    extensions: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> Iterator[Host]:
    """Start a host, yield it when it answers, and end it afterwards.

    Args:
        host: the ComfyUI folder.
        base: empty folder for its input, output, models and log.
        cpu: compute on the CPU; if None, only on machines without a GPU.
        extensions: name -> folder of custom nodes; only this checkout if not given.
        environment: additional environment variables.
        flags: additional command-line options.

    Raises:
        OSError: if the `with` block raises it.
        RuntimeError: if the host ends, or doesn't answer in time; the message has the end of its log.
    """
    nodes = base / "custom_nodes"
    nodes.mkdir(parents=True)
    for name, folder in (extensions or {"ugc_sr": CHECKOUT}).items():
        (nodes / name).symlink_to(folder, target_is_directory=True)
    port, log, started = _free_port(), base / "host.log", time.monotonic()
    command = [*ENDS_WITH_US, str(host / "main.py"), "--base-directory", str(base), "--port", str(port)]
    command += ["--listen", "127.0.0.1", *FLAGS, *flags]
    command += ["--cpu"] if cpu or (cpu is None and accelerator() is None) else []
    with log.open("wb") as output:
        process = _started(command, host, {**os.environ, **(environment or {})}, output)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(process, address, log)
        try:
            yield Host(process, address, log, boot_s=time.monotonic() - started)
        except (OSError, RuntimeError) as error:
            if process.poll() is None:
                raise
            raise RuntimeError(f"ComfyUI ended with status {process.returncode}:\n{_tail(log)}") from error
    finally:
        _stop(process)


class OwnHost:
    """Runs a host inside a `with` statement, with the models folder of its ComfyUI.

    Photos and results are in a temporary folder, which is kept when the host is started again, and deleted at
    the end.

    Args:
        comfyui: ComfyUI's folder; that of `find_host` if not given.
        models: the models folder; ComfyUI's models/ if not given.
        flags: additional command-line options.
    """

    def __init__(
        self, comfyui: Path | None = None, models: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        self.comfyui = find_host(comfyui)
        self.models = models or self.comfyui / "models"
        self.flags, self._starts = flags, 0
        self._lock = threading.Lock()
        self._outer, self._running = ExitStack(), ExitStack()

    def __enter__(self) -> OwnHost:
        self._folder = Path(self._outer.enter_context(tempfile.TemporaryDirectory(prefix="ugc-sr-")))
        try:
            self.host = self._start()
        except BaseException:
            self._outer.close()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        with self._outer:
            self._running.__exit__(*error)

    def address(self) -> str:
        """Return the address of the host, which is started again if it has ended.

        Raises:
            RuntimeError: if it can't be started.
        """
        with self._lock:
            if self.host.process.poll() is not None:
                self._running.close()
                self.host = self._start()
            return self.host.address

    def _start(self) -> Host:
        import yaml

        folders = {folder.name: folder.name for folder in sorted(self.models.iterdir()) if folder.is_dir()}
        paths = self._folder / "models.yaml"
        content = yaml.safe_dump({"comfyui": {"base_path": str(self.models), **folders}})
        paths.write_text(content, encoding="ascii")
        flags = ["--extra-model-paths-config", str(paths), *self.flags]
        for kind in ("input", "output"):
            (self._folder / kind).mkdir(exist_ok=True)
            flags += [f"--{kind}-directory", str(self._folder / kind)]
        self._starts += 1
        base = self._folder / f"host{self._starts}"
        return self._running.enter_context(running_host(self.comfyui, base, flags=flags))


def _started(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + BOOT_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"ComfyUI ended with status {process.returncode} at its start:\n{_tail(log)}")
        try:
            Connection(address).request("/system_stats")
            return
        except (ServerLostError, AccessError, AnswerError):
            time.sleep(0.1)
    raise RuntimeError(f"ComfyUI did not answer within {BOOT_LIMIT_S} s:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, kind)
            process.wait(timeout=STOP_LIMIT_S)
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
