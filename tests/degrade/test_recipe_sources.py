"""What the recipes draw, against the settings that their sources publish."""

import math

import pytest

from ugc_sr.degrade.recipes import RECIPES

DRAWS = 4000

# Real-ESRGAN: options/train_realesrgan_x4plus.yml. SRlab (and SeeSR): utils_data/make_paired_data.py.
# Milder: dataloaders/params_realesrgan.yml. Each value: (first stage, second stage).
REAL_ESRGAN = {
    "blur_prob": (1, 0.8),
    "sinc_prob": (0.1, 0.1),
    "kernels": ((0.45, 0.25, 0.12, 0.03, 0.12, 0.03),) * 2,
    "sigma": ((0.2, 3), (0.2, 1.5)),
    "betag": ((0.5, 4), (0.5, 4)),
    "betap": ((1, 2), (1, 2)),
    "resize_prob": ((0.2, 0.7, 0.1), (0.3, 0.4, 0.3)),
    "resize": ((0.15, 1.5), (0.3, 1.2)),
    "gaussian_prob": (0.5, 0.5),
    "noise": ((1, 30), (1, 25)),
    "poisson": ((0.05, 3), (0.05, 2.5)),
    "grey": (0.4, 0.4),
    "jpeg": ((30, 95), (30, 95)),
    "final_sinc": 0.8,
}
SOURCES = {
    "real_esrgan_x4": REAL_ESRGAN,
    "srlab_wild": REAL_ESRGAN,
    "mild": REAL_ESRGAN
    | {
        "blur_prob": (1, 0.5),
        "resize": ((0.3, 1.5), (0.6, 1.2)),
        "noise": ((1, 15), (1, 12)),
        "poisson": ((0.05, 2), (0.05, 1)),
        "jpeg": ((60, 95), (60, 100)),
    },
    "srlab_synthetic": {
        "blur_prob": (1, 0.1),
        "sinc_prob": (0.05, 0.05),
        "kernels": ((0.6, 0.2, 0.1, 0.05, 0.05, 0),) * 2,
        "sigma": ((0.01, 0.02), (0.01, 0.02)),
        # Drawn from [0.01, 1] or, the wrong way round, from [1, 0.02].
        "betag": ((0.01, 1), (0.01, 1)),
        "betap": ((0.01, 1), (0.01, 1)),
        "resize_prob": ((0.4, 0.4, 0.2), (0.4, 0.4, 0.2)),
        "resize": ((0.95, 1.05), (0.95, 1.05)),
        "gaussian_prob": (0.03, 0.03),
        "noise": ((0.01, 0.03), (0.01, 0.03)),
        "poisson": ((0.01, 0.1), (0.01, 0.1)),
        "grey": (0.1, 0.1),
        "jpeg": ((80, 100), (80, 100)),
        "final_sinc": 0.4,
    },
}
BLURS = ("gaussian_blur", "generalized_blur", "plateau_blur", "sinc_blur")
MODES = {"area", "bilinear", "bicubic"}


def stages(name):
    """The draws of many seeds as (first stage, second stage, end); SRlab's bicubic branch left out."""
    split = []
    for seed in range(DRAWS):
        draws = RECIPES[name].draw(seed).draws
        ops = [draw.op for draw in draws]
        if len(draws) == 1:
            assert (ops, draws[0].parameters["mode"]) == (["shrink"], "bicubic")
            continue
        first = ops.index("jpeg") + 1
        noise = next(i for i in range(first, len(ops)) if ops[i].endswith("noise")) + 1
        split.append((draws[:first], draws[first:noise], draws[noise:]))
    return split


def spread(values, bounds, whole=False):
    """Values keep to the bounds and come near both."""
    slack = 0 if whole else 0.1 * (bounds[1] - bounds[0])
    assert bounds[0] <= min(values) <= bounds[0] + slack
    assert bounds[1] - slack <= max(values) <= bounds[1]


def share(hits, probability):
    assert sum(hits) / len(hits) == pytest.approx(probability, abs=0.035)


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("name", SOURCES)
def test_both_stages_draw_from_the_published_ranges(name, stage):
    source = {key: value[stage] for key, value in SOURCES[name].items() if key != "final_sinc"}
    found = [part[stage] for part in stages(name)]
    blurs = [[draw for draw in draws if draw.op in BLURS] for draws in found]
    share([bool(blur) for blur in blurs], source["blur_prob"])
    blurs = [blur for (blur,) in filter(None, blurs)]
    share([blur.op == "sinc_blur" for blur in blurs], source["sinc_prob"])
    check_kernels([blur for blur in blurs if blur.op != "sinc_blur"], source)
    check_sincs([blur for blur in blurs if blur.op == "sinc_blur"])
    check_resizes([draw for draws in found for draw in draws if draw.op in ("rescale", "shrink")], source)
    check_noise([draw for draws in found for draw in draws if draw.op.endswith("noise")], source)
    if stage == 0:
        spread([draws[-1].parameters["quality"] for draws in found], source["jpeg"], whole=True)


def check_kernels(blurs, source):
    kinds = [(op, turned) for op in BLURS[:3] for turned in (False, True)]
    for kind, probability in zip(kinds, source["kernels"], strict=True):
        share([(blur.op, blur.parameters["sigma_y"] > 0) == kind for blur in blurs], probability)
    assert {blur.parameters["size"] for blur in blurs} == set(range(7, 22, 2))
    spread([blur.parameters["sigma_x"] for blur in blurs], source["sigma"])
    turned = [blur.parameters for blur in blurs if blur.parameters["sigma_y"] > 0]
    spread([parameters["sigma_y"] for parameters in turned], source["sigma"])
    spread([parameters["angle"] for parameters in turned], (-math.pi, math.pi))
    for op, key in (("generalized_blur", "betag"), ("plateau_blur", "betap")):
        betas = [blur.parameters["beta"] for blur in blurs if blur.op == op]
        assert source[key][0] <= min(betas)
        assert max(betas) <= source[key][1]
        if source[key][0] < 1 < source[key][1]:
            assert sum(beta < 1 for beta in betas) / len(betas) == pytest.approx(0.5, abs=0.1)


def check_sincs(sincs):
    assert {blur.parameters["size"] for blur in sincs} <= set(range(7, 22, 2))
    for blur in sincs:
        lowest = math.pi / 3 if blur.parameters["size"] < 13 else math.pi / 5
        assert lowest <= blur.parameters["cutoff"] <= math.pi


def check_resizes(resizes, source):
    factors = [draw.parameters["factor"] for draw in resizes]
    for hits, probability in zip(
        ([f > 1 for f in factors], [f < 1 for f in factors], [f == 1 for f in factors]),
        source["resize_prob"],
        strict=True,
    ):
        share(hits, probability)
    spread(factors, source["resize"])
    assert {draw.parameters["mode"] for draw in resizes} == MODES
    assert not any(draw.parameters["antialias"] for draw in resizes)


def check_noise(noises, source):
    share([draw.op == "gaussian_noise" for draw in noises], source["gaussian_prob"])
    share([draw.parameters["grey"] for draw in noises], source["grey"])
    spread([draw.parameters["sigma"] for draw in noises if draw.op == "gaussian_noise"], source["noise"])
    spread([draw.parameters["scale"] for draw in noises if draw.op == "poisson_noise"], source["poisson"])


@pytest.mark.parametrize("name", SOURCES)
def test_the_end_is_resize_sinc_and_jpeg_in_either_order(name):
    ends = [part[2] for part in stages(name)]
    share([end[-1].op == "jpeg" for end in ends], 0.5)
    share([any(draw.op == "sinc_blur" for draw in end) for end in ends], SOURCES[name]["final_sinc"])
    for end in ends:
        ops = [draw.op for draw in end if draw.op != "sinc_blur"]
        assert sorted(ops) == ["jpeg", "shrink"]
        sincs = [i for i, draw in enumerate(end) if draw.op == "sinc_blur"]
        assert all(end[i - 1].op == "shrink" and end[i].parameters["cutoff"] >= math.pi / 3 for i in sincs)
    qualities = [draw.parameters["quality"] for end in ends for draw in end if draw.op == "jpeg"]
    spread(qualities, SOURCES[name]["jpeg"][1], whole=True)


def test_half_of_srlab_synthetic_is_plain_bicubic():
    assert len(stages("srlab_synthetic")) / DRAWS == pytest.approx(0.5, abs=0.03)


def test_bsrgan_draws_from_the_published_ranges():
    runs = [RECIPES["bsrgan_x4"].draw(seed).draws for seed in range(DRAWS)]
    assert all(run[-1].op == "jpeg" for run in runs)
    share([sum(draw.op == "jpeg" for draw in run) == 2 for run in runs], 0.9)
    share([any(draw.op == "demosaic" for draw in run) for run in runs], 0.25)
    halved = [run[0].op == "rescale" and run[0].parameters["factor"] == 0.5 for run in runs]
    assert 0.25 <= sum(halved) / DRAWS < 0.29  # and now and then the chain draws just that
    qualities = [draw.parameters["quality"] for run in runs for draw in run if draw.op == "jpeg"]
    spread(qualities, (30, 95), whole=True)
    levels = [draw.parameters for run in runs for draw in run if draw.op == "gaussian_noise"]
    spread([level["sigma"] for level in levels], (2, 25))
    share([any(draw.op == "correlated_noise" for draw in run) for run in runs], 0.2)
    assert len(levels) / DRAWS == pytest.approx(0.8, abs=0.03)
    share([level["grey"] for level in levels], 0.5)
    blurs = [draw.parameters for run in runs for draw in run if draw.op == "gaussian_blur"]
    assert {blur["size"] for blur in blurs} == set(range(7, 26, 2))
    assert max(blur["sigma_x"] for blur in blurs) <= 8**0.5
    for run in runs:
        ops = [draw.op for draw in run]
        reductions = [i for i, op in enumerate(ops) if op == "rescale"]
        assert ops.index("shrink") > max(reductions)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_tells_where_its_numbers_come_from(name):
    assert any(word in RECIPES[name].source for word in ("arXiv", "assumed", ".yml"))
