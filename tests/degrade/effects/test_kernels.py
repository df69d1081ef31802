import math

import pytest
import torch

from ugc_sr.degrade.effects import kernels

EVERY = [
    kernels.gaussian(21, 3.0, 0.5, 0.7),
    kernels.generalized_gaussian(21, 2.0, 1.0, -1.0, 0.5),
    kernels.plateau(13, 1.0, 2.0, 2.0, 2.0),
    kernels.sinc(21, 1.0),
    kernels.disc(3.3),
    kernels.line(12.5, 0.4),
    kernels.aperture(51),
]


@pytest.mark.parametrize("kernel", EVERY)
def test_a_kernel_is_square_and_odd_sums_to_one_and_looks_the_same_upside_down(kernel):
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-7, rtol=0)


@pytest.mark.parametrize(("radius", "area"), [(4.0, 50.3), (6.5, 132.7)])
def test_a_disc_covers_its_area(radius, area):
    assert 1 / kernels.disc(radius).max().item() == pytest.approx(area, rel=0.03)


def test_a_line_is_as_long_as_asked_and_points_where_it_was_turned():
    flat = kernels.line(9, 0.0)
    assert (flat[flat.shape[0] // 2] > 0).sum() == 9
    assert flat.sum(1).max().item() == pytest.approx(1)
    slope = kernels.line(20, math.pi / 4)
    assert slope.diag().sum() > 4 * slope.flip(1).diag().sum()  # x to the right and y down: falls


def test_a_disc_and_a_line_of_next_to_nothing_leave_a_point():
    assert kernels.disc(0.4).max() == 1
    assert kernels.line(1, 0.0).max() == 1
