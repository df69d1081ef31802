"""The benchmarks' command line says what it expects."""

import shutil
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parents[1] / "data" / "seesr_parity"


@pytest.fixture
def fixture(tmp_path):
    return shutil.copytree(FIXTURE, tmp_path / "fixture")


SIZE = "expected HEIGHTxWIDTH, each at least 64, such as 1080x1920; got '{}'"
STEPS = "expected a divisor of 1000, or the host's schedule isn't the reference's; got '{}'"


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        *(("true_shapes", "size", size, SIZE) for size in ("512", "512x", "x512", "1x1", "-64x64", "wide")),
        *(
            (name, "steps", steps, STEPS)
            for name in ("restore", "true_shapes")
            for steps in ("0", "3", "30", "2000", "-2", "2.5")
        ),
    ],
)
def test_values_that_mean_nothing_are_refused(name, option, value, message, monkeypatch, capsys):
    from benchmarks import __main__

    monkeypatch.setattr("sys.argv", ["benchmarks", name, f"--{option}={value}"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert message.format(value) in capsys.readouterr().err
    assert __main__._steps("50") == 50


@pytest.mark.comfy
@pytest.mark.parametrize("missing", ["spec.json", "cases.safetensors"])
def test_a_folder_that_is_no_fixture_is_refused(fixture, missing):
    from benchmarks import parity

    (fixture / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"fixture' has no {missing}; expected a parity fixture"):
        next(parity.run(str(fixture)))


@pytest.mark.comfy
def test_a_difference_that_is_not_a_number_does_not_pass(fixture):
    from safetensors.torch import load_file, save_file

    from benchmarks import parity

    file = fixture / "cases.safetensors"
    cases = load_file(file)
    spoiled = next(key for key in sorted(cases, reverse=True) if key.endswith(".eps"))
    cases[spoiled] = cases[spoiled].fill_(float("nan"))
    save_file(cases, file)
    passed = {row["name"]: row["passed"] for row in parity.run(str(fixture))}
    assert passed == {"unet": False, "controlnet": True}
