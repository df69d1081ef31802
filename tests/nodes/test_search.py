"""What a photographer who knows no diffusion types into the editor's search, and the node that answers."""

import pytest

pytestmark = pytest.mark.comfy

# word -> the node to find; a part of its name, or of one of its aliases, as the editor's search takes it
WORDS = {
    "sharpen": "UGCSR_LoadNanoModel",
    "unblur": "UGCSR_LoadNanoModel",
    "deblur": "UGCSR_LoadNanoModel",
    "blurry": "UGCSR_LoadNanoModel",
    "denoise": "UGCSR_LoadNanoModel",
    "upscale": "UGCSR_LoadNanoModel",
    "enhance": "UGCSR_LoadNanoModel",
    "restore": "UGCSR_LoadNanoModel",
    "improve": "UGCSR_LoadNanoModel",
    "pixelated": "UGCSR_LoadNanoModel",
    "compression": "UGCSR_LoadNanoModel",
    "jpeg artifacts": "UGCSR_LoadNanoModel",
    "old phone": "UGCSR_LoadNanoModel",
    "whatsapp": "UGCSR_LoadNanoModel",
    "instagram": "UGCSR_LoadNanoModel",
    "super resolution": "UGCSR_LoadNanoModel",
    "锐化": "UGCSR_LoadNanoModel",
    "去模糊": "UGCSR_LoadNanoModel",
    "去噪": "UGCSR_LoadNanoModel",
    "变清晰": "UGCSR_LoadNanoModel",
    "压缩": "UGCSR_LoadNanoModel",
    "微信": "UGCSR_LoadNanoModel",
    "放大": "UGCSR_PrepareImage",
    "enlarge": "UGCSR_PrepareImage",
    "resize": "UGCSR_PrepareImage",
    "transparent": "UGCSR_PrepareImage",
    "color cast": "UGCSR_MatchColor",
    "偏色": "UGCSR_MatchColor",
    "keep faces": "UGCSR_BlendRegions",
    "protect text": "UGCSR_WeighRegions",
    "phone photo": "UGCSR_RestorationPreset",
    "手机照片": "UGCSR_RestorationPreset",
    "panorama": "UGCSR_TileDiffusion",
    "out of memory": "UGCSR_PlanRestoration",
    "before after": "UGCSR_CompareSheet",
    "image quality": "UGCSR_ScoreImage",
    "simulate": "UGCSR_DegradeImage",
    "describe": "UGCSR_TagPhoto",
}


def answers(node, word):
    return any(word in text.casefold() for text in (node["display_name"], *node["search_aliases"]))


def test_what_a_photographer_types_finds_the_node(client):
    nodes = client.node_definitions()
    assert [word for word, name in WORDS.items() if not answers(nodes[name], word)] == []


def test_no_alias_says_what_the_name_says_already_or_stands_twice(client):
    for name, node in client.node_definitions().items():
        if name.startswith("UGCSR_"):
            aliases = [alias.casefold() for alias in node["search_aliases"]]
            assert len(set(aliases)) == len(aliases), name
            assert node["display_name"].casefold() not in aliases, name
