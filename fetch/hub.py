"""Downloads from Hugging Face's hub: its client finds address, login and checksum, `http` gets the bytes.

The hub's client no longer resumes a download of an ended process, and these take hours on a slow line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from ..models.entry import HUB
from .http import Progress, RefusedError, download, give_up, refuse

_FILE = re.compile(rf"{re.escape(HUB)}([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def fetch(url: str, target: Path, progress: Progress) -> tuple[Path, str]:
    """Fetch a file of the hub, or of the mirror that HF_ENDPOINT names.

    Returns:
        The path of the download, and the sha256 that the hub states; "" if it states none.

    Raises:
        RefusedError: if the hub refuses it or does not answer, or huggingface_hub is missing.
        ValueError: if `url` isn't the address of a file on the hub.
    """
    match = _FILE.fullmatch(url)
    if match is None:
        raise ValueError(f"{url} is not the address of a file on {HUB}.")
    try:
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import build_hf_headers
    except ImportError:
        raise RefusedError(
            f"{url} needs the package huggingface_hub: python -m pip install huggingface_hub"
        ) from None
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]  # of either HTTP library it may use
    repository, revision, path = match[1], unquote(match[2]), unquote(match[3])
    mirror = os.environ.get("HF_ENDPOINT") or None
    shown = hf_hub_url(repository, path, revision=revision, endpoint=mirror)
    try:
        known = get_hf_file_metadata(shown, token=get_token())
    except HfHubHTTPError as error:
        answer = error.response
        wait = answer.headers.get("Retry-After", "") if answer is not None else ""
        refuse(shown, answer.status_code if answer is not None else 0, "", wait)
    except (OSError, http_error) as error:
        give_up(shown, error)
    commit, tag = known.commit_hash or revision, known.etag or ""
    part = download(
        hf_hub_url(repository, path, revision=commit, endpoint=mirror),
        target,
        progress,
        headers=build_hf_headers(token=get_token()),
        version=f"{tag}|{known.size}",
    )
    return part, tag if re.fullmatch(r"[0-9a-f]{64}", tag) else ""
