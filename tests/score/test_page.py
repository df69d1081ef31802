"""The page of a report: what it says, and that it asks nobody for anything."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ugc_sr.score.__main__ import main
from ugc_sr.score.extras import EXTRAS
from ugc_sr.score.metrics import METRICS
from ugc_sr.score.page import worst
from ugc_sr.score.plots import VARIABLES, distribution, scatter
from ugc_sr.score.scoring import report, summary

SIDE = 208  # enough for every metric
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=1<%2fscript>{{ 7*7 }}.png'


def photo(seed, side=SIDE):
    """Smooth, with some grain."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    grain = generator.normal(0, 6, (side, side, 3))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def make(folder, names):
    for role in ("sr", "gt", "lr"):
        (folder / role).mkdir()
    for seed, name in enumerate(names):
        gt = photo(seed)
        gt.save(folder / "gt" / name)
        lr = gt.resize((SIDE // 4, SIDE // 4), Image.Resampling.BOX)
        lr.save(folder / "lr" / name)
        lr.resize(gt.size, Image.Resampling.BICUBIC).save(folder / "sr" / name)
    return folder


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make(tmp_path, ("a.png", "b.png", HOSTILE))


def written(arguments):
    main([*arguments.split(), "--html", "report.html"])
    return Path("report.html").read_text(encoding="utf-8")


def test_every_metric_has_a_name_a_unit_and_a_meaning():
    known = METRICS | EXTRAS
    assert all(metric.title and metric.meaning.endswith(".") for metric in known.values())
    assert len({metric.title for metric in known.values()}) == len(known)


@pytest.mark.slow
def test_the_same_pictures_make_the_same_page(folders, capsys):
    assert written("sr --gt gt --lr lr") == written("sr --gt gt --lr lr")


def test_names_of_files_are_text_whatever_they_say(folders, capsys):
    text = written("sr --gt gt")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;") >= 2
    assert "{{ 7*7 }}" in text


def test_the_page_shows_the_figures_of_the_report(folders, capsys):
    text = written("sr --gt gt --lr lr")
    scores = report(folders / "sr", folders / "gt", folders / "lr")
    low, high = scores["interval"]["psnr_y"]
    assert f"{scores['mean']['psnr_y']:.2f} <small>dB</small>" in text
    assert f"{low:.2f} to {high:.2f}" in text
    assert f"{scores['challenge']['score']:.3f}</b>, without lpips, musiq, maniqa, clipiqa" in text
    for heading in ("Against the original", "Against the small photo", "On its own"):
        assert text.count(heading) == 1
    assert all(how["source"] in text for how in scores["protocol"].values())


def test_one_picture_has_no_plots_and_nothing_is_called_worst(folders, capsys):
    text = written("sr/a.png --gt gt/a.png")
    assert "<svg" not in text
    assert 'class="worst"' not in text
    assert text.count("data:image/png") == 2


def test_equal_pictures_are_infinitely_alike(folders, capsys):
    text = written("gt --gt gt")
    assert '<div class="value">∞ <small>dB</small>' in text
    assert "Fidelity against perception" not in text  # no place for infinite ones on the axis


def test_without_an_original_the_page_shows_what_there_is(folders, capsys):
    text = written("sr")
    assert "Against the" not in text
    assert "Challenge score" not in text
    assert "most detail" in text


def test_the_crop_lies_at_the_largest_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo(0, side=512).save("gt.png")
    broken = photo(0, side=512)
    broken.paste((255, 0, 0), (300, 40, 380, 120))
    broken.save("sr.png")
    left, top = map(int, re.search(r"128 px at (\d+), (\d+)", written("sr.png --gt gt.png")).groups())
    assert left <= 300
    assert top <= 40
    assert left + 128 >= 380
    assert top + 128 >= 120


def test_the_worst_picture_is_the_worst_by_most_metrics():
    rows = [
        {"name": "middling", "psnr_y": 25.0, "gmsd": 0.2, "hf_ratio": 0.8},
        {"name": "bad", "psnr_y": 20.0, "gmsd": 0.3, "hf_ratio": 3.0},
        {"name": "good", "psnr_y": 30.0, "gmsd": 0.1, "hf_ratio": 1.1},
    ]
    assert worst(summary(rows)) == [1, 0, 2]
    assert worst(summary([*rows, rows[2]])) == [1, 0, 2, 3]  # of equals, the first


def test_the_worst_values_are_marked(folders, capsys):
    Image.new("RGB", (SIDE, SIDE), (9, 99, 0)).save("sr/b.png")
    text = written("sr --gt gt")
    row = re.search(r'<tr><th title="b.png">.*</tr>', text).group()
    assert row.count('class="worst"') > len(report(folders / "sr", folders / "gt")["protocol"]) / 2


def test_plots_take_their_colours_from_the_page_and_are_the_same_every_time():
    for draw in (
        lambda: distribution("psnr_y", [20.0, 21.0, 25.0], mean=22.0, interval=(20.5, 24.0)),
        lambda: distribution("gmsd", [0.5, 0.5], mean=0.5, interval=(0.5, 0.5)),
        lambda: scatter([20.0, 21.0], [5.0, 4.0], labels=("PSNR-Y", "NIQE"), down=(False, True)),
    ):
        drawn = draw()
        assert drawn == draw()
        assert drawn.startswith("<svg")
        for sentinel, variable in VARIABLES.items():
            assert sentinel not in drawn
            assert variable in drawn


def test_plots_share_no_id():
    plots = [distribution(name, [20.0, 21.0, 25.0], mean=22.0, interval=(20.5, 24.0)) for name in "ab"]
    first, second = (set(re.findall(r' id="([^"]+)"', plot)) for plot in plots)
    assert first
    assert not first & second


def test_better_is_right_and_up():
    drawn = scatter([20.0, 30.0], [9.0, 4.0], labels=("PSNR-Y", "NIQE"), down=(False, True))
    places = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: var\(--mark\)', drawn)
    (x0, y0), (x1, y1) = [tuple(map(float, place)) for place in places]
    assert x0 < x1
    assert y0 > y1  # SVG counts from the top


def test_without_matplotlib_the_command_says_how_to_get_it(folders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("ugc_sr.score.__main__.report", lambda *_, **__: pytest.fail("scored first"))
    with pytest.raises(SystemExit) as stop:
        main(["sr", "--gt", "gt", "--html", "report.html"])
    assert stop.value.code == 2
    assert 'pip install "ugc-super-resolution[plots]"' in capsys.readouterr().err
    assert not Path("report.html").exists()


@pytest.mark.slow
def test_a_browser_shows_twenty_pairs_without_asking_anyone(browser, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, [*(f"{index:02}.png" for index in range(19)), HOSTILE])
    main(["sr", "--gt", "gt", "--lr", "lr", "--html", "report.html", "--json", "report.json"])
    file = tmp_path / "report.html"
    assert file.stat().st_size < 5_000_000
    scores = json.loads((tmp_path / "report.json").read_text())
    asked, said = [], []
    with browser() as running:
        view = running.new_page(viewport={"width": 390, "height": 844})
        view.on("request", lambda request: asked.append(request.url))
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.goto(file.as_uri())
        assert view.title() == "Scores of sr"
        assert view.locator("article").count() == len(scores["mean"])
        assert view.locator("svg").count() == len(scores["mean"]) + 1
        assert view.locator(".look").count() == 6
        assert view.locator("tbody").first.locator("tr").count() == 20
        assert view.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than a phone"
        inks = []
        for scheme in ("light", "dark"):
            view.emulate_media(color_scheme=scheme)
            inks.append(view.evaluate("getComputedStyle(document.querySelector('svg text')).fill"))
        assert inks[0] != inks[1]
        link = view.locator("tbody a").first
        link.click()
        assert view.locator(".look:target").count() == 1
    assert {url.partition("#")[0] for url in asked} == {file.as_uri()}
    assert said == []


def test_the_page_forbids_all_but_its_own_style_and_pictures(folders, capsys):
    text = written("sr --gt gt")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
