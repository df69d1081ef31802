"""The table of published weights, and the page that shows it."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ugc_sr.models.catalogue import UNKNOWN, WEIGHTS, recognise, table

PAGE = Path(__file__).parents[2] / "docs" / "weights.md"


@pytest.mark.parametrize("entry", WEIGHTS, ids=lambda entry: entry.name)
def test_an_entry_is_complete_or_says_that_it_is_not(entry):
    assert entry.sha256 == UNKNOWN or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.size is None or entry.size > 10**8
    assert entry.licence
    assert entry.purpose
    for address in (entry.page, entry.url or entry.page):
        parts = urlsplit(address)
        assert parts.scheme == "https"
        assert parts.netloc
    assert entry.url is None or entry.url.rsplit("/", 1)[1] == entry.name
    assert entry.url or entry.note, "a file without an address must say why"


@pytest.mark.parametrize("entry", WEIGHTS, ids=lambda entry: entry.name)
def test_a_download_is_what_the_hosts_dialog_accepts(entry):
    if entry.download is None:
        assert "Google Drive" in entry.note
        return
    assert entry.download.keys() == {"name", "url", "directory"}
    assert entry.download["name"].endswith(".safetensors")
    assert entry.download["url"].startswith("https://huggingface.co/")


@pytest.mark.comfy
@pytest.mark.parametrize("entry", WEIGHTS, ids=lambda entry: entry.name)
def test_an_entry_goes_into_a_folder_of_the_host(entry):
    import folder_paths

    assert entry.folder in folder_paths.folder_names_and_paths


def test_no_two_entries_are_one_file():
    assert len({(entry.name, entry.folder) for entry in WEIGHTS}) == len(WEIGHTS)
    known = [entry.sha256 for entry in WEIGHTS if entry.sha256 != UNKNOWN]
    assert len(set(known)) == len(known)


def test_a_checksum_finds_its_entry_and_unknown_finds_none():
    assert recognise(WEIGHTS[0].sha256) is WEIGHTS[0]
    assert recognise("0" * 64) is None


def test_unknown_is_no_checksum():
    assert recognise(UNKNOWN) is None


def test_the_page_shows_the_table_as_it_is():
    assert table() in PAGE.read_text()
