"""Whole runs by the command line: they end, break and go on as they say."""

import csv
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ugc_sr.train.__main__ import WRONG, main
from ugc_sr.train.checkpoint import read
from ugc_sr.train.run import FULL, NOT_FINITE

SIDE, SCALE = 24, 4
TINY = (
    *("steps=20", "batch=4", "crop=12", "warmup=2", "validate_every=10", "sample_every=0"),
    *("save_every_s=0.05", "options.width=8", "options.blocks=2"),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name in ("hr", "lr"):
        (folder / name).mkdir()
    y, x = np.mgrid[: SIDE * SCALE, : SIDE * SCALE]
    for index in range(4):
        waves = [127 + 100 * np.sin(x * rng.uniform(0.1, 0.8) + y * rng.uniform(0.1, 0.8)) for _ in range(3)]
        hr = Image.fromarray(np.stack(waves, -1).astype(np.uint8))
        hr.save(folder / "hr" / f"photo{index}.png")
        hr.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / "lr" / f"photo{index}.png")
    return folder


def arguments(run, pairs, *settings):
    changes = [f"regression.{setting}" for setting in (*TINY, *settings)]
    command = f"regression --out {run} --data pairs={pairs} --validate {pairs} --workers 0 --cpu --set"
    return [*command.split(), "validation=2", *changes]


def start(*words, launcher=()):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", "ugc_sr.train", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def logged(run, name="loss"):
    with (run / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["name"] == name}


def last_step(run):
    try:
        return int((run / "metrics.csv").read_text().splitlines()[-1].split(",")[1])
    except (OSError, IndexError, ValueError):
        return 0


def stopped_at(step, number, run, words):
    """A process that got a signal after it logged a step, and what it said."""
    process = start(*words)
    try:
        while last_step(run) < step:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """An uninterrupted run of 120 steps."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(arguments(run, pairs, "steps=120", "save_every_s=600", "validate_every=40")) == 0
    return run


@pytest.mark.deep
def test_a_run_killed_at_a_random_step_goes_on_as_if_nothing_had_been(whole, pairs, tmp_path):
    run = tmp_path / "run"
    step = 10 + time.time_ns() % 80
    words = arguments(run, pairs, "steps=120", "validate_every=40")
    code, _ = stopped_at(step, signal.SIGKILL, run, words)
    assert code == -signal.SIGKILL
    saved = read(run / "last.safetensors")[1]["step"]
    assert saved < 120
    resumed = start("--resume", str(run), "--cpu")
    _, said = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, said
    expected, losses = logged(whole), logged(run)
    assert list(losses) == list(range(1, 121)), f"killed after {step}, saved at {saved}"
    assert max(abs(losses[step] - expected[step]) for step in losses) <= 1e-6
    for file in ("last/regression.safetensors", "best/regression.safetensors"):
        assert (run / file).read_bytes() == (whole / file).read_bytes()


@pytest.mark.deep
def test_two_processes_have_the_losses_of_one(pairs, tmp_path):
    assert main(arguments(tmp_path / "one", pairs)) == 0
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    two = start(*arguments(tmp_path / "two", pairs, "accumulate=2"), launcher=launcher)
    out, said = two.communicate(timeout=240)
    assert two.returncode == 0, said
    assert "2 processes on cpu" in out
    for name, count in (("loss", 20), ("validation.psnr_y", 2)):
        one, both = (logged(tmp_path / run, name) for run in ("one", "two"))
        assert one.keys() == both.keys()
        assert len(one) == count
        assert max(abs(one[step] - both[step]) for step in one) <= 1e-5


@pytest.mark.parametrize("deleted", [True, False], ids=("folder deleted", "disk full before the first save"))
def test_a_run_without_a_saved_state_does_not_promise_one(deleted, pairs, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"

    def fail(*_):
        if deleted:
            shutil.rmtree(run)
        raise OSError(errno.ENOENT if deleted else errno.ENOSPC, "the reason")

    monkeypatch.setattr("ugc_sr.train.run.save", fail)
    assert main(arguments(run, pairs)) == FULL
    message = capsys.readouterr().err
    assert f"Can't write to '{run}' after step" in message
    assert "the reason. There is no last.safetensors to go on from. Make room there, or" in message
    assert "whole" not in message
    assert "--resume" not in message


@pytest.mark.deep
def test_a_signal_saves_and_a_full_disk_spares_what_was_saved(pairs, tmp_path, capsys):
    run = tmp_path / "run"
    words = arguments(run, pairs, "steps=2000", "save_every_s=600", "validate_every=0")
    code, said = stopped_at(5, signal.SIGTERM, run, words)
    assert code == 128 + signal.SIGTERM, said
    assert f"its state is saved. Go on with:  python -m ugc_sr.train --resume {run}" in said
    before = (run / "last.safetensors").read_bytes()
    saved = read(run / "last.safetensors")[1]["step"]
    assert 5 <= saved < 2000

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # as a disk without room for it
    try:
        assert main(["--resume", str(run), "--cpu", "--set", f"regression.steps={saved + 3}"]) == FULL
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = capsys.readouterr().err
    assert f"Can't write to '{run}' after step {saved + 3}" in message
    assert f"last.safetensors is whole, of step {saved} of 'regression'. Make room there." in message
    assert (run / "last.safetensors").read_bytes() == before
    assert not list(run.rglob("*.part"))

    assert main(["--resume", str(run), "--cpu"]) == 0
    assert list(logged(run)) == list(range(1, saved + 4))


def test_a_loss_that_is_not_a_number_is_stopped_by_and_another_setting_goes_on(pairs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(run, pairs, "learning_rate=1e30", "warmup=0", "ema=0.0", "clip=0.0")) == NOT_FINITE
    message = capsys.readouterr().err
    (file,) = run.glob("nan-step-*.safetensors")
    step = int(file.stem.rpartition("-")[2])
    assert f"at step {step}, whose samples are pairs/" in message
    assert f"The state before that is in '{file}'" in message
    assert f"--resume {run} --set regression.learning_rate=5e+29" in message
    assert read(file)[1]["step"] == step - 1 == max(logged(run))
    for state in run.glob("*.safetensors"):
        state.unlink()
    assert main(["--resume", str(run), "--cpu", "--set", "regression.learning_rate=1e-3"]) == 0
    assert json.loads((run / "config.json").read_text())["changes"] == ["regression.learning_rate=1e-3"]
    assert max(logged(run, "learning_rate").values()) < 2e-3


def test_a_run_is_a_folder_with_all_that_made_it(whole):
    config = json.loads((whole / "config.json").read_text())
    assert config["preset"]["stages"][0]["steps"] == 120
    assert config["made_by"]["torch"] == torch.__version__.partition("+")[0]
    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((whole / "tensorboard" / "regression").glob("events*"))
    scores = logged(whole, "validation.psnr_y")
    assert list(scores) == [40, 80, 120]
    assert scores[120] > scores[40]


def test_sheets_of_pictures_are_drawn_every_so_often(pairs, tmp_path):
    assert main(arguments(tmp_path / "run", pairs, "steps=4", "sample_every=2")) == 0
    sheets = sorted((tmp_path / "run" / "samples").glob("*.png"))
    assert [sheet.stem for sheet in sheets] == ["regression-000002", "regression-000004"]
    assert np.asarray(Image.open(sheets[0])).std() > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Name a preset and --out FOLDER to begin, or --resume FOLDER to go on"),
        ("--resume nowhere", "There is no run in 'nowhere': it has no config.json"),
        ("regression --out r", "there is nothing to train on; name at least one place: --data pairs=PATH"),
        ("regression --out r --data here", "--data here: expected NAME=PATH"),
        ("regression --out r --data a=b a=c", "--data a=c: a is given already"),
        ("regression --out r --encoder e", "This preset takes no --encoder"),
        ("regression --out r --set steps", "--set wants NAME=VALUE, such as regression.steps=100"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--cpu", *words.split()]) == WRONG
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_run_in_it_is_not_begun_anew(whole, pairs, capsys):
    assert main(arguments(whole, pairs)) == WRONG
    assert f"'{whole}' holds a run already. Go on with it:  --resume {whole}" in capsys.readouterr().err


def test_a_batch_that_cannot_be_shared_is_refused(pairs, tmp_path, capsys):
    assert main(arguments(tmp_path / "run", pairs, "accumulate=3")) == WRONG
    words = "regression.batch is 4; 1 processes that accumulate 3 parts each need a multiple of 3"
    assert words in capsys.readouterr().err


def test_a_state_of_another_network_is_refused(pairs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(run, pairs, "steps=2")) == 0
    for file in (run / "stages").iterdir():
        file.unlink()
    assert main(["--resume", str(run), "--cpu", "--set", "regression.options.width=4"]) == WRONG
    assert "The saved weights don't fit this task" in capsys.readouterr().err
