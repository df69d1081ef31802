import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from ugc_sr.degrade.__main__ import main
from ugc_sr.degrade.dataset.whole_photo import load_photo
from ugc_sr.degrade.degradation import Degradation, apply
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.score.pil_image import to_picture

ROOT = Path(__file__).parents[3]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Makes a folder of so many photos."""

    def make(count, height=24, width=28):
        folder = tmp_path / "photos"
        folder.mkdir()
        for k in range(count):
            Image.fromarray(noise(height, width, seed=k)).save(folder / f"{k:03d}.png")
        return folder

    return make


@pytest.fixture
def recipe_file(tmp_path):
    """Writes a recipe of one step, whose draws are short."""

    def write(**parameters):
        step = {
            "op": "gaussian_noise",
            "parameters": {"sigma": {"uniform": [1, 9]}, "grey": False} | parameters,
        }
        data = {"name": "short", "scale": 4, "source": "assumed", "steps": [step]}
        (tmp_path / "short.json").write_text(json.dumps(data))
        return tmp_path / "short.json"

    return write


def make(*arguments, workers=1):
    return main([*map(str, arguments), "--workers", str(workers)])


def start(*arguments, **options):
    """The command in a process group of its own, as a shell starts it."""
    command = [sys.executable, "-m", "ugc_sr.degrade", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, **options)


def started(where, out, pairs=0):
    """The command with two workers, once it has made more than so many pairs."""
    process = start(where, out, "--recipe", "mild", "--workers", 2)
    end = time.monotonic() + 60
    while not (out / "manifest.jsonl").exists() or len(lines(out)) <= pairs:
        assert time.monotonic() < end
        time.sleep(0.005)
    return process


def lines(folder):
    return (folder / "manifest.jsonl").read_text().splitlines()


def pair(folder, line):
    """Both photos of a line of the manifest, whose files have the checksums that it notes."""
    for side in ("hr", "lr"):
        digest = hashlib.sha256((folder / side / line["name"]).read_bytes()).hexdigest()
        assert line[f"{side}_sha256"] == digest
    return [load_photo(folder / side / line["name"]) for side in ("hr", "lr")]


def content(folder):
    """Every file of a data set."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pairs_fit_by_the_scale_and_the_manifest_replays_each(photos, tmp_path):
    out = tmp_path / "out"
    assert make(photos(2, 50, 66), out, "--recipe", "mild", "--seed", 5) == 0
    for k, line in enumerate(map(json.loads, lines(out))):
        assert (line["name"], line["source"], line["seed"]) == (f"00{k}.png", f"00{k}.png", 5 + k)
        hr, lr = pair(out, line)
        assert (hr.shape[2:], lr.shape[2:]) == ((48, 64), (12, 16))
        replay = apply(Degradation.from_json(json.dumps(line["degradation"])), hr)
        assert all(map(torch.equal, replay, (hr, lr)))


def test_crops_come_from_the_seed_and_lie_in_the_photo(photos, tmp_path):
    where, out = photos(2, 40, 50), tmp_path / "out"
    assert make(where, out, "--crop", 16, "--per-image", 20, "--recipe", "mild", "--seed", 3) == 0
    records = [json.loads(line) for line in lines(out)]
    assert [record["name"] for record in records] == [f"00{k}_{j:02d}.png" for k in (0, 1) for j in range(20)]
    assert [record["seed"] for record in records] == list(range(3, 43))
    assert len({tuple(record["crop"]) for record in records}) > 30
    for record in records:
        top, left, height, width = record["crop"]
        taken = load_photo(where / record["source"])[:, :, top : top + height, left : left + width]
        assert torch.equal(load_photo(out / "hr" / record["name"]), taken)


def test_the_scale_and_the_sharpened_target_are_options(photos, tmp_path, recipe_file):
    where = photos(1, 60, 60)
    for options in ((), ("--sharpen-target",), ("--scale", 2)):
        assert make(where, tmp_path / f"out{len(options)}", "--recipe", recipe_file(), *options) == 0
    plain, sharp, large = (
        {side: load_photo(tmp_path / f"out{n}" / side / "000.png") for side in ("hr", "lr")}
        for n in (0, 1, 2)
    )
    assert torch.equal(plain["lr"], sharp["lr"])
    assert not torch.equal(plain["hr"], sharp["hr"])
    assert large["lr"].shape[2:] == (30, 30)


@pytest.mark.deep
def test_two_workers_write_the_same_files_as_one(photos, tmp_path):
    where = photos(12, 40, 44)
    for workers in (1, 2):
        options = ("--recipe", "mild", "--crop", 32, "--per-image", 2)
        assert make(where, tmp_path / f"out{workers}", *options, workers=workers) == 0
    assert content(tmp_path / "out1") == content(tmp_path / "out2")


@pytest.mark.deep
def test_killed_in_the_middle_of_200_photos_and_resumed_the_data_set_is_the_same(photos, tmp_path):
    where, out = photos(200), tmp_path / "out"
    process = started(where, out, pairs=20)
    process.kill()
    process.communicate(timeout=30)  # ends when the last worker has closed its stderr: none stays behind
    killed_at = len(lines(out))
    assert killed_at < 200
    assert make(where, out, "--recipe", "mild", "--resume") == 0
    assert make(where, tmp_path / "undisturbed", "--recipe", "mild") == 0
    assert len(lines(out)) == 200
    assert content(out) == content(tmp_path / "undisturbed")


@pytest.mark.deep
def test_ctrl_c_finishes_what_is_at_work_and_tells_how_to_go_on(photos, tmp_path):
    where, out = photos(200), tmp_path / "out"
    process = started(where, out)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said == (
        "\nFinishing the current samples; a second signal ends them at once.\n"
        "Stopped. The same command with --resume goes on.\n"
    )
    names = {json.loads(line)["name"] for line in lines(out)}
    assert 0 < len(names) < 200
    assert (
        names
        == {path.name for path in (out / "hr").iterdir()}
        == {path.name for path in (out / "lr").iterdir()}
    )
    assert json.loads((out / "dataset.json").read_text())["mix"] == {"recipe": len(names)}


@pytest.mark.deep
def test_a_worker_that_is_killed_ends_the_run_with_a_word(photos, tmp_path):
    where, out = photos(200), tmp_path / "out"
    process = started(where, out)
    workers = [c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    workers[0].kill()
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert said.startswith(
        f"{out}: a worker was killed, perhaps for want of memory; fewer --workers need less"
    )
    assert make(where, out, "--recipe", "mild", "--resume") == 0
    assert len(lines(out)) == 200


@pytest.mark.slow
@pytest.mark.parametrize("full_at", ["manifest", "photo"])
def test_a_full_disk_leaves_only_whole_pairs(photos, tmp_path, recipe_file, full_at):
    # No file may grow beyond a size, as on a full disk: the manifest reaches it, or the fourth photo does.
    where, out, recipe, limit = photos(8), tmp_path / "out", recipe_file(), 3000
    if full_at == "photo":
        Image.fromarray(noise(80, 80)).save(where / "003.png")

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(where, out, "--recipe", recipe, "--workers", 1, preexec_fn=small_disk)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.count("\n")) == (1, 1)
    assert said == f"{out}: File too large. After fixing that, the same command with --resume goes on.\n"
    whole = lines(out)
    assert len(whole) == 3 if full_at == "photo" else 3 < len(whole) < 8
    for line in whole:
        pair(out, json.loads(line))
    assert make(where, out, "--recipe", recipe, "--resume") == 0
    assert make(where, tmp_path / "undisturbed", "--recipe", recipe) == 0
    assert content(out) == content(tmp_path / "undisturbed")


def test_bad_files_are_named_and_the_rest_goes_on(photos, tmp_path, capsys):
    where, out = photos(2), tmp_path / "out"
    (where / "notes.txt").write_text("buy milk")
    (where / "cut.png").write_bytes((where / "000.png").read_bytes()[:-500])
    Image.new("RGB", (1, 1)).save(where / "pixel.png")
    assert make(where, out, "--recipe", "mild") == 1
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.err.splitlines()] == [
        str(where / name) for name in ("cut.png", "pixel.png")
    ]
    assert "pixel.png: 1x1 px is too small; it is to be shrunk by 4." in said.err
    assert said.out.splitlines() == [
        f"2 new pairs; 2 could not be used; 2 in all (2 recipe) in {out}",
        "not used: 2 (cut.png, pixel.png)",
        "passed over, no photos by their names: 1 (notes.txt)",
    ]
    assert [json.loads(line)["seed"] for line in lines(out)] == [0, 1]


def test_a_photo_smaller_than_the_crop_is_named(photos, tmp_path, capsys):
    assert make(photos(1), tmp_path / "out", "--crop", 64) == 1
    assert "000.png: 28x24 px is too small; --crop takes 64x64 px of it." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--recipe", "lovely"], "There is no recipe or file 'lovely'; recipes are ugc, "),
        (["--crop", "30"], "--crop must be a multiple of the scale, 4; got 30."),
        (["--scale", "99"], "--scale must be at most 16, got 99."),
        (["--join", "gone"], "gone: expected a folder hr or gt or hq in it."),
        (["--recipe", "mine.json"], "mine.json: recipe 'mine': steps[0].op: unknown step 'smudge'"),
        (["--recipe", "ugc", "--jpeg", "kornia"], "recipe 'ugc' uses"),
    ],
)
def test_impossible_options_are_refused_before_any_work(
    photos, tmp_path, monkeypatch, capsys, options, problem
):
    monkeypatch.chdir(tmp_path)
    recipe = {"name": "mine", "scale": 4, "source": "assumed", "steps": [{"op": "smudge"}]}
    Path("mine.json").write_text(json.dumps(recipe))
    assert make(photos(1), tmp_path / "out", *options) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pairs_need_a_folder_of_their_own_which_may_lie_among_the_photos(photos, capsys):
    where = photos(2)
    assert make(where, where) == 2
    assert f"OUT is {where}, as is IN; the pairs need a folder of their own." in capsys.readouterr().err
    for options in ((), ("--resume",)):
        assert make(where, where / "pairs", "--recipe", "mild", *options) == 0
        assert len(lines(where / "pairs")) == 2


def test_numbers_below_one_are_refused(photos, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        make(photos(1), tmp_path / "out", "--per-image", 0)
    assert "argument --per-image: must be a whole number from 1 on, got 0" in capsys.readouterr().err


def test_pairs_that_are_there_are_safe(photos, tmp_path, capsys, recipe_file):
    where, out, recipe = photos(2), tmp_path / "out", recipe_file()
    assert make(where, out, "--recipe", recipe) == 0
    before = content(out)
    assert make(where, out, "--recipe", recipe) == 2
    assert "there are pairs already. Add --resume to go on with them" in capsys.readouterr().err
    assert make(where, out, "--recipe", recipe, "--resume", "--seed", 1) == 2
    assert "were made with seed 0, these would be with 1" in capsys.readouterr().err
    Image.fromarray(noise(24, 24)).save(where / "00.png")
    assert make(where, out, "--recipe", recipe, "--resume") == 2
    assert "000.png was made of 000.png with seed 0, now it would be of 000.png with seed 1" in (
        capsys.readouterr().err
    )
    (where / "00.png").rename(where / "later.png")
    assert make(where, out, "--recipe", recipe, "--resume") == 0
    assert before.items() - content(out).items() == {
        (name, before[name]) for name in ("manifest.jsonl", "dataset.json")
    }


def test_files_of_others_are_never_overwritten(photos, tmp_path, capsys):
    (tmp_path / "out" / "hr").mkdir(parents=True)
    (tmp_path / "out" / "hr" / "000.png").write_bytes(b"mine")
    where = photos(1)
    assert make(where, tmp_path / "out") == 2
    assert make(where, tmp_path / "out", "--resume") == 2
    assert "its files were not made by this command" in capsys.readouterr().err
    assert content(tmp_path / "out") == {"hr/000.png": b"mine"}


def test_given_pairs_are_joined_after_a_check_and_the_mix_is_noted(photos, tmp_path, capsys, recipe_file):
    official, out = tmp_path / "official", tmp_path / "out"
    scene = load_photo(ROOT / "demo" / "photo_gt.jpg")[:, :, 300:812, 200:728]
    for name, right in (("000", 0), ("off", 2)):
        for side, photo in (("gt", scene[..., :512]), ("lq", scene[..., right : right + 512])):
            (official / side).mkdir(parents=True, exist_ok=True)
            picture = to_picture(photo)
            (picture.reduce(4) if side == "lq" else picture).save(official / side / f"{name}.png")
    (official / "lq" / "alone.png").touch()
    where, recipe = photos(2), recipe_file()
    assert make(where, out, "--recipe", recipe, "--join", official) == 1
    said = capsys.readouterr()
    assert "alone.png: no photo of that name on the other side" in said.err
    assert "off.png: are not aligned; the damaged photo is off by -0.50 px" in said.err
    assert "3 new pairs; 2 could not be used; 3 in all (1 joined, 2 recipe)" in said.out
    assert json.loads((out / "dataset.json").read_text())["mix"] == {"joined": 1, "recipe": 2}
    joined = json.loads(lines(out)[-1])
    assert (joined["name"], joined["origin"], joined["degradation"]) == ("000_2.png", "joined", None)
    assert np.array_equal(Image.open(out / "lr" / "000_2.png"), Image.open(official / "lq" / "000.png"))
    assert make(where, out, "--recipe", recipe, "--join", official, "--resume") == 1
    assert len(lines(out)) == 3


def test_recipes_are_listed_and_printed_as_json_that_the_command_takes(photos, tmp_path, capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)
    assert main(["recipes", "mild"]) == 0
    (tmp_path / "mild.json").write_text(capsys.readouterr().out)
    where = photos(1)
    for number, recipe in enumerate(("mild", tmp_path / "mild.json")):
        assert make(where, tmp_path / f"out{number}", "--recipe", recipe) == 0
    assert content(tmp_path / "out0") == content(tmp_path / "out1")


def test_the_demo_photo_is_what_its_recipe_makes_of_the_original():
    hr, lr = load_photo(ROOT / "demo" / "photo_gt.jpg"), load_photo(ROOT / "demo" / "photo.png")
    difference = (apply(RECIPES["messenger"].draw(0), hr).lr - lr).abs()
    # Sums that round otherwise move a coefficient of a few JPEG blocks to the next step.
    assert (difference > 2 / 255).float().mean() < 0.01
    assert difference.max() <= 8 / 255


def test_jpeg_by_kornia_is_recorded_and_replays(photos, tmp_path):
    assert make(photos(2), tmp_path / "out", "--recipe", "messenger", "--jpeg", "kornia") == 0
    for line in map(json.loads, lines(tmp_path / "out")):
        jpegs = [draw for draw in line["degradation"]["draws"] if draw["op"] == "jpeg"]
        assert {draw["parameters"]["codec"] for draw in jpegs} == {"kornia"}
        hr, lr = pair(tmp_path / "out", line)
        assert torch.equal(apply(Degradation.from_json(json.dumps(line["degradation"])), hr).lr, lr)


@pytest.mark.deep
def test_a_local_ray_writes_the_same_files_and_names_bad_ones(photos, tmp_path):
    where = photos(6, 40, 44)
    (where / "notes.jpg").write_text("buy milk")
    options = ("--recipe", "mild", "--crop", "32", "--per-image", "3", "--workers", "2")
    command = [sys.executable, "-m", "ugc_sr.degrade", where, tmp_path / "ray", *options, "--engine", "ray"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert f"{where}/notes.jpg: not a photo that can be read" in ended.stderr
    assert main([str(where), str(tmp_path / "local"), *options, "--workers", "1"]) == 1
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_ray_that_is_missing_is_named_with_what_installs_it(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python notes a module that isn't there
    assert main([str(photos(1)), str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert capsys.readouterr().err == (
        '--engine ray needs Ray. Install it with  pip install "ugc-super-resolution[cluster]"\n'
    )
    assert not (tmp_path / "out").exists()


@pytest.fixture
def cluster():
    """Starts Ray with GPUs that it takes our word for."""
    import ray

    def start(gpus):
        ray.init(num_cpus=2, num_gpus=gpus, include_dashboard=False, log_to_driver=False)

    yield start
    ray.shutdown()


@pytest.mark.slow
def test_each_task_for_cuda_gets_a_gpu_of_its_own(photos, tmp_path, cluster, monkeypatch):
    from ray.data import Dataset

    cluster(gpus=2)
    source, orders = str(photos(1)), []
    monkeypatch.setattr(Dataset, "map", lambda rows, do, **order: orders.append(order) or rows.limit(0))
    for number, options in enumerate(("--device cuda", "--device cuda --workers 1", "--workers 2")):
        main([source, str(tmp_path / f"out{number}"), "--engine", "ray", *options.split()])
    assert orders == [
        {"num_cpus": 1, "num_gpus": 1, "concurrency": 2},
        {"num_cpus": 1, "num_gpus": 1, "concurrency": 1},
        {"num_cpus": 1, "num_gpus": None, "concurrency": 2},
    ]


@pytest.mark.slow
def test_a_cluster_without_a_gpu_says_so_instead_of_waiting_for_one(photos, tmp_path, cluster, capsys):
    cluster(gpus=0)
    assert main([str(photos(1)), str(tmp_path / "out"), "--engine", "ray", "--device", "cuda"]) == 1
    assert "Ray: no machine of the cluster has a GPU; leave --device cuda out." in capsys.readouterr().err
