"""Tokens of each tile's own part of the photo: where the parts lie, and what they do in a sampling."""

from dataclasses import replace

import comfy.model_management as management
import comfy.sampler_helpers
import pytest
import torch
from torch.testing import assert_close

from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.encoder import SMALLEST, PhotoReader, encode, encode_views
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.nodes.semantics_nodes import EncodeSemantics
from ugc_sr.sample.frame import fit
from ugc_sr.sample.tiles import Tile, split

pytestmark = pytest.mark.comfy

LATENT = (12, 12)  # cells: 2x2 tiles of 8 cells that share 4
TILES = {"tile": 8, "overlap": 4}


@pytest.fixture
def read_photos(nano):
    """Sizes of the photos that the encoder of `nano` reads."""
    seen = []
    with nano.encoder.patcher.model.register_forward_pre_hook(
        lambda _, photos: seen.append(tuple(photos[0].shape))
    ):
        yield seen


def reader_of(nano, photo, scale):
    """The reader of a photo that Prepare Photo enlarges by `scale`."""
    return PhotoReader(nano.encoder, photo, fit(photo, scale)[1])


class Tokens:
    """Reads tokens of a tile's own from random numbers, or the same for each tile if they are given."""

    def __init__(self, tokens=None, batch=1):
        self.tokens, self.batch = tokens, batch
        self.boxes = []
        self.cleared = 0

    def read(self, boxes, full):
        self.boxes.append(tuple(boxes))
        return [self._tokens(box) for box in boxes]

    def _tokens(self, box):
        if self.tokens is not None:
            return self.tokens
        generator = torch.Generator().manual_seed(hash(tuple(box)) % 1000)
        return 2 * torch.randn(self.batch, 16, 256, generator=generator)

    def clear(self):
        self.cleared += 1


@pytest.fixture
def restore(tiny_model, tiny_adapter, tiny_controlnet, semantics, conditioning, sample):
    """Restores a latent of 12x12 cells in tiles: restore(view, reader, tile_batch, ...) -> latent."""

    def run(view, reader=None, tile_batch=4, batch=1, cfg=3.0, steps=2, wrap=lambda model: model):
        g = torch.Generator().manual_seed(3)
        tokens = semantics.tokens if reader is None else reader.tokens
        tokens = semantics.tokens.expand(batch, -1, -1) if tokens is None else tokens
        photo = replace(semantics, tokens=tokens, image_size=(24, 24), view=view, reader=reader)
        noise, hint = torch.randn(batch, 4, *LATENT, generator=g), torch.rand(batch, 3, 96, 96, generator=g)
        model = wrap(apply_guidance(tiny_model, tiny_adapter, photo))
        model = model if tile_batch is None else tile_diffusion(model, **TILES, batch=tile_batch)
        conds = apply_controlnet(conditioning, tiny_controlnet, hint, photo)
        return sample(model, steps=steps, cfg=cfg, scheduler="simple", conditioning=conds, noise=noise)

    return run


@pytest.fixture
def projections(tiny_adapter):
    """Batch sizes of the tokens that one attention of the UNet projects to keys."""
    seen = []
    attention = tiny_adapter.patcher.model["middle_0"].transformer_blocks[0].attn2
    with attention.to_k.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[0])):
        yield seen


# --- where the parts lie


@pytest.mark.parametrize(
    ("box", "part"),
    [
        ((0, 0, 16, 16), (0, 0, 32, 24)),
        ((8, 0, 16, 16), (16, 0, 24, 24)),
        ((3, 5, 8, 4), (6, 6, 16, 16)),  # columns 10 to 18, grown to the least that is read
        ((0, 0, 24, 16), (0, 0, 40, 24)),
    ],
)
def test_a_tile_reads_what_it_restores(nano, box, part):
    reader = reader_of(nano, torch.rand(1, 3, 40, 24), scale=4)  # 160x96 on a canvas of 192x128
    assert reader.part(Tile(*box), (24, 16)) == part


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (40, 24), (33, 70), (200, 31)])
@pytest.mark.parametrize("scale", [0.5, 1, 2.7, 4])
def test_the_parts_cover_the_photo_and_lie_in_it(nano, size, scale):
    reader = reader_of(nano, torch.rand(1, 3, *size), scale)
    full = tuple(side // 8 for side in reader.frame.canvas)
    seen = torch.zeros(size)
    for tile in split(*full, tile=8, overlap=2):
        part = reader.part(tile, full)
        assert part.of(seen).shape == part[2:]
        assert all(side >= min(SMALLEST, whole) for side, whole in zip(part[2:], size, strict=True))
        part.of(seen).fill_(1)
    assert seen.all()


def test_a_tile_in_the_padding_reads_the_border_next_to_it(nano):
    reader = reader_of(nano, torch.rand(1, 3, 33, 64), scale=2)  # 66x128 on a canvas of 128x128
    assert reader.part(Tile(9, 0, 7, 8), (16, 16)) == (17, 0, 16, 32)


def test_tokens_of_a_tile_are_those_of_its_part_alone_and_of_all_those_of_the_photo(nano):
    photo = torch.rand(2, 3, 64, 32)
    reader = reader_of(nano, photo, scale=2)
    with torch.inference_mode():
        lower, whole = reader.read([Tile(8, 0, 8, 8), Tile(0, 0, 16, 8)], (16, 8))
        assert_close(lower, encode(nano.encoder, photo[:, :, 32:]).tokens, rtol=0, atol=0)
        assert_close(whole, encode(nano.encoder, photo).tokens, rtol=0, atol=0)


def test_a_tile_is_read_once_until_tiles_have_another_size(nano, read_photos):
    reader = reader_of(nano, torch.rand(1, 3, 64, 64), scale=2)
    left, right, small = Tile(0, 0, 16, 8), Tile(0, 8, 16, 8), Tile(0, 0, 8, 8)
    with torch.inference_mode():
        for boxes in ([left], [left, right], [right, left], [small], [left]):
            reader.read(boxes, (16, 16))
    assert read_photos == [(1, 3, 64, 32), (1, 3, 64, 32), (1, 3, 32, 32), (1, 3, 64, 32)]
    reader.clear()
    with torch.inference_mode():
        reader.read([left], (16, 16))
    assert len(read_photos) == 5


def test_a_latent_of_another_canvas_is_refused(nano):
    reader = reader_of(nano, torch.rand(1, 3, 40, 24), scale=4)
    with pytest.raises(ValueError, match=r"canvas of 128x192 px but the sampler's latent is 24x24 cells"):
        reader.read([Tile(0, 0, 8, 8)], (24, 24))


# --- the node


def test_the_node_reads_by_view(nano):
    photo = torch.rand(1, 30, 50, 3)
    _, frame = fit(photo.movedim(-1, 1), 4)
    with torch.inference_mode():
        plain = EncodeSemantics.execute(nano.encoder, photo).result[0]
        unused = EncodeSemantics.execute(nano.encoder, photo, view="global", frame=frame).result[0]
        both = EncodeSemantics.execute(nano.encoder, photo, view="both", frame=frame).result[0]
    assert plain.view == unused.view == "global"
    assert torch.equal(plain.tokens, unused.tokens)
    assert (both.view, both.grid, both.image_size) == ("both", (8, 8), (30, 50))
    assert torch.equal(both.tokens, plain.tokens)


def test_graphs_with_inputs_that_are_gone_restore_the_same_picture(client, photo, anatomy, pictures):
    """`pool` and `freeze_after` stood in workflows once; the host leaves out what a node doesn't take."""

    def picture(gone):
        graph = anatomy(client.upload(photo))
        for node in graph.values():
            node["inputs"] |= gone.get(node["class_type"], {})
        return pictures(client.run(graph)["13"])[0].tobytes()

    frozen = {"freeze_after": 0.5}
    gone = {"UGCSR_ApplySemanticGuidance": frozen, "UGCSR_ApplySemanticControlNet": frozen}
    assert picture(gone | {"UGCSR_EncodeSemantics": {"pool": 4}}) == picture({})


@pytest.mark.parametrize("view", ["tile", "both"])
def test_views_of_tiles_need_the_frame(nano, view):
    with pytest.raises(ValueError, match=rf"Encode Semantics: 'view' {view} needs .* Connect 'frame'"):
        EncodeSemantics.execute(nano.encoder, torch.rand(1, 30, 50, 3), view=view)


def test_the_frame_of_another_photo_is_refused(nano):
    _, frame = fit(torch.rand(1, 3, 50, 30), 4)
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match=r"restored to 120x200 px, to which the 'image' of 50x30 px can't"),
    ):
        EncodeSemantics.execute(nano.encoder, torch.rand(1, 30, 50, 3), view="tile", frame=frame)


# --- in the host's sampling


@pytest.mark.parametrize("view", ["tile", "both"])
def test_tiles_that_all_see_the_whole_photo_restore_as_it_does(restore, semantics, assert_agree, view):
    assert_agree(restore(view, Tokens(semantics.tokens), steps=1), restore("global", steps=1))


@pytest.mark.parametrize("view", ["tile", "both"])
def test_the_number_of_tiles_at_once_changes_nothing(restore, assert_agree, view):
    four = restore(view, Tokens())
    assert (four - restore("global")).abs().max() > 1e-3
    assert_agree(restore(view, Tokens(), tile_batch=1), four)


def test_both_is_neither_of_the_two(restore):
    tile, both = (restore(view, Tokens(), steps=1, cfg=1.0) for view in ("tile", "both"))
    assert (both - tile).abs().max() > 1e-3


def test_without_tiles_every_view_is_global_bit_for_bit(restore):
    reader = Tokens()
    expected = restore("global", tile_batch=None, steps=1)
    for view in ("tile", "both"):
        assert_close(restore(view, reader, tile_batch=None, steps=1), expected, rtol=0, atol=0)
    assert reader.boxes == []


def test_a_batch_of_photos_keeps_its_tokens_apart(restore, semantics, assert_agree):
    mirrored = torch.cat([semantics.tokens, semantics.tokens.flip(2)])
    view = {"batch": 2, "steps": 1, "cfg": 3.0}
    assert_agree(restore("both", Tokens(mirrored), **view), restore("tile", Tokens(mirrored), **view))
    assert_agree(
        restore("tile", Tokens(mirrored), tile_batch=1, **view), restore("tile", Tokens(mirrored), **view)
    )


@pytest.mark.parametrize(("tile_batch", "expected"), [(4, [4]), (2, [2, 2, 2, 2]), (1, [1] * 8)])
def test_keys_and_values_stay_for_the_run_if_all_tiles_fit_into_one_stack(
    restore, projections, tile_batch, expected
):
    reader = Tokens()
    restore("tile", reader, tile_batch=tile_batch, steps=2)
    assert projections == expected
    assert reader.cleared


def test_tiles_made_smaller_by_lack_of_memory_are_read_anew(restore):
    evaluated = []

    def starve(model):
        def short(apply_model, args):
            evaluated.append(args["input"].shape)
            if len(evaluated) == 2:  # in the middle of the run
                raise management.OOM_EXCEPTION("CUDA out of memory")
            return apply_model(args["input"], args["timestep"], **args["c"])

        model = model.clone()
        model.set_model_unet_function_wrapper(short)
        return model

    reader = Tokens()
    result = restore("both", reader, tile_batch=4, wrap=starve)
    assert result.isfinite().all()
    assert {len(boxes) for boxes in reader.boxes} == {4, 2}
    assert [shape[0] for shape in evaluated] == [8, 8, 4, 4]


def test_room_for_keys_and_values_is_asked_for_whichever_node_comes_first(
    tiny_model, tiny_adapter, semantics, conditioning, monkeypatch
):
    asked = []
    load = management.load_models_gpu

    def spy(models, memory_required=0, **options):
        asked.append(memory_required)
        return load(models, memory_required=memory_required, **options)

    monkeypatch.setattr(management, "load_models_gpu", spy)

    def room(model):
        asked.clear()
        conds = {"positive": [{}], "negative": [{}]}
        model_options = {"transformer_options": {"wrappers": model.wrappers}}
        comfy.sampler_helpers.prepare_sampling(model, torch.Size((1, 4, *LATENT)), conds, model_options)
        assert conds == {"positive": [{}], "negative": [{}]}
        return asked[0]

    photo = replace(semantics, image_size=(24, 24))
    width = sum(a.in_channels for a in tiny_adapter.patcher.model.attentions.values())
    one = 16 * (256 + 2 * width) * 4  # 16 tokens of 256, their keys and values, in float32
    assert room(apply_guidance(tiny_model, tiny_adapter, photo)) - room(tiny_model) == pytest.approx(one)
    both = replace(photo, view="both", reader=Tokens())
    tiled = {**TILES, "batch": 3}
    plain = room(tile_diffusion(tiny_model, **tiled))
    first = tile_diffusion(apply_guidance(tiny_model, tiny_adapter, both), **tiled)
    last = apply_guidance(tile_diffusion(tiny_model, **tiled), tiny_adapter, both)
    assert room(first) - plain == room(last) - plain == pytest.approx(4 * one)


@pytest.mark.parametrize("view", ["tile", "both"])
def test_the_bundled_model_restores_by_view_and_survives_the_encoder_out_of_memory(
    nano, view, caplog, sample
):
    photo = torch.rand(1, 3, 40, 24)
    hint, frame = fit(photo, 4)
    starved = []

    def starve(*_):
        if starved:
            raise management.OOM_EXCEPTION(starved.pop())

    def restore():
        with torch.inference_mode():
            semantics = encode_views(nano.encoder, photo, view, frame)
            model = apply_guidance(nano.model, nano.adapter, semantics)
            model = tile_diffusion(model, tile=32, overlap=8, batch=2)
            conds = [nano.conditioning, nano.conditioning]
            conds = apply_controlnet(conds, nano.control_net, hint, semantics)
            latent = nano.vae.encode(hint.movedim(1, -1))
            conds = [[[text, {**more, "concat_image": latent}] for text, more in cond] for cond in conds]
            noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
            starved.extend(["first", "second"] if hungry else [])
            given = {"conditioning": conds, "noise": noise, "latent": latent}
            return sample(model, steps=1, cfg=1.0, scheduler="simple", **given)

    hungry = False
    expected = restore()
    hungry = True
    with nano.encoder.patcher.model.register_forward_pre_hook(starve):
        assert_close(restore(), expected, rtol=0, atol=1e-5)
    assert "Encode Semantics: out of memory again; reading on the CPU" in caplog.text
    assert nano.model.model in [loaded.model for loaded in management.loaded_models()]


@torch.inference_mode()
@pytest.mark.usefixtures("gone")
def test_tiles_are_read_where_the_host_lists_a_model_that_is_gone(nano):
    photo = torch.rand(1, 3, 16, 32)
    hint, frame = fit(photo, 4)
    full = hint.shape[-2] // 4, hint.shape[-1] // 4
    reader = encode_views(nano.encoder, photo, "tile", frame).reader
    assert len(reader.read([(0, 0, *full)], full)) == 1
