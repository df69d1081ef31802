import pytest

from benchmarks.baseline import basicsr
from benchmarks.degrade import PARAMETERS
from ugc_sr.degrade.effects import EFFECTS


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_effect_is_measured_at_settings_that_it_takes(name):
    EFFECTS[name].check(PARAMETERS[name])


def test_a_missing_baseline_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.baseline.FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent\.py is missing. `make setup` brings it from PyPI"):
        basicsr("absent")
