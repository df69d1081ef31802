"""The search with a pure objective: what it tries, keeps, refuses, and goes on with after a kill."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.tune.objective import Objective
from ugc_sr.tune.space import PARAMETERS, Range, as_inputs
from ugc_sr.tune.study import FILE, all_trials, mean_of, search

OBJECTIVE = Objective({"psnr_y": 1.0})
SPACE = {name: PARAMETERS[name] for name in ("steps", "start", "color")}
OWN = {"steps": 1, "start": 1.0, "color": "wavelet"}
TRIALS = 16  # more than the ten that TPE draws blindly

# Kills itself in the middle of the seventh trial that it begins.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ugc_sr.tune.objective import Objective
from ugc_sr.tune.study import search
sys.path.insert(0, sys.argv[2])
import test_study as t
begun = 0
def measure(values):
    global begun
    begun += 1
    if begun == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return t.score(values)
for _ in t.run(Path(sys.argv[3]), measure):
    pass
"""


def score(values):
    """Two photos; best at 20 steps, denoise 0.4, lab."""
    near = -abs(values["KSampler.steps"] - 20) - 10 * abs(values["KSampler.denoise"] - 0.4)
    near += values["UGCSR_MatchColor.method"] == "lab"
    return [{"psnr_y": near, "own_niqe": 5.0}, {"psnr_y": near + 1, "own_niqe": 6.0}]


def run(folder, measure=score, *, objective=OBJECTIVE, space=SPACE, own=OWN, trials=TRIALS, seed=0):
    made_with = {"seed": seed, "set of photos": "a"}
    return search(folder, objective, space, own, measure, trials=trials, seed=seed, made_with=made_with)


def test_own_values_outside_the_ranges_are_tried_all_the_same(tmp_path):
    own = OWN | {"steps": 200, "color": "none"}
    found = list(run(tmp_path, own=own))
    assert found[0].values == as_inputs(SPACE, own)
    assert len(found) == TRIALS


def test_it_finds_better_values_than_the_best_of_its_blind_draws(tmp_path):
    found = [mean_of(OBJECTIVE, trial.scores) for trial in run(tmp_path, trials=40)]
    assert max(found[10:]) > max(found[:10])


def test_another_seed_tries_other_values(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = (list(run(tmp_path / name, seed=seed)) for seed, name in enumerate("ab"))
    assert first[0] == second[0]
    assert first[1:] != second[1:]


@pytest.mark.deep
def test_a_search_that_is_killed_again_and_again_tries_what_an_undisturbed_one_tries(tmp_path):
    for name in ("package", "killed", "undisturbed"):
        (tmp_path / name).mkdir()
    (tmp_path / "package" / "ugc_sr").symlink_to(CHECKOUT)
    arguments = [tmp_path / "package", CHECKOUT / "tests" / "tune", tmp_path / "killed"]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    ends = []
    while not ends or ends[-1]:
        ends.append(subprocess.run(command, env=os.environ, timeout=120).returncode)
        assert ends[-1] in (0, -signal.SIGKILL)
    assert len(ends) > 2
    assert list(run(tmp_path / "killed", measure=None)) == list(run(tmp_path / "undisturbed"))


def test_a_trial_that_fails_is_not_kept_and_tried_again(tmp_path):
    def fail(values):
        raise RuntimeError("KSampler: out of memory")

    done = list(run(tmp_path, trials=2))
    with pytest.raises(RuntimeError, match="KSampler: out of memory"):
        list(run(tmp_path, fail, trials=3))
    assert len(all_trials(tmp_path)) == 2
    (tmp_path / "other").mkdir()
    assert list(run(tmp_path, trials=3)) == list(run(tmp_path / "other", trials=3))
    assert done == list(run(tmp_path, trials=2))


def test_values_that_another_objective_has_measured_are_not_measured_again(tmp_path):
    first = list(run(tmp_path, trials=10))
    measured = []
    second = run(
        tmp_path,
        lambda values: measured.append(values) or score(values),
        objective=Objective({"own_niqe": -1.0}),
        trials=10,
    )
    assert [trial.values for trial in second] == [trial.values for trial in first]  # the blind draws
    assert measured == []
    assert all_trials(tmp_path) == first


def test_the_same_values_are_measured_once(tmp_path):
    space = {"color": PARAMETERS["color"]}
    measured = []

    def measure(values):
        measured.append(values["UGCSR_MatchColor.method"])
        return [{"psnr_y": len(values["UGCSR_MatchColor.method"])}]

    assert len(list(run(tmp_path, measure, space=space, own={"color": "wavelet"}))) == TRIALS
    assert sorted(measured) == ["adain", "lab", "wavelet"]


def test_a_folder_with_another_search_is_refused_in_words(tmp_path):
    list(run(tmp_path, trials=1))
    with pytest.raises(ValueError, match=r"holds a search with another seed. Give the original ones, or"):
        list(run(tmp_path, trials=1, seed=1))


def test_whole_numbers_stay_whole_and_others_are_round(tmp_path):
    space = SPACE | {"steps": replace(SPACE["steps"], space=Range(2, 8, step=2))}
    for trial in list(run(tmp_path, space=space))[1:]:
        assert trial.values["KSampler.steps"] in (2, 4, 6, 8)
        assert isinstance(trial.values["KSampler.steps"], int)
        assert len(str(trial.values["KSampler.denoise"])) <= 4


@pytest.mark.parametrize("name", ["a?b", "a#b", "{x}", "%2e%2e", "a:b@c", "?mode=memory", "line\nbreak"])
def test_a_search_stays_in_a_folder_of_any_name(tmp_path, name):
    (tmp_path / name).mkdir()
    first = list(run(tmp_path / name, trials=2))
    assert list(run(tmp_path / name, trials=2)) == first
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == {Path(name), Path(name, FILE)}


def test_a_file_that_holds_no_search_is_refused_and_stays(tmp_path):
    (tmp_path / FILE).write_text("a letter")
    with pytest.raises(ValueError, match=rf"{FILE}': file is not a database. Move it away"):
        list(run(tmp_path, trials=1))
    assert (tmp_path / FILE).read_text() == "a letter"


def test_a_search_is_not_written_through_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"{FILE}: a symbolic link, which could lead"):
        list(run(tmp_path / "folder", trials=1))
    assert not (tmp_path / "elsewhere").exists()
