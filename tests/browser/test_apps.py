"""Templates as a person opens them: by *Templates*, as a graph and as an app, up to a photo of one's own."""

import pytest
from PIL import Image

from ugc_sr.restore.server import CHECKOUT

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

CLICKS = 4  # from the start of the editor to a restored photo of one's own
# What each app shows, in its order; those that open as one.
RESULT = ["before | after", "preview_text"]
APPS = {
    "quickstart": ["photo", "scale", "sharpness", *RESULT],
    "keep_regions": ["photo", "scale", "sharpness", *RESULT],
    "ugc_wild": ["photo", "scale", "seed", *RESULT],
    "ugc_synthetic_x4": ["photo", "scale", "seed", *RESULT],
    "turbo": ["photo", "scale", "seed", *RESULT],
    "make_training_pairs": ["photo", "recipe", "seed", "folder"],
    "degrade_restore_score": ["photo", "recipe", "seed", "sharpness"],
}
FIRST = {"quickstart", "keep_regions", "ugc_wild", "ugc_synthetic_x4", "turbo"}
TEMPLATES = sorted(file.stem for file in (CHECKOUT / "workflows").glob("*.json"))

EMPTY = "() => app.loadGraphData({nodes: [], links: [], version: 0.4})"
# Whether a file is the editor's current one, opened in that mode: it has its nodes before that.
OPENED = """([name, mode]) => {
  const now = app.extensionManager.workflow.activeWorkflow
  return now.path.startsWith(`workflows/${name}`) && (now.initialMode ?? null) === mode
}"""
OTHER = "() => app.extensionManager.command.execute('Comfy.ToggleLinear')"
MISSING = """() => app.graph.nodes.map((node) => node.type)
  .filter((type) => !(type in window.LiteGraph.registered_node_types))"""
BOTH = """() => {
  const shown = [...document.querySelectorAll('[data-testid="image-compare-viewport"] img')]
  return shown.length === 2 && shown.every((picture) => picture.complete && picture.naturalWidth)
    && shown.map((picture) => [picture.naturalWidth, picture.naturalHeight])
}"""
TOLD = """() => [...document.querySelectorAll('textarea')]
  .some((text) => text.checkVisibility() && text.value.startsWith('48x32 -> 192x128 px (auto: 4x)'))"""
CUT = """(before) => document.querySelectorAll('[data-testid="image-compare-viewport"] img')[1]
  .style.clipPath !== before"""


@pytest.fixture
def click(page):
    """Clicks, and counts the clicks."""

    def once(place):
        once.count += 1
        place.click()

    once.count = 0
    return once


def labels(page):
    page.get_by_test_id("linear-run-button").wait_for()
    return page.get_by_test_id("builder-widget-label").all_inner_texts()


QUICK = ("quickstart", "make_training_pairs", "anatomy")  # opens as an app, has an app, has none
DEEP = (pytest.param(name, marks=pytest.mark.deep) for name in TEMPLATES if name not in QUICK)


@pytest.mark.parametrize("name", [*QUICK, *DEEP])
def test_a_template_opens_as_a_graph_and_as_an_app(page, name):
    page.evaluate(EMPTY)
    page.get_by_role("button", name="Templates").first.click()
    page.get_by_text("ugc_sr", exact=True).click()
    page.get_by_test_id(f"template-workflow-{name}").click()
    mode = "app" if name in FIRST else "graph" if name in APPS else None
    page.wait_for_function(OPENED, arg=[name, mode])
    run = page.get_by_test_id("linear-run-button")
    run.wait_for(state="visible" if name in FIRST else "hidden")
    if name in APPS:
        if name not in FIRST:
            page.evaluate(OTHER)
        assert labels(page) == APPS[name]
        page.evaluate(OTHER)
        run.wait_for(state="hidden")
    assert page.evaluate(MISSING) == []


def test_four_clicks_restore_a_photo_of_ones_own_and_a_slider_compares_both(page, click, pictures, tmp_path):
    page.evaluate(EMPTY)
    picture = Image.radial_gradient("L").resize((48, 32)).convert("RGB")
    picture.save(tmp_path / "my own.png")
    click(page.get_by_role("button", name="Templates").first)
    page.get_by_placeholder("Search").last.fill("quickstart")
    click(page.get_by_test_id("template-workflow-quickstart"))
    with page.expect_file_chooser() as chosen:
        click(page.locator('[data-slot="drop-zone-indicator"]').first)
    with page.expect_response("**/upload/image"):
        chosen.value.set_files(tmp_path / "my own.png")
    page.wait_for_function("() => app.graph.getNodeById(1).widgets[0].value === 'my own.png'")
    click(page.get_by_test_id("linear-run-button").get_by_role("button", name="Run"))
    assert click.count <= CLICKS

    assert page.wait_for_function(BOTH).json_value() == [[192, 128], [48, 32]]
    page.wait_for_function(TOLD)
    saved = page.evaluate("() => app.nodeOutputs['3'].images[0]")
    assert pictures({"images": [saved]})[0].size == (192, 128)
    page.locator(f"img[src*='{saved['filename']}']").locator("visible=true").first.wait_for()
    slider = page.get_by_test_id("image-compare-viewport")
    box, before = slider.bounding_box(), slider.locator("img").last
    right = []
    for share in (0.25, 0.75):
        cut = before.evaluate("(picture) => picture.style.clipPath")
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_function(CUT, arg=cut)
        cut = before.evaluate("(picture) => picture.style.clipPath")
        right.append(float(cut.split()[1].removesuffix("%")))
    assert right == pytest.approx([75, 25], abs=2)
