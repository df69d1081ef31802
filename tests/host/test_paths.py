import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ugc_sr.models.weights import UnsupportedWeightsError

pytestmark = pytest.mark.comfy


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A models folder of its own; whatever a test registers is forgotten after it."""
    import folder_paths

    folders = {
        name: ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
        for name in ("detection", "model_patches", "controlnet")
    }
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    return tmp_path


def put(file: Path, content=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file({"w": torch.arange(6.0).view(2, 3)} if content is None else content, file)
    return file


def test_encoders_come_from_both_folders_and_are_safetensors_only(models):
    from ugc_sr.host import paths

    put(models / "sam2" / "b.safetensors")
    put(models / "detection" / "tiny" / "a.safetensors")
    put(models / "detection" / "sam2.1_hiera_tiny.pt", b"pickle")
    put(models / "sam2" / "readme.txt", b"text")
    assert paths.names("encoder") == ["b.safetensors", str(Path("tiny", "a.safetensors"))]


@pytest.mark.parametrize("kind", ["encoder", "adapter", "controlnet"])
def test_without_files_a_list_is_empty_and_the_message_says_where_to_put_them(models, kind):
    from ugc_sr.host import paths

    assert paths.names(kind) == []
    where = " or ".join(f"models/{folder}" for folder in paths.KINDS[kind].folders)
    message = rf"There is no file 'x.safetensors' in {where}. Put .*, saved as .safetensors, there"
    with pytest.raises(FileNotFoundError, match=message):
        paths.load_weights(kind, "x.safetensors")
    with pytest.raises(FileNotFoundError, match=message):
        paths.fingerprint(kind, "x.safetensors")
    assert paths.problem(kind, "x.safetensors").startswith(f"There is no file 'x.safetensors' in {where}")
    assert paths.problem(kind, "").startswith(f"No file of {where} is chosen")


def test_a_name_that_comes_over_a_link_is_judged_when_the_graph_runs(models):
    from ugc_sr.host import paths

    assert paths.problem("adapter", None) is None
    assert paths.fingerprint("adapter", None) == ""
    with pytest.raises(FileNotFoundError, match="No file of models/model_patches is chosen"):
        paths.load_weights("adapter", None)


def test_a_file_that_is_there_has_no_problem(models):
    from ugc_sr.host import paths

    put(models / "model_patches" / "seesr.safetensors")
    assert paths.problem("adapter", "seesr.safetensors") is None


def test_a_pickle_is_not_even_opened(models):
    from ugc_sr.host import paths

    put(models / "detection" / "sam2.1_hiera_tiny.pt", b"pickle")
    with pytest.raises(
        FileNotFoundError, match=r"no file 'sam2.1_hiera_tiny.pt' in models/detection or models/sam2"
    ):
        paths.load_weights("encoder", "sam2.1_hiera_tiny.pt")


def test_a_folder_that_the_user_named_sam2_stays_first_and_keeps_its_file_types(models):
    import folder_paths

    from ugc_sr.host import paths

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


def test_the_new_folder_does_not_list_every_file(models):
    import folder_paths

    from ugc_sr.host import paths

    put(models / "sam2" / "readme.txt", b"text")
    paths.names("encoder")
    assert folder_paths.get_filename_list("sam2") == []
    assert folder_paths.get_filename_list("detection") == []


def test_a_file_loads_as_it_was_saved(models):
    from ugc_sr.host import paths

    weights = {"a": torch.rand(2, 3), "b": torch.rand(4).half()}
    put(models / "controlnet" / "deep" / "x.safetensors", weights)
    loaded = paths.load_weights("controlnet", str(Path("deep", "x.safetensors")))
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())


def test_the_fingerprint_follows_the_file(models):
    from ugc_sr.host import paths

    file = put(models / "controlnet" / "x.safetensors")
    first = paths.fingerprint("controlnet", "x.safetensors")
    assert paths.fingerprint("controlnet", "x.safetensors") == first
    put(file, {"w": torch.zeros(50)})
    assert paths.fingerprint("controlnet", "x.safetensors") != first


def whole(tmp_path):
    return put(tmp_path / "whole", {"w": torch.arange(60.0)}).read_bytes()


def zipped_pickle(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "zip")
    return (tmp_path / "zip").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda tmp_path: b"", "'x.safetensors' is an empty file. Download it again"),
        (
            lambda tmp_path: whole(tmp_path)[:-10],
            "'x.safetensors' is cut short or damaged. Download it again",
        ),
        (lambda tmp_path: whole(tmp_path)[:20], "is cut short or damaged"),
        (lambda tmp_path: whole(tmp_path)[:5], "is not a safetensors file"),
        (zipped_pickle, "is a PyTorch pickle under another name.* Get the .safetensors file"),
        (lambda tmp_path: pickle.dumps({"w": [1.0]}), "is a PyTorch pickle under another name"),
        (lambda tmp_path: b"<!DOCTYPE html><html>Not found</html>", "is not a safetensors file. Download"),
        (lambda tmp_path: put(tmp_path / "none", {}).read_bytes(), "'x.safetensors' holds no tensors"),
    ],
)
def test_broken_files_are_refused_in_words(models, tmp_path, content, message):
    from ugc_sr.host import paths

    put(models / "detection" / "x.safetensors", content(tmp_path))
    with pytest.raises(UnsupportedWeightsError, match=message):
        paths.load_weights("encoder", "x.safetensors")
