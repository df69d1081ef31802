import comfy.model_management as management
import pytest
import torch
from safetensors.torch import save_file

from ugc_sr.host.encoder import encode, load_encoder
from ugc_sr.models.segmenter import nano_encoder
from ugc_sr.nodes.semantics_nodes import EncodeSemantics, LoadSAM2Encoder

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def weights():
    """The small encoder; every weight away from its starting value."""
    generator = torch.Generator().manual_seed(0)
    state_dict = nano_encoder().state_dict()
    return {key: w + 0.05 * torch.randn(w.shape, generator=generator) for key, w in state_dict.items()}


@pytest.fixture(scope="module")
def encoder(weights):
    return load_encoder(weights)


def same(a, b):
    return torch.equal(a.tokens, b.tokens)


@torch.inference_mode()
def test_a_photo_becomes_semantics(encoder):
    semantics = encode(encoder, torch.rand(1, 3, 48, 80))
    assert semantics.tokens.shape == (1, 64, 96)
    assert semantics.tokens.dtype == torch.float32
    assert semantics.tokens.std() > 0.05
    assert (semantics.grid, semantics.image_size, semantics.encoder) == ((8, 8), (48, 80), "nano")


@torch.inference_mode()
def test_a_photo_reads_the_same_alone_and_in_any_batch(encoder):
    photos = torch.rand(3, 3, 40, 60)
    batch = encode(encoder, photos)
    for i, tokens in enumerate(batch.tokens):
        assert torch.equal(encode(encoder, photos[i : i + 1]).tokens[0], tokens)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (301, 7)])
def test_photos_of_any_size_can_be_read(encoder, size):
    semantics = encode(encoder, torch.rand(1, 3, *size))
    assert semantics.image_size == size
    assert semantics.tokens.isfinite().all()


@torch.inference_mode()
def test_the_host_owns_the_weights_and_a_reload_changes_nothing(encoder):
    photo = torch.rand(1, 3, 32, 32)
    before = encode(encoder, photo)
    assert encoder.patcher in [loaded.model for loaded in management.current_loaded_models]
    management.unload_all_models()
    assert not management.current_loaded_models
    assert same(encode(encoder, photo), before)


@torch.inference_mode()
@pytest.mark.parametrize("shortage", ["CUDA out of memory", "Invalid buffer size: 28.14 GB"])  # of MPS
@pytest.mark.parametrize(
    ("shortages", "messages"), [(1, ["other models"]), (2, ["other models", "on the CPU"])]
)
def test_out_of_memory_frees_the_other_models_and_then_reads_on_the_cpu(
    encoder, caplog, shortage, shortages, messages
):
    photo = torch.rand(2, 3, 32, 32)
    expected = encode(encoder, photo)
    left = [True] * shortages

    def starve(*_):
        if left and left.pop():
            raise RuntimeError(shortage)

    with encoder.patcher.model.register_forward_pre_hook(starve):
        assert same(encode(encoder, photo), expected)
    logged = [r.getMessage() for r in caplog.records if "Encode Semantics: out of memory" in r.getMessage()]
    assert len(logged) == len(messages)
    assert all(message in line for message, line in zip(messages, logged, strict=True))
    assert same(encode(encoder, photo), expected)


@torch.inference_mode()
def test_errors_other_than_memory_pass(encoder):
    def broken(*_):
        raise RuntimeError("something else")

    hook = encoder.patcher.model.register_forward_pre_hook(broken)
    with hook, pytest.raises(RuntimeError, match="something else"):
        encode(encoder, torch.rand(1, 3, 32, 32))


@torch.inference_mode()
def test_nodes_read_a_file_and_a_photo(models, weights, encoder):
    (models / "detection").mkdir()
    save_file(weights, models / "detection" / "small.safetensors")
    loaded = LoadSAM2Encoder.execute("small.safetensors").result[0]
    assert loaded.name == "nano"
    photo = torch.rand(2, 30, 50, 3)
    semantics = EncodeSemantics.execute(loaded, photo).result[0]
    assert same(semantics, encode(encoder, photo.movedim(-1, 1)))
    assert semantics.image_size == (30, 50)


@torch.inference_mode()
def test_transparency_is_ignored(encoder):
    photo = torch.rand(1, 20, 20, 4)
    assert same(*(EncodeSemantics.execute(encoder, x).result[0] for x in (photo, photo[..., :3])))
