"""Hostile weights files: refused in words, in bounded time and memory; nothing in them runs.

`UGCSR_FUZZ=full python -m pytest tests/trust -k fuzz` tries five thousand of each kind instead of sixty.
"""

import io
import json
import math
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ugc_sr.models import files, pickles, repack, weights
from ugc_sr.models.__main__ import main
from ugc_sr.models.segmenter import build_encoder
from ugc_sr.models.weights import UnsupportedWeightsError

SPEC = Path(__file__).parents[1] / "data" / "seesr_parity" / "spec.json"
SHAPES = json.loads(SPEC.read_text())["keys"]
TRUNCATIONS = 200
# The prefixes of names that decide how large a network is taken to be.
NUMBERED = (
    "down_blocks.{}.resnets.0.norm1.weight",
    "down_blocks.0.resnets.{}.norm1.weight",
    "up_blocks.{}.image_attentions.0.norm.weight",
    "down_blocks.1.image_attentions.0.transformer_blocks.{}.norm1.weight",
    "mid_block.image_attentions.{}.norm.weight",
    "controlnet_cond_embedding.blocks.{}.weight",
    "controlnet_down_blocks.{}.weight",
    "image_encoder.trunk.blocks.{}.norm1.weight",
)
NUMBERS = ("999999999999", "9" * 5000, "-1", "1e9", "", "x", "٣", "00", "0.0")
DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I8",
    "U8",
    "BOOL",
    "U16",
    "C64",
    "F8_E4M3",
    "F8_E8M0",
    "F4",
    "X",
    "",
    3,
)
SIZES = (0, 1, -1, 2**31, 2**60, 2**63, 2**64, 10**30, 1.5, True, "8", None, [], {})

FULL = os.environ.get("UGCSR_FUZZ") == "full"
same_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def raw(header, data=b"", length=None):
    """A safetensors file of any header, with any length said in front of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape, dtype="F32", start=0, end=None):
    end = start + 4 * math.prod(shape) if end is None else end
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def read_all(file):
    """What the commands and the loader nodes do with a file, up to its tensors."""
    tensors = files.read(file)
    for kind in weights.OURS:
        with suppress(UnsupportedWeightsError):
            repack.check(tensors, kind, file.name)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "hostile.safetensors"


@pytest.fixture(scope="module")
def network():
    """A UNet with image attentions, of small shapes."""
    return {key: torch.full(shape, 0.01) for key, shape in SHAPES["unet"].items()}


def test_a_file_cut_anywhere_is_refused_by_name(file, refusal, network):
    save_file({key: network[key] for key in sorted(network)[:40]}, file)
    whole = file.stat().st_size
    steps = {*range(12), *(whole * n // TRUNCATIONS for n in range(TRUNCATIONS))}
    for size in sorted(steps, reverse=True):
        os.truncate(file, size)
        assert file.name in refusal(files.read, file)


@pytest.mark.parametrize("length", [0, 1, 7, 2**20, 2**31, 2**32, 2**60, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_that_lies_about_its_length_is_refused(file, refusal, length):
    file.write_bytes(raw({"a": entry((2, 2))}, bytes(16), length))
    assert file.name in refusal(files.read, file)


@pytest.mark.parametrize(
    "header",
    [
        b"{" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        b"[]",
        b"null",
        b'"' + b"a" * 100_000 + b'"',
        b"\xff\xfe\x00",
        b"{}",
    ],
    ids=["open", "deep", "twice the same key", "list", "null", "text", "no text", "nothing"],
)
def test_an_odd_header_is_refused_or_read_as_one_tensor(file, refusal, header):
    file.write_bytes(raw(header, bytes(16)))
    words = refusal(files.read, file)
    assert words is None or file.name in words
    if b'"a":{"dtype"' in header and words is None:
        assert len(files.read(file)) == 1


@same_file
@example([2**60], "F32", 0, 16)
@example([0, 2**60], "F32", 0, 0)
@given(
    st.lists(st.sampled_from(SIZES), max_size=5),
    st.sampled_from(DTYPES),
    st.sampled_from(SIZES),
    st.sampled_from(SIZES),
)
def test_whatever_shape_type_and_place_a_header_claims_it_is_read_or_refused(
    file, refusal, shape, dtype, start, end
):
    header = {"image_encoder.a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}
    file.write_bytes(raw(header, bytes(16)))
    words = refusal(read_all, file)
    assert words is None or file.name in words


@same_file
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_refused(file, refusal, content, framed):
    file.write_bytes(raw(content) if framed else content)
    assert file.name in (refusal(files.read, file) or file.name)


@pytest.mark.parametrize("name", NUMBERED)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_name_with_a_huge_or_odd_number_is_refused_at_once(refusal, network, name, number):
    hostile = network | {name.format(number): torch.ones(64)}
    for kind in ("adapter", "controlnet"):
        assert "hostile" in refusal(repack.check, hostile, kind, "hostile")
    if "encoder" in name:
        assert "hostile" in refusal(build_encoder, hostile, "hostile")


@pytest.mark.comfy
@settings(same_file, max_examples=1000 if FULL else 12)
@given(st.data())
def test_a_network_with_a_few_tensors_of_other_shapes_is_refused_before_it_is_built(refusal, network, data):
    from ugc_sr.host.adapter import load_adapter
    from ugc_sr.host.controlnet import load_controlnet

    hostile = dict(network)
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(key for key in hostile if "image_attentions" in key)))
        shape = data.draw(
            st.sampled_from(
                [(), (0,), (1,), (2**50, 0), (0, 2**50), (64, 0, 64), (1, 1, 1, 1), (3, 5), (64,), (128,)]
            )
        )
        kind = data.draw(st.sampled_from([torch.float32, torch.int64, torch.bool, torch.complex64]))
        hostile[key] = torch.zeros(shape, dtype=kind)
        if data.draw(st.booleans()):
            del hostile[key]
    for load in (load_adapter, load_controlnet):
        words = refusal(load, hostile, "hostile")
        assert words is None or "hostile" in words


@pytest.mark.comfy
def test_a_tiny_file_that_claims_a_huge_network_allocates_nothing(file, refusal):
    from ugc_sr.host.adapter import load_adapter

    site = "down_blocks.0.image_attentions.0."
    claims = {
        f"{site}norm.weight": (64 * 2**30, 0),
        f"{site}proj_in.weight": (64 * 2**30, 0),
        f"{site}transformer_blocks.0.attn2.to_k.weight": (0, 2**50),
    }
    file.write_bytes(raw({key: entry(shape, end=0) for key, shape in claims.items()}))
    assert "expected floating-point numbers" in refusal(load_adapter, files.read(file), "hostile")


class Command:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_under_the_name_of_safetensors_is_never_opened_as_one(file, run_command, tmp_path, protocol):
    file.write_bytes(pickle.dumps({"w": Command(tmp_path / "made")}, protocol=protocol))
    for command in (("check", file), ("convert", file, tmp_path / "out.safetensors")):
        status, said = run_command(main, *command)
        assert (status, said.count("\n")) == (2, 1)
        assert file.name in said
    assert {path.name for path in tmp_path.iterdir()} == {file.name}


@pytest.mark.parametrize(
    "tensor",
    [
        lambda: torch.zeros(1).expand(2**40),
        lambda: torch.zeros(8).as_strided((2**20, 2**20), (0, 0)),
        lambda: torch.zeros(2**10).to_sparse(),
        lambda: torch.empty(2**50, device="meta"),
        lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8),
    ],
    ids=["repeated", "overlapping", "sparse", "meta", "quantised"],
)
def test_a_tensor_that_is_larger_than_its_file_is_refused(tmp_path, refusal, tensor):
    torch.save({"w": tensor()}, tmp_path / "w.pt")
    assert "'w.pt'" in refusal(pickles.read, tmp_path / "w.pt")


def test_a_packed_archive_is_refused_before_it_is_unpacked(tmp_path, refusal):
    content = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, content)
    with (
        zipfile.ZipFile(content) as old,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            bomb = bytes(2**26) if name.endswith("data.pkl") else old.read(name)
            new.writestr(name, bomb)
    assert "'w.pt' is not a whole file of PyTorch" in refusal(pickles.read, tmp_path / "w.pt")


@pytest.mark.parametrize("modern", [True, False])
def test_pickles_with_any_bytes_changed_are_read_or_refused(tmp_path, refusal, modern):
    content = io.BytesIO()
    torch.save(
        {"a.weight": torch.ones(3, 4), "b": torch.ones(2)}, content, _use_new_zipfile_serialization=modern
    )
    whole = content.getvalue()
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000 if FULL else 60):
        harmed = bytearray(whole)
        for place in torch.randint(len(harmed), (3,), generator=generator).tolist():
            harmed[place] = int(torch.randint(256, (), generator=generator))
        (tmp_path / "h.pt").write_bytes(
            harmed[: int(torch.randint(1, 2 * len(harmed), (), generator=generator))]
        )
        words = refusal(pickles.read, tmp_path / "h.pt")
        assert words is None or "'h.pt'" in words


JSON_VALUES = st.recursive(
    st.sampled_from([None, True, 0, -1, 2**70, 1e308, "", "../x", "x" * 500, "a.safetensors", 320, [5, 10]]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["weight_map", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@same_file
@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_any_index_and_config_of_a_folder_is_read_or_refused(tmp_path, refusal, index, widths, heads):
    (tmp_path / f"{files.STEM}{files.SAFE}{files.INDEX}").write_text(json.dumps({"weight_map": index}))
    (tmp_path / "config.json").write_text(
        json.dumps({"block_out_channels": widths, "attention_head_dim": heads})
    )
    refusal(files.parts, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"weight_map":' * 50_000, "9" * 10_000, "\ud800"),
        *('{"weight_map": {"a": "\\u0000"}}', f'{{"weight_map": {{"a": "{"x" * 300}"}}}}'),
    ],
)
def test_an_index_that_no_parser_likes_is_refused(tmp_path, refusal, text):
    index = tmp_path / f"{files.STEM}{files.SAFE}{files.INDEX}"
    index.write_text(text, errors="surrogatepass")
    assert refusal(files.parts, tmp_path)


def test_weights_of_other_things_than_floats_are_named(network):
    key = next(key for key in network if "image_attentions" in key)
    with pytest.raises(UnsupportedWeightsError, match=r"is int8 \[\d+.*\]; expected floating-point numbers"):
        weights.require(network | {key: network[key].to(torch.int8)}, "adapter", "x")
