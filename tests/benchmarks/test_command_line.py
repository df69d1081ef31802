"""The benchmarks' command line says what it expects."""

import shutil
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parents[1] / "data" / "seesr_parity"


@pytest.mark.parametrize("size", ["512", "512x", "x512", "1x1", "-64x64", "wide"])
def test_a_size_that_is_none_is_refused(size, monkeypatch, capsys):
    from benchmarks import __main__

    monkeypatch.setattr("sys.argv", ["benchmarks", "true_shapes", f"--size={size}"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert (
        f"expected HEIGHTxWIDTH, each at least 64, such as 1080x1920; got '{size}'" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["restore", "true_shapes"])
@pytest.mark.parametrize("steps", ["0", "3", "30", "2000", "-2", "2.5"])
def test_steps_for_which_the_schedules_differ_are_refused(name, steps, monkeypatch, capsys):
    from benchmarks import __main__

    monkeypatch.setattr("sys.argv", ["benchmarks", name, f"--steps={steps}"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert "expected a divisor of 1000" in capsys.readouterr().err
    assert __main__._steps("50") == 50


@pytest.mark.comfy
@pytest.mark.parametrize("missing", ["spec.json", "cases.safetensors"])
def test_a_folder_that_is_no_fixture_is_refused(tmp_path, missing):
    from benchmarks import parity

    shutil.copytree(FIXTURE, tmp_path / "fixture")
    (tmp_path / "fixture" / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"fixture' has no {missing}; expected a parity fixture"):
        next(parity.run(str(tmp_path / "fixture")))


@pytest.mark.comfy
def test_a_difference_that_is_not_a_number_does_not_pass(tmp_path):
    from safetensors.torch import load_file, save_file

    from benchmarks import parity

    shutil.copytree(FIXTURE, tmp_path / "fixture")
    file = tmp_path / "fixture" / "cases.safetensors"
    cases = load_file(file)
    spoiled = next(key for key in sorted(cases, reverse=True) if key.endswith(".eps"))
    cases[spoiled] = cases[spoiled].fill_(float("nan"))
    save_file(cases, file)
    passed = {row["name"]: row["passed"] for row in parity.run(str(tmp_path / "fixture"))}
    assert passed == {"unet": False, "controlnet": True}
