import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ugc_sr.degrade.__main__ import main


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for k in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)).save(tmp_path / f"photos/{k}.png")
    return tmp_path / "photos"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.deep
def test_a_local_ray_writes_the_same_files_and_names_bad_ones(photos, tmp_path):
    (photos / "notes.jpg").write_text("buy milk")
    options = ("--recipe", "mild", "--crop", "32", "--per-image", "3", "--workers", "2")
    command = [sys.executable, "-m", "ugc_sr.degrade", photos, tmp_path / "ray", *options, "--engine", "ray"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert f"{photos}/notes.jpg: not a photo that can be read" in ended.stderr
    assert main([str(photos), str(tmp_path / "local"), *options, "--workers", "1"]) == 1
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_ray_that_is_missing_is_named_with_what_installs_it(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python notes a module that isn't there
    assert main([str(photos), str(tmp_path / "out"), "--engine", "ray"]) == 2
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


@pytest.mark.deep
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--device", "cuda"], {"num_gpus": 1, "concurrency": 2}),
        (["--device", "cuda", "--workers", "1"], {"num_gpus": 1, "concurrency": 1}),
        (["--workers", "2"], {"num_gpus": None, "concurrency": 2}),
    ],
)
def test_each_task_for_cuda_gets_a_gpu_of_its_own(photos, tmp_path, cluster, monkeypatch, options, asked):
    from ray.data import Dataset

    cluster(gpus=2)
    orders = []
    monkeypatch.setattr(Dataset, "map", lambda rows, do, **order: orders.append(order) or rows.limit(0))
    main([str(photos), str(tmp_path / "out"), "--engine", "ray", *options])
    assert orders == [{"num_cpus": 1, **asked}]


@pytest.mark.slow
def test_a_cluster_without_a_gpu_says_so_instead_of_waiting_for_one(photos, tmp_path, cluster, capsys):
    cluster(gpus=0)
    assert main([str(photos), str(tmp_path / "out"), "--engine", "ray", "--device", "cuda"]) == 1
    assert "Ray: no machine of the cluster has a GPU; leave --device cuda out." in capsys.readouterr().err
