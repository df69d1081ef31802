"""The card of figures."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from ugc_sr.score.card import BETTER_PX, EDGE_PX, INTERVAL_PX, ROW_PX, card
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.scoring import summary
from ugc_sr.score.sheet import PAPER


@pytest.fixture
def scored():
    """Scores of one photo after another."""

    def make(seed, **references):
        generator = torch.Generator().manual_seed(seed)
        gt = torch.rand(1, 3, 40, 48, generator=generator)
        sr = (gt + 0.1 * torch.randn(gt.shape, generator=generator)).clamp(0, 1)
        given = {"gt": gt, "lr": torch.nn.functional.avg_pool2d(gt, 4)}
        return {"name": f"photo {seed}", **evaluate(sr, **{name: given[name] for name in references})}

    return make


def drawn(picture, box):
    """Whether anything stands there."""
    part = picture.crop(box)
    return ImageChops.difference(part, Image.new("RGB", part.size, PAPER)).getbbox() is not None


def test_each_metric_adds_a_row(scored):
    row = scored(1, gt=True, lr=True)
    whole = card(summary([row]))
    del row["gmsd"]
    assert whole.height - card(summary([row])).height == ROW_PX


def test_another_value_changes_its_row_alone(scored):
    row = scored(1, gt=True)
    a, b = card(summary([row])), card(summary([row | {"psnr_rgb": 9.0}]))
    _, top, _, bottom = ImageChops.difference(a, b).getbbox()
    assert bottom - top < ROW_PX


def test_a_batch_has_intervals_and_equal_pictures_have_none(scored):
    rows = [scored(seed, gt=True) for seed in (1, 2, 3)]
    assert card(summary(rows[:1])).width == BETTER_PX + EDGE_PX
    assert card(summary(rows)).width == INTERVAL_PX + EDGE_PX
    infinite = [row | {"psnr_y": float("inf")} for row in rows]
    assert card(summary(infinite)).width == INTERVAL_PX + EDGE_PX


def test_the_challenge_is_left_out_where_nothing_of_it_was_measured(scored):
    with_it, without = summary([scored(1, gt=True)]), summary([scored(1, lr=True)])
    assert without["challenge"]["score"] is None
    rows = {name: len(report["protocol"]) for name, report in (("with", with_it), ("without", without))}
    extra = card(with_it).height - card(without).height - ROW_PX * (rows["with"] - rows["without"])
    assert extra == 3 * ROW_PX


def test_a_value_that_some_photos_lack_is_a_dash(scored):
    rows = [scored(1, gt=True), scored(2, gt=True)]
    del rows[1]["gmsd"]
    assert summary(rows)["no_mean"] == ["gmsd"]
    assert card(summary(rows)).height == card(summary([rows[0]] * 2)).height


def test_nothing_is_drawn_beyond_the_edges(scored):
    for rows in ([scored(1, gt=True, lr=True)], [scored(seed, gt=True, lr=True) for seed in (1, 2)]):
        picture = card(summary(rows))
        width, height = picture.size
        assert not drawn(picture, (width - EDGE_PX + 2, 0, width, height))
        assert not drawn(picture, (0, height - EDGE_PX + 2, width, height))
        assert np.asarray(picture).std() > 10
