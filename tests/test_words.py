"""What a person reads of the nodes: tooltips, help pages, two languages, workflows."""

import json
import re
import urllib.request

import pytest

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.tools.workflows import english

pytestmark = pytest.mark.comfy

PAGES = CHECKOUT / "web" / "docs"
PICTURES = PAGES / "pictures"
LANGUAGES = ("en", "zh")
HAN = re.compile(r"[\u4e00-\u9fff]")
HOSTS_OWN = {"image", "loaders"}  # categories that the host's own languages have
PICTURE_BYTES = 61_440
COMPILED = "{}@|"  # mean something where the editor compiles a message: all but tooltips


def words(language, file="nodeDefs"):
    return json.loads((CHECKOUT / "locales" / language / f"{file}.json").read_text(encoding="utf-8"))


def page_of(node, language):
    file = PAGES / f"{node}.md" if language == "en" else PAGES / node / f"{language}.md"
    return file.read_text(encoding="utf-8")


def said_of(node):
    """The options of all inputs but a seed's second widget, which is the host's."""
    return {key: options for key, options in english.inputs(node).items() if key != english.SEED}


@pytest.fixture
def nodes(client):
    return {name: node for name, node in client.node_definitions().items() if name.startswith("UGCSR_")}


def test_every_node_explains_itself_and_all_its_inputs_and_outputs(nodes):
    silent = []
    for name, node in nodes.items():
        said = {
            "description": node["description"],
            "search_aliases": node["search_aliases"],
            **{key: options.get("tooltip") for key, options in said_of(node).items()},
            **dict(zip(node["output_name"], node["output_tooltips"], strict=True)),
        }
        silent += [f"{name} {what}" for what, text in said.items() if not text]
    assert not silent


def test_no_two_nodes_share_a_display_name(nodes):
    for language in LANGUAGES:
        names = [node["display_name"] for node in words(language).values()]
        assert len(set(names)) == len(names) == len(nodes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_help_page_names_the_node_and_all_its_inputs_and_outputs(nodes, language):
    translated = words(language)
    for name, node in nodes.items():
        page = page_of(name, language)
        assert page.startswith(f"# {translated[name]['display_name']}\n"), name
        wanted = {
            *node["input"].get("required", {}),
            *node["input"].get("optional", {}),
            *node["output_name"],
        }
        missing = [what for what in wanted if f"`{what}`" not in page]
        assert not missing, f"{name} {language}: {missing}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_pages_name_only_inputs_and_outputs_that_some_node_has(nodes, language):
    known = {"latent_image", "unet", "controlnet", "null"}  # the host's, folders, JSON
    for node in nodes.values():
        known |= {*said_of(node), *node["output_name"]}
    for name in nodes:
        quoted = re.findall(r"`([a-z]+(?:_[a-z]+)*)`", page_of(name, language))
        assert set(quoted) <= known, f"{name} {language}"


def test_chinese_pages_call_inputs_as_the_editor_does_and_by_the_name_that_messages_use(nodes):
    for name, translated in words("zh").items():
        page = page_of(name, "zh")
        for group in ("required", "optional"):
            for key in nodes[name]["input"].get(group, {}):
                assert f"**{translated['inputs'][key]['name']}** `{key}`" in page, f"{name} {key}"


def test_every_picture_is_small_and_shown_on_the_page_of_one_node_in_both_languages(nodes):
    shown = {language: [] for language in LANGUAGES}
    for language in LANGUAGES:
        for name in nodes:
            shown[language] += re.findall(r"!\[[^]]+\]\(pictures/([\w.]+)\)", page_of(name, language))
    files = sorted(file.name for file in PICTURES.iterdir())
    assert sorted(shown["en"]) == sorted(shown["zh"]) == files
    assert all((PICTURES / name).stat().st_size <= PICTURE_BYTES for name in files)


def test_there_is_no_page_of_a_node_that_is_gone(nodes):
    assert {file.stem for file in PAGES.glob("*.md")} == {file.parent.name for file in PAGES.glob("*/*.md")}
    assert {file.stem for file in PAGES.glob("*.md")} == set(nodes)


def test_the_host_serves_pages_and_pictures_where_the_editor_asks_for_them(host_server):
    folder = f"{host_server.address}/extensions/ugc_sr/docs"
    for asked in ("UGCSR_LoadNanoModel.md", "UGCSR_LoadNanoModel/zh.md", "pictures/nano.jpg"):
        with urllib.request.urlopen(f"{folder}/{asked}") as answer:
            assert answer.read() == (PAGES / asked).read_bytes()


def test_the_english_words_are_those_of_the_nodes(nodes):
    """After a change of words: python -m ugc_sr.tools.workflows."""
    assert words("en") == english.english(nodes)


def test_tooltips_that_tell_what_lies_in_the_models_folder_are_not_hidden_by_english_words(nodes):
    named = {name for node in nodes.values() for name in english.inputs(node)}
    assert set(english.TOOLTIPS_OF_THE_NODE) <= named
    for node in words("en").values():
        for name in english.TOOLTIPS_OF_THE_NODE:
            assert "tooltip" not in node.get("inputs", {}).get(name, {})


def test_every_word_of_a_node_is_said_in_chinese_too(nodes):
    chinese = words("zh")
    assert set(chinese) == set(nodes)
    for name, node in nodes.items():
        translated = chinese[name]
        assert set(translated.get("inputs", {})) == set(english.inputs(node)), name
        assert set(translated.get("outputs", {})) == {str(slot) for slot in range(len(node["output"]))}, name
        texts = [translated["display_name"], translated["description"]]
        texts += [translated["inputs"][key]["tooltip"] for key in said_of(node)]
        texts += [output["tooltip"] for output in translated.get("outputs", {}).values()]
        assert all(HAN.search(text) for text in texts), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_categories_and_socket_types_have_names(nodes, language):
    main = words(language, "main")
    parts = {part for node in nodes.values() for part in node["category"].split("/")}
    assert set(main["nodeCategories"]) == parts - HOSTS_OWN
    kinds = {kind for node in nodes.values() for kind in node["output"] if str(kind).startswith("UGCSR_")}
    assert set(main["dataTypes"]) == kinds
    if language == "zh":
        assert all(
            HAN.search(name) for name in [*main["nodeCategories"].values(), *main["dataTypes"].values()]
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_editor_compiles_holds_no_characters_of_its_message_syntax(language):
    main = words(language, "main")
    texts = [*main["nodeCategories"].values(), *main["dataTypes"].values()]
    for node in words(language).values():
        sockets = [*node.get("inputs", {}).values(), *node.get("outputs", {}).values()]
        texts += [node["display_name"], node["description"], *(socket["name"] for socket in sockets)]
    assert not [text for text in texts if set(text) & set(COMPILED)]


def test_the_host_hands_both_languages_to_the_editor(host_server):
    with urllib.request.urlopen(f"{host_server.address}/i18n") as answer:
        translated = json.load(answer)
    for language in LANGUAGES:
        assert words(language).items() <= translated[language]["nodeDefs"].items()
        assert (
            words(language, "main")["nodeCategories"].items()
            <= translated[language]["nodeCategories"].items()
        )


def test_every_node_stands_in_a_shipped_workflow(nodes):
    used = set()
    for file in [*(CHECKOUT / "workflows").glob("*.json"), *(CHECKOUT / "subgraphs").glob("*.json")]:
        used |= _types(json.loads(file.read_text(encoding="utf-8")))
    assert set(nodes) <= used


def _types(workflow):
    graphs = [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]
    return {node["type"] for graph in graphs for node in graph["nodes"]}
