import json
import re
import shlex
from pathlib import Path

import folder_paths
import pytest
import torch
from safetensors.torch import save_file

from ugc_sr.host import paths
from ugc_sr.models.__main__ import main
from ugc_sr.models.segmenter import nano_encoder

pytestmark = pytest.mark.comfy


def put(file: Path, content=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file({"w": torch.arange(6.0).view(2, 3)} if content is None else content, file)
    return file


def test_encoders_come_from_both_folders_the_hosts_first_and_are_safetensors_only(models):
    put(models / "sam2" / "b.safetensors")
    put(models / "detection" / "tiny" / "a.safetensors")
    put(models / "detection" / "sam2.1_hiera_tiny.pt", b"pickle")
    put(models / "sam2" / "readme.txt", b"text")
    put(models / "sam2" / "a.safetensors")
    assert paths.names("encoder") == [str(Path("tiny", "a.safetensors")), "a.safetensors", "b.safetensors"]
    assert sorted(folder_paths.get_filename_list("sam2")) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("kind", ["encoder", "adapter", "controlnet"])
def test_without_files_a_list_is_empty_and_the_message_says_where_to_put_them(models, kind):
    assert paths.names(kind) == []
    where = " or ".join(f"models/{folder}" for folder in paths.KINDS[kind].folders)
    usual = "sam2" if kind == "encoder" else "srlab"
    command = re.escape(f'python -m ugc_sr.models fetch {usual} --models "{models}"')
    message = (
        rf"There is no file 'x.safetensors' in {where}. In a terminal .*, {command} gets .*there yourself"
    )
    with pytest.raises(FileNotFoundError, match=message):
        paths.load_weights(kind, "x.safetensors")
    with pytest.raises(FileNotFoundError, match=message):
        paths.fingerprint(kind, "x.safetensors")
    assert paths.problem(kind, "x.safetensors").startswith(f"There is no file 'x.safetensors' in {where}")
    assert paths.problem(kind, "").startswith(f"No file of {where} is chosen")
    assert paths.problem(kind, float("nan")).startswith(f"There is no file 'nan' in {where}")


@pytest.mark.parametrize(
    ("kind", "name", "asked"),
    [
        ("adapter", "srlab/unet", "srlab"),
        ("adapter", "seesr\\unet", "seesr"),
        ("controlnet", "seesr/controlnet", "seesr"),
        ("encoder", "sam2.1_hiera_tiny.safetensors", "srlab"),
        ("encoder", "sam2.1_hiera_large.safetensors", "sam2.1_hiera_large.safetensors"),
    ],
)
def test_a_missing_file_of_the_table_is_told_with_the_command_for_it(models, kind, name, asked):
    assert f'python -m ugc_sr.models fetch {asked} --models "{models}"' in paths.problem(kind, name)


def test_a_name_that_comes_over_a_link_is_judged_when_the_graph_runs(models):
    assert paths.problem("adapter", None) is None
    assert paths.fingerprint("adapter", None) == ""
    with pytest.raises(FileNotFoundError, match="No file of models/model_patches is chosen"):
        paths.load_weights("adapter", None)


@pytest.mark.parametrize("ending", ["pt", "pth", "bin", "ckpt"])
def test_a_pickle_is_not_even_opened_and_the_message_is_the_command_for_it(models, ending):
    pickled = put(models / "detection" / f"sam2.1_hiera_tiny.{ending}", b"pickle")
    made = models / "detection" / "sam2.1_hiera_tiny.safetensors"
    command = re.escape(f'python -m ugc_sr.models convert "{pickled}" "{made}"')
    message = (
        rf"'{pickled.name}' in models/detection or models/sam2 is a pickle, .* no node opens it.*{command}"
    )
    with pytest.raises(FileNotFoundError, match=message):
        paths.load_weights("encoder", pickled.name)
    assert re.search(message, paths.problem("encoder", pickled.name))
    assert re.search(rf"No file .* is chosen.*{pickled.name}\..*{command}", paths.problem("encoder", ""))
    assert re.search(rf"Not listed, .*: {pickled.name}\. .*{command}", paths.unlisted("encoder"))
    assert paths.names("encoder") == []


def test_the_command_of_the_message_makes_the_file_that_is_then_listed(models):
    torch.save({"model": nano_encoder().state_dict()}, put(models / "detection" / "sam.pt", b""))
    command = re.search(r"ugc_sr\.models (convert .*?\.safetensors\")", paths.problem("encoder", "sam.pt"))[1]
    assert main(shlex.split(command)) == 0
    assert paths.names("encoder") == ["sam.safetensors"]
    assert paths.load_weights("encoder", "sam.safetensors").keys() == nano_encoder().state_dict().keys()


def test_a_tooltip_names_the_first_pickles_alone(models):
    put(models / "controlnet" / "x.safetensors")
    assert paths.unlisted("controlnet") == ""
    for n in range(5):
        put(models / "controlnet" / f"{n}.pth", b"pickle")
    assert ": 0.pth, 1.pth, 2.pth, .... Convert" in paths.unlisted("controlnet")


def diffusers(folder: Path, *files: str, weight_map=None):
    """A folder of diffusers with these files, each with a tensor of its own name."""
    put(folder / "config.json", b"{}")
    for file in files:
        content = b"pickle" if file.endswith(".bin") else {file: torch.ones(2)}
        put(folder / f"diffusion_pytorch_model{file}", content)
    if weight_map:
        index = json.dumps({"weight_map": {k: f"diffusion_pytorch_model{v}" for k, v in weight_map.items()}})
        put(folder / "diffusion_pytorch_model.safetensors.index.json", index.encode())


def test_a_folder_of_diffusers_appears_and_loads_under_its_own_name(models):
    diffusers(models / "model_patches" / "seesr" / "unet", ".safetensors")
    name = str(Path("seesr", "unet"))
    assert paths.names("adapter") == [name]
    assert paths.problem("adapter", name) is None
    assert paths.load_weights("adapter", name).keys() == {".safetensors"}
    first = paths.fingerprint("adapter", name)
    put(models / "model_patches" / "seesr" / "unet" / "diffusion_pytorch_model.safetensors")
    assert paths.fingerprint("adapter", name) != first


def test_the_file_in_the_folder_still_loads_from_older_graphs(models):
    diffusers(models / "controlnet" / "seesr", ".safetensors")
    name = str(Path("seesr", "diffusion_pytorch_model.safetensors"))
    assert paths.problem("controlnet", name) is None
    assert paths.load_weights("controlnet", name).keys() == {".safetensors"}


def test_a_folder_in_parts_is_one_entry_and_loads_whole(models):
    first, second = "-00001-of-00002.safetensors", "-00002-of-00002.safetensors"
    folder = models / "controlnet" / "seesr" / "controlnet"
    diffusers(folder, first, second, weight_map={first: first, second: second})
    name = str(Path("seesr", "controlnet"))
    assert paths.names("controlnet") == [name]
    assert paths.load_weights("controlnet", name).keys() == {first, second}
    (folder / f"diffusion_pytorch_model{second}").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"needs 2 parts, but '.*-00002-of-00002.safetensors' is missing"
    ):
        paths.load_weights("controlnet", name)


def test_a_folder_with_pickles_alone_is_not_listed_and_named_with_the_command(models):
    folder = models / "model_patches" / "seesr" / "v1.5"
    diffusers(folder, ".bin")
    name = str(Path("seesr", "v1.5"))
    assert paths.names("adapter") == []
    command = re.escape(f'convert "{folder}" "{folder}.safetensors"')
    for asked in (name, str(Path(name, "diffusion_pytorch_model.bin"))):
        with pytest.raises(FileNotFoundError, match=f"is a pickle, .*{command}"):
            paths.load_weights("adapter", asked)


def test_a_folder_without_its_weights_is_refused(models):
    diffusers(models / "controlnet" / "seesr")
    with pytest.raises(FileNotFoundError, match=r"'seesr' has its config.json but not its weights"):
        paths.load_weights("controlnet", "seesr")


def test_a_name_cannot_lead_out_of_the_folders(models):
    put(models / "secret.safetensors")
    diffusers(models / "elsewhere", ".safetensors")
    for name in ("../secret.safetensors", "../elsewhere", str(models / "secret.safetensors")):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            paths.load_weights("controlnet", name)


def test_a_folder_that_the_user_named_sam2_stays_first_and_keeps_its_file_types(models):
    folder_paths.add_model_folder_path("sam2", str(models / "elsewhere"))
    folder_paths.folder_names_and_paths["sam2"][1].add(".pt")
    put(models / "elsewhere" / "same.safetensors", {"w": torch.zeros(1)})
    put(models / "sam2" / "same.safetensors", {"w": torch.ones(1)})
    for _ in range(2):
        paths.names("encoder")
    assert folder_paths.folder_names_and_paths["sam2"] == (
        [str(models / "elsewhere"), str(models / "sam2")],
        {".pt"},
    )


def test_a_file_loads_as_it_was_saved(models):
    weights = {"a": torch.rand(2, 3), "b": torch.rand(4).half()}
    put(models / "controlnet" / "deep" / "x.safetensors", weights)
    name = str(Path("deep", "x.safetensors"))
    assert paths.problem("controlnet", name) is None
    loaded = paths.load_weights("controlnet", name)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())
