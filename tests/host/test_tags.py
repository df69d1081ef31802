"""Tags by towers of CLIP's own build, small and with random weights."""

import comfy.sd
import pytest
import torch
from comfy.clip_vision import ClipVisionModel
from comfy.text_encoders.sd2_clip import SD2ClipModel, SD2Tokenizer
from torch.nn import functional as F
from torch.testing import assert_close

from ugc_sr.host import tags
from ugc_sr.host.tags import SHIPPED, TEMPLATES, Tags, encode_tags, shipped_tags, tag_photos

pytestmark = pytest.mark.comfy

WIDTH = 32
TOWER = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
}
NAMES = ("cat", "dog", "old bridge", "rain")


def randomise(module):
    for parameter in module.parameters():
        parameter.data.normal_(std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return module


@pytest.fixture
def clip():
    """A text tower of Stable Diffusion 2's build, 32 wide."""

    class Target:
        clip, tokenizer = SD2ClipModel, SD2Tokenizer
        params: dict = {}  # noqa: RUF012 - the host's own form

    made = comfy.sd.CLIP(Target(), model_options={"clip_h_model_config": TOWER})
    randomise(made.cond_stage_model)
    return made


@pytest.fixture
def vision():
    """Makes an image tower whose images are as wide as told."""

    def make(width=WIDTH):
        config = {"image_size": 28, "patch_size": 14, "num_channels": 3, "projection_dim": width}
        made = ClipVisionModel(TOWER | config | {"model_type": "clip_vision_model"})
        randomise(made.model)
        return made

    return make


@pytest.fixture
def photos():
    return torch.rand(3, 28, 28, 3)


@pytest.fixture
def planted(vision, photos):
    """An image tower, and tags in random places but for the second, which lies where the photos do."""
    tower = vision()
    places = F.normalize(torch.randn(len(NAMES), WIDTH), dim=1)
    places[1] = F.normalize(tower.encode_image(photos[:1])["image_embeds"][0], dim=0)
    return tower, Tags(NAMES, places)


def test_a_tag_lies_at_the_mean_of_its_texts_whatever_else_is_listed(clip):
    tags = encode_tags(clip, "cat, rain\ncat")
    assert tags.names == ("cat", "rain")
    texts = [
        clip.encode_from_tokens(clip.tokenize(t.format("rain")), return_pooled=True)[1] for t in TEMPLATES
    ]
    expected = sum(F.normalize(text, dim=1) for text in texts)
    assert_close(tags.embeddings[1], F.normalize(expected, dim=1)[0])
    assert_close(encode_tags(clip, "rain").embeddings[0], tags.embeddings[1])


def test_an_empty_list_means_ours(clip, monkeypatch, tmp_path):
    short = tmp_path / "tags.txt"
    short.write_text("# animals\ncat, dog\ncat, fish\n")
    monkeypatch.setattr(tags, "SHIPPED", short)
    assert tags.encode_tags(clip, " , \n").names == ("cat", "dog", "fish")


def test_our_list_holds_some_hundred_short_words_once():
    names = shipped_tags()
    assert 300 <= len(names) <= 600
    assert all(len(name.split()) <= 4 and name.isascii() for name in names)
    written = [line for line in SHIPPED.read_text().splitlines() if line and line[0] != "#"]
    assert sum(len(line.split(",")) for line in written) == len(names)  # none twice


def test_the_tag_that_lies_at_the_photo_wins(planted, photos):
    (line,) = tag_photos(*planted, photos[:1], count=4, threshold=0.0)
    assert line.split(", ")[0] == "dog"


def test_tags_come_by_their_likeness(planted, photos):
    tower, tags = planted
    seen = F.normalize(tower.encode_image(photos[:1])["image_embeds"][0], dim=0)
    order = (tags.embeddings @ seen).argsort(descending=True)
    (line,) = tag_photos(tower, tags, photos[:1], count=4, threshold=0.0)
    assert line == ", ".join(NAMES[index] for index in order)


def test_fewer_are_given_by_count_and_by_threshold(planted, photos):
    assert tag_photos(*planted, photos[:1], count=2, threshold=0.0)[0].count(",") == 1
    assert tag_photos(*planted, photos[:1], count=4, threshold=1.0) == ["dog"]


def test_a_photo_of_a_batch_has_the_tags_it_has_alone(planted, photos):
    together = tag_photos(*planted, photos, count=4, threshold=0.0)
    assert together == [tag_photos(*planted, photo, count=4, threshold=0.0)[0] for photo in photos.split(1)]


@pytest.mark.parametrize("upright", [False, True])
def test_a_long_photo_is_read_to_its_ends(planted, photos, upright):
    tower, tags = planted
    seen = []
    tower.model.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["pixel_values"]), with_kwargs=True
    )
    strip = torch.cat([*photos.split(1), torch.zeros(1, 28, 7, 3)], dim=2)
    tag_photos(tower, tags, strip.transpose(1, 2) if upright else strip, count=1, threshold=1.0)
    assert len(seen) == 4
    tag_photos(tower, tags, photos[:1].transpose(1, 2) if upright else photos[:1], count=1, threshold=1.0)
    assert torch.equal(seen[0], seen[-1])


def test_the_words_are_read_once_for_all_photos(clip, vision, photos):
    reads = []
    clip.cond_stage_model.clip_h.transformer.register_forward_pre_hook(
        lambda _, args, given: reads.append(given["embeds"].shape[:2]), with_kwargs=True
    )
    tags = encode_tags(clip, "cat, dog")
    for photo in photos.split(1):
        assert tag_photos(vision(), tags, photo, 2, 0.0)
    assert reads == [(2 * len(TEMPLATES), 77)]


def test_many_words_take_few_calls_of_the_host_and_lie_where_each_lies_alone(clip, monkeypatch):
    words = [f"thing {index}" for index in range(70)]
    own, calls = clip.load_model, []
    monkeypatch.setattr(clip, "load_model", lambda tokens: calls.append(1) or own(tokens))
    together = encode_tags(clip, ", ".join(words))
    assert len(calls) == 3
    assert not any(module._forward_hooks for module in clip.cond_stage_model.modules())
    for index in (0, 31, 32, 69):
        assert_close(together.embeddings[index], encode_tags(clip, words[index]).embeddings[0])


def test_two_towers_whose_embeddings_the_host_joins_are_read_text_by_text(clip, monkeypatch):
    encode = clip.encode_from_tokens

    def joined(tokens, return_pooled):  # as for Stable Diffusion 3
        cond, pooled = encode(tokens, return_pooled=return_pooled)
        return cond, torch.cat([pooled, pooled], dim=1)

    single = encode_tags(clip, "cat, dog").embeddings
    monkeypatch.setattr(clip, "encode_from_tokens", joined)
    double = encode_tags(clip, "cat, dog").embeddings
    assert_close(double, F.normalize(torch.cat([single, single], dim=1), dim=1))


def test_towers_of_two_clips_are_refused(planted, vision, photos):
    with pytest.raises(ValueError, match=r"'tags' are 32 wide, but 'clip_vision' gives 48\. Take both"):
        tag_photos(vision(48), planted[1], photos, 1, 0.0)


def test_an_image_tower_that_is_no_clip_is_refused(planted, photos):
    tower, tags = planted
    tower.model_type = "dinov2"
    with pytest.raises(ValueError, match="'clip_vision' is a dinov2, which has no text tower in ComfyUI"):
        tag_photos(tower, tags, photos, 1, 0.0)


@pytest.mark.parametrize("garbage", [0.0, float("nan")])
def test_a_text_tower_without_its_projection_is_refused(clip, garbage):
    clip.cond_stage_model.clip_h.transformer.text_projection.weight.data.fill_(garbage)
    with pytest.raises(ValueError, match="the text tower in 'clip' lacks its projection"):
        encode_tags(clip, "cat")


def test_a_text_tower_that_is_no_clip_is_refused(clip, monkeypatch):
    tower = clip.cond_stage_model.clip_h
    own = tower.encode
    monkeypatch.setattr(tower, "encode", lambda tokens: (own(tokens)[0], None))  # as T5 and language models
    with pytest.raises(ValueError, match="'clip' has no embedding for a text as a whole, so it is no CLIP"):
        encode_tags(clip, "cat")
