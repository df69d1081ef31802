from dataclasses import asdict

import pytest

from ugc_sr.benchmarks.baseline import SETTINGS, basicsr
from ugc_sr.benchmarks.degrade import PARAMETERS
from ugc_sr.degrade.effects import EFFECTS
from ugc_sr.degrade.effects.effect import check
from ugc_sr.degrade.recipes import RECIPES


@pytest.mark.parametrize("name", EFFECTS)
def test_every_effect_is_measured_at_settings_that_it_takes(name):
    check(EFFECTS[name], PARAMETERS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_both_sides_draw_from_the_same_settings(name):
    """Every range of BasicSR's side, found among the numbers of our recipe."""
    recipe = RECIPES[name].to_json()
    numbers = "".join(recipe.split())
    for stage in (SETTINGS[name].first, SETTINGS[name].second):
        for field in ("blur_sigma", "noise_range", "poisson_scale_range", "jpeg_range"):
            low, high = asdict(stage)[field]
            assert f'{{"uniform":[{low},{high}]' in numbers, field


def test_a_missing_baseline_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("ugc_sr.benchmarks.baseline.FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent\.py is missing. `make setup` brings it from PyPI"):
        basicsr("absent")
