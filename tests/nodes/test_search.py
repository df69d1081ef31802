"""What a photographer who knows no diffusion types into the editor's search, and the node that answers."""

import pytest

pytestmark = pytest.mark.comfy

# node -> words that find it: parts of its name, or of one of its aliases, as the editor's search takes them
WORDS = {
    "UGCSR_LoadNanoModel": "sharpen, unblur, deblur, blurry, denoise, upscale, enhance, restore, improve, "
    "pixelated, compression, jpeg artifacts, old phone, whatsapp, instagram, super resolution, "
    "锐化, 去模糊, 去噪, 变清晰, 压缩, 微信",
    "UGCSR_PrepareImage": "放大, enlarge, resize, transparent",
    "UGCSR_MatchColor": "color cast, 偏色",
    "UGCSR_BlendRegions": "keep faces",
    "UGCSR_WeighRegions": "protect text",
    "UGCSR_RestorationPreset": "phone photo, 手机照片",
    "UGCSR_TileDiffusion": "panorama",
    "UGCSR_PlanRestoration": "out of memory",
    "UGCSR_CompareSheet": "before after",
    "UGCSR_ScoreImage": "image quality",
    "UGCSR_DegradeImage": "simulate",
    "UGCSR_TagPhoto": "describe",
}


def answers(node, word):
    return any(word in text.casefold() for text in (node["display_name"], *node["search_aliases"]))


def test_what_a_photographer_types_finds_the_node(client):
    nodes = client.node_definitions()
    asked = ((nodes[name], word) for name, words in WORDS.items() for word in words.split(", "))
    assert [word for node, word in asked if not answers(node, word)] == []


def test_no_alias_says_what_the_name_says_already_or_stands_twice(client):
    for name, node in client.node_definitions().items():
        if name.startswith("UGCSR_"):
            aliases = [alias.casefold() for alias in node["search_aliases"]]
            assert len(set(aliases)) == len(aliases), name
            assert node["display_name"].casefold() not in aliases, name
