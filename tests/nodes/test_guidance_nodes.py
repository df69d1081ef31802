"""The loaders of weights as the host calls them; tests/host/test_wrong_weights.py has what they refuse."""

import pytest
import torch
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder of models, for every kind."""
    import folder_paths

    names = ("detection", "model_patches", "controlnet")
    folders = {name: ([str(tmp_path)], {".safetensors"}) for name in names}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    save_file({"lora_up": torch.zeros(1)}, tmp_path / "lora.safetensors")
    return tmp_path


def test_loaders_list_the_files_of_their_folder_and_load_again_when_one_changes(folder):
    from ugc_sr.nodes.guidance_nodes import LoadSemanticAdapter, LoadSemanticControlNet
    from ugc_sr.nodes.semantics_nodes import LoadSAM2Encoder

    for size, node in enumerate((LoadSemanticAdapter, LoadSemanticControlNet, LoadSAM2Encoder), 2):
        (combo,) = node.define_schema().inputs
        assert combo.options == ["lora.safetensors"]
        assert node.validate_inputs("lora.safetensors") is True
        assert "There is no file 'x.safetensors' in models/" in node.validate_inputs("x.safetensors")
        before = node.fingerprint_inputs("lora.safetensors")
        save_file({"other": torch.zeros(100 * size)}, folder / "lora.safetensors")
        assert node.fingerprint_inputs("lora.safetensors") != before
