"""Download of one file over HTTPS: resumed by ranges, complete or absent, with readable errors."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import escape
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn

import aiohttp

SILENCE_LIMIT_S = 60  # of a connection
TRIES = 5  # successive attempts without a new byte
PAUSE_S = 1.0  # pause after the first of them; it doubles after each further one
_WORDS = {
    HTTPStatus.UNAUTHORIZED: "wants a login",
    HTTPStatus.FORBIDDEN: "lets this program not in",
    HTTPStatus.NOT_FOUND: "has no such file",
    HTTPStatus.GONE: "has no such file any more",
    HTTPStatus.TOO_MANY_REQUESTS: "was asked too often",
}

_NO_WAY = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)  # no name, route or certificate

Progress = Callable[[int, "int | None"], None]  # bytes downloaded, bytes of the whole file


class RefusedError(OSError):
    """A source refuses the file or can't be reached; another source may have the file."""


def refuse(url: str, status: int, reason: str = "", wait: str = "") -> NoReturn:
    """Raise a source's HTTP status as a readable error; `wait` is its Retry-After header.

    Raises:
        RefusedError: always.
    """
    line = f"{status} {reason}".strip()
    words = _WORDS.get(HTTPStatus(status), "fails") if status in set(HTTPStatus) else "fails"
    later = f"; it says to come again in {wait} s" if wait.isdigit() else ""
    raise RefusedError(f"{url} {words} ({line}){later}")


def give_up(url: str, error: BaseException) -> NoReturn:
    """Raise an error of a connection as a readable one with a short reason.

    Raises:
        RefusedError: always.
    """
    if isinstance(error, asyncio.TimeoutError):
        why = f"nothing came within {SILENCE_LIMIT_S} s"
    else:
        number = getattr(error, "errno", None)
        why = os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
    raise RefusedError(f"{url} does not answer: {' '.join(why.split()) or type(error).__name__}") from error


@dataclass
class _Job:
    """A download over one or more connections."""

    url: str
    target: Path
    progress: Progress
    headers: Mapping[str, str]
    part: Path | None = None  # set as soon as the version of the remote file is known
    validator: str = ""  # HTTP entity tag, for If-Range
    size: int | None = None
    received: int = 0  # bytes over the network

    def name_part(self, version: str) -> Path:
        """Return the partial file of that version; partial files of other versions are deleted."""
        tag = f"{zlib.crc32(version.encode()):08x}"
        self.part = self.target.with_name(f".{self.target.name}.{tag}.part")
        self.part.parent.mkdir(parents=True, exist_ok=True)
        for other in self.target.parent.glob(f".{escape(self.target.name)}.????????.part"):
            if other != self.part:
                other.unlink()
        return self.part


def download(
    url: str,
    target: Path,
    progress: Progress,
    *,
    headers: Mapping[str, str] | None = None,
    version: str = "",
) -> Path:
    """Download a file beside `target`, resuming an earlier call's download, and return its path.

    The environment's proxies are used. The path is .NAME.TAG.part; the tag identifies the version of the
    remote file, so that parts of different versions are never joined.

    Args:
        url: of the file; redirects are followed, with a login only as long as they stay on its host.
        target: the final path, which the caller moves the download to.
        progress: called with the number of bytes downloaded and the size of the whole file.
        headers: to send, such as a login.
        version: identifies the version of the remote file, if that is known beforehand.

    Raises:
        RefusedError: if the source refuses it.
        OSError: if it can't be written to the disk.
    """
    job = _Job(url, target, progress, headers or {})
    if version:
        job.name_part(version)
    return asyncio.run(_run(job))


async def _run(job: _Job) -> Path:
    limits = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_LIMIT_S, sock_read=SILENCE_LIMIT_S)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())  # the certificates of SSL_CERT_FILE
    failures = 0
    async with aiohttp.ClientSession(
        trust_env=True, timeout=limits, connector=connector, auto_decompress=False
    ) as session:
        while True:
            before = job.received
            try:
                if part := await _attempt(session, job):
                    return part
                continue
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                failures = 1 if job.received > before else failures + 1
                hopeless = not job.received and isinstance(error, _NO_WAY)
                if hopeless or failures >= TRIES:
                    give_up(job.url, error)
            await asyncio.sleep(PAUSE_S * 2 ** (failures - 1))


async def _attempt(session: aiohttp.ClientSession, job: _Job) -> Path | None:
    """Read one response; return the path if the file is complete then, else None."""
    start = job.part.stat().st_size if job.part and job.part.exists() else 0
    headers = {**job.headers, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if job.validator:
            headers["If-Range"] = job.validator
    async with session.get(job.url, headers=headers) as answer:
        if job.part and answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if answer.headers.get("Content-Range") == f"bytes */{start}":
                return job.part
            job.part.unlink()
            return None
        _require(job.url, answer)
        if job.part is None:
            part = _learn(job, answer)
            if part.exists() and answer.headers.get("Accept-Ranges") == "bytes":
                return None  # request the rest
        else:
            part = job.part
        if answer.status == HTTPStatus.PARTIAL_CONTENT:
            job.size = _total(job.url, start, answer.headers.get("Content-Range", ""))
        else:
            start, job.size = 0, answer.content_length
        await _store(job, part, start, answer)
        return part


def _require(url: str, answer: aiohttp.ClientResponse) -> None:
    """Refuse a response that isn't the file.

    Raises:
        RefusedError: if it isn't; the message says what the response is.
        ClientError: if asking again may help.
    """
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise aiohttp.ClientError(f"{answer.status} {answer.reason}")
    if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        refuse(url, answer.status, answer.reason or "", answer.headers.get("Retry-After", ""))
    if answer.content_type == "text/html":
        raise RefusedError(f"{url} answers with a web page in place of the file")


def _learn(job: _Job, answer: aiohttp.ClientResponse) -> Path:
    """Return the partial file for the version of this response."""
    tag, date = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    job.validator = date if not tag or tag.startswith("W/") else tag
    return job.name_part(f"{tag}|{date}|{answer.content_length}")


def _total(url: str, start: int, content_range: str) -> int | None:
    """Return the size of the whole file in bytes, from the Content-Range header; None if it is unknown.

    Raises:
        RefusedError: if the range isn't the requested one.
    """
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range)
    if match is None or int(match[1]) != start:
        raise RefusedError(
            f"{url} was asked for the bytes from {start} on and gives others ({content_range})"
        )
    return None if match[3] == "*" else int(match[3])


async def _store(job: _Job, part: Path, start: int, answer: aiohttp.ClientResponse) -> None:
    """Write the response's body after the first `start` bytes.

    Raises:
        ClientPayloadError: if the body is shorter or longer than its header states.
    """
    have = start
    with part.open("ab" if start else "wb") as file:
        job.progress(have, job.size)
        async for chunk in answer.content.iter_chunked(1 << 20):
            file.write(chunk)
            have += len(chunk)
            job.received += len(chunk)
            job.progress(have, job.size)
    if job.size is not None and have != job.size:
        raise aiohttp.ClientPayloadError(f"{have} of {job.size} bytes came")
