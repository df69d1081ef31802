"""The nodes of guidance and ControlNet, as the host calls them."""

import pytest
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Folders of models that hold one broken file each."""
    import folder_paths

    folders = {
        name: ([str(tmp_path / name)], {".safetensors"})
        for name in ("detection", "model_patches", "controlnet")
    }
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    for name in ("model_patches", "controlnet"):
        (tmp_path / name).mkdir()
        save_file({"lora_up": torch.zeros(1)}, tmp_path / name / "lora.safetensors")
    return tmp_path


def loaders():
    from ugc_sr.nodes.guidance import LoadSemanticAdapter, LoadSemanticControlNet

    return LoadSemanticAdapter, LoadSemanticControlNet


def test_loaders_list_the_files_of_their_folder(files):
    for node in loaders():
        (combo,) = node.define_schema().inputs
        assert combo.options == ["lora.safetensors"]
        assert node.validate_inputs("lora.safetensors") is True
        assert "There is no file 'x.safetensors' in models/" in node.validate_inputs("x.safetensors")


def test_loaders_refuse_a_file_of_another_kind_by_name(files):
    for node in loaders():
        name = node.define_schema().display_name
        with pytest.raises(ValueError, match=rf"^{name}: 'lora.safetensors' is a LoRA"):
            node.execute("lora.safetensors")


def test_loaders_load_again_when_the_file_changes(files):
    for node, folder in zip(loaders(), ("model_patches", "controlnet"), strict=True):
        before = node.fingerprint_inputs("lora.safetensors")
        save_file({"other": torch.zeros(100)}, files / folder / "lora.safetensors")
        assert node.fingerprint_inputs("lora.safetensors") != before


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (torch.zeros(1, 64, 64, 5), r"'hint' has 5 channels; expected 3"),
        (torch.full((1, 64, 64, 3), float("nan")), r"'hint' holds NaN"),
        (torch.zeros(0, 64, 64, 3), r"'hint' is empty"),
    ],
)
def test_a_bad_hint_is_refused(hint, message):
    from ugc_sr.nodes.guidance import ApplySemanticControlNet

    with pytest.raises(ValueError, match=f"^Apply Semantic ControlNet: {message}"):
        ApplySemanticControlNet.execute([], [], None, hint, None, 1.0, 0.0, 1.0)


def test_every_input_has_a_tooltip():
    from ugc_sr.nodes import guidance

    nodes = (*loaders(), guidance.ApplySemanticGuidance, guidance.ApplySemanticControlNet)
    assert all(field.tooltip for node in nodes for field in node.define_schema().inputs)
