"""HTTP requests to one ComfyUI: address, login, proxies, and readable errors."""

from __future__ import annotations

import asyncio
import base64
import io
import ipaddress
import json
import os
import re
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp

LOGIN_VARIABLE = "COMFYUI_TOKEN"
SILENCE_LIMIT_S = 60  # limit without data on a connection
BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
MIB = 1 << 20
_Result = TypeVar("_Result")


class ServerLostError(ConnectionError):
    """The server doesn't answer, or is temporarily unavailable, for a short `reason`; a retry may succeed."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class AccessError(OSError):
    """The server refuses access to all requests of this client; the user has to log in or change settings."""


class AnswerError(RuntimeError):
    """The server answered one request with an error: HTTP `status`, and `content`, the body."""

    def __init__(self, message: str, status: int = 0, content: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.content = content


class Connection:
    """Independent requests to one server.

    Neither `address` nor any error contains the login. Requests to this machine use no proxy; others obey
    http_proxy, https_proxy and no_proxy. Redirects aren't followed, since they would pass the login on.

    Args:
        address: the address as typed, optionally with user:password@ in front of the host.
        token: sent as "Authorization: Bearer" if the address has no login.

    Raises:
        ValueError: if `address` isn't an address.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address, login = _parse(address)
        self._headers = {"Authorization": login} if login else {}
        if token and not login:
            self._headers["Authorization"] = f"Bearer {token.strip()}"
        self.is_here = _is_here(urlsplit(self.address).hostname or "")  # True for a server on this machine

    def request(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the body of the answer to a GET, or to a POST of `body`.

        Raises:
            ServerLostError: if the server doesn't answer.
            AccessError: if it refuses access.
            AnswerError: if it answers with another error.
        """
        return finish(self._request(path, body, headers or {}))

    def json(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """Return the decoded JSON of the answer to a GET, or to a POST of `body`.

        Raises:
            ServerLostError: if the server doesn't answer.
            AccessError: if it refuses access, or answers with a web page, such as a login.
            AnswerError: if it answers with another error, or with something that isn't JSON.
        """
        content = self.request(path, body, headers)
        try:
            return json.loads(content)
        except ValueError:
            if content.lstrip().startswith(b"<"):
                raise AccessError(
                    f"{self.address} answers with a web page, as a login page does, and not as a ComfyUI. "
                    f"Look at the address and the port. {self._login_hint()}"
                ) from None
            raise AnswerError(
                f"{self.address} answers with something that is no JSON. Look at the address and the port.",
                HTTPStatus.OK,
                content,
            ) from None

    def session(self) -> aiohttp.ClientSession:
        """Return an aiohttp session with this connection's login and proxies, for use in a coroutine."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_LIMIT_S, sock_read=SILENCE_LIMIT_S)
        return aiohttp.ClientSession(headers=self._headers, trust_env=not self.is_here, timeout=limits)

    def fail(self, error: BaseException) -> NoReturn:
        """Raise an error of aiohttp or of the operating system as a readable one.

        Raises:
            ServerLostError: if the server doesn't answer.
            AccessError: if TLS or a proxy prevents the connection.
            AnswerError: if the answer isn't HTTP.
        """
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            raise AccessError(
                f"{self.address} shows a certificate that can't be verified: {error.certificate_error}. Give "
                "the name that it was made for. One of your own goes into the file that SSL_CERT_FILE names."
            ) from error
        if isinstance(error, aiohttp.ClientSSLError):
            raise AccessError(f"{self.address} speaks no TLS. Try http:// in front of it.") from error
        if isinstance(error, (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError)):
            what = str(error.status) if isinstance(error, aiohttp.ClientHttpProxyError) else _reason(error)
            raise AccessError(
                f"The proxy on the way to {self.address} says {what}. "
                "Look at https_proxy, http_proxy and no_proxy."
            ) from error
        if isinstance(error, aiohttp.WSServerHandshakeError):
            self._refuse(error.status, error.message, error.headers or {}, b"", 0)
        if isinstance(error, aiohttp.ClientResponseError):
            raise AnswerError(
                f"{self.address} answers with something that is no HTTP. Look at the port, or try https://."
            ) from error
        reason = _reason(error)
        raise ServerLostError(f"{self.address} does not answer: {reason}.", reason) from error

    async def _request(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        try:
            async with (
                self.session() as session,
                session.request(
                    "GET" if body is None else "POST",
                    self.address + path,
                    data=io.BytesIO(body) if body else body,
                    headers=headers,
                    allow_redirects=False,
                ) as answer,
            ):
                content = await answer.read()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self.fail(error)
        if answer.status != HTTPStatus.OK:
            self._refuse(answer.status, answer.reason or "", answer.headers, content, len(body or b""))
        return content

    def _refuse(
        self, status: int, reason: str, headers: Mapping[str, str], content: bytes, sent: int
    ) -> NoReturn:
        line = f"{status} {reason}".strip()
        if status in BUSY:
            raise ServerLostError(f"{self.address} can't answer now: {line}.", line)
        if status in (
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        ):
            raise AccessError(f"{self.address} lets nobody in without a login ({line}). {self._login_hint()}")
        if 300 <= status < 400:
            target = urlsplit(headers.get("Location", ""))
            where = f"{target.scheme}://{target.hostname}{target.path}" if target.hostname else target.path
            raise AccessError(
                f"{self.address} sends this client on to {where} ({line}), as a login page does. If ComfyUI "
                f"is there, give that address. {self._login_hint()}"
            )
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise AnswerError(_too_large(self.address, content, sent), status, content)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise AnswerError(f"ComfyUI failed: {line}. Its log tells why.", status, content)
        raise AnswerError(f"{self.address} answers {line}.", status, content)

    def _login_hint(self) -> str:
        if self._headers:
            return f"The login that was sent is not taken: look at user and password, or at {LOGIN_VARIABLE}."
        return f"A login goes into the address, http://user:password@host, or a token into {LOGIN_VARIABLE}."


def finish(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine and return its result, also in a thread with a running event loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _parse(text: str) -> tuple[str, str | None]:
    """Return the address without its login, and the login as an Authorization header or None.

    Raises:
        ValueError: if it isn't an address; the message leaves the login out.
    """
    whole = text.rstrip("/") if "://" in text else f"http://{text.rstrip('/')}"
    try:
        parts = urlsplit(whole)
        host, _ = parts.hostname, parts.port  # the port may not be a number
        encoded = (host or "").encode("idna")
    except ValueError:
        parts, host, encoded = urlsplit(""), None, b""
    plain = not re.search(r"[\s?#]", whole) and parts.scheme in ("http", "https")
    if not (host and encoded and plain):
        login, _, rest = text.partition("?")[0].rpartition("@")
        hint = " In a login, write / ? # @ : % as %2F %3F %23 %40 %3A %25." if "@" in text else ""
        shown = f"...@{rest}" if login or "@" in text else rest
        raise ValueError(f"--server must be an address such as http://127.0.0.1:8188, got {shown}.{hint}")
    login, at, place = parts.netloc.rpartition("@")
    address = f"{parts.scheme}://{place}{parts.path}"
    if not at:
        return address, None
    user, _, password = login.partition(":")
    secret = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return address, f"Basic {secret}"


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        place = ipaddress.ip_address(host)
    except ValueError:
        return False
    return place.is_loopback or place.is_unspecified


def _too_large(address: str, content: bytes, sent: int) -> str:
    limit = re.search(rb"size (\d+) exceeded", content)  # the message of aiohttp, ComfyUI's server
    most = f"{int(limit[1]) / MIB:.4g} MB" if limit else "an amount that it does not tell (ComfyUI: 100 MB)"
    return (
        f"{address} was sent {sent / MIB:.4g} MB, but takes at most {most} at once (413). Start that ComfyUI "
        f"with --max-upload-size {-(-sent // MIB) + 1}, and give a proxy in front of it the same limit."
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"nothing came within {SILENCE_LIMIT_S} s"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
