import numpy as np
import pytest

from secateur.quantizers._histogram import BINS, Histogram


def histogram(*arrays: np.ndarray) -> Histogram:
    made = Histogram()
    for values in arrays:
        made.add(values)
    return made


def test_no_value_is_lost_when_later_ones_reach_further() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0, scale, 1000).astype(np.float32) for scale in (0.001, 1, 300)]

    made = histogram(*arrays)

    assert made.counts.sum() == 3000
    assert len(made.counts) == BINS
    assert (made.low, made.high) == (min(a.min() for a in arrays), max(a.max() for a in arrays))


def test_the_order_of_pictures_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 1, 5000).astype(np.float32), rng.normal(0, 50, 5000).astype(np.float32)

    one, other = histogram(near, far), histogram(far, near)

    assert one.reach == other.reach
    assert np.abs(np.cumsum(one.counts) - np.cumsum(other.counts)).max() <= 5  # a value on the edge of a bin


@pytest.mark.parametrize("percent", [90, 99, 99.9])
def test_percentiles_are_numpys_nearly(percent: float) -> None:
    values = np.random.default_rng(1).normal(2, 3, 100_000).astype(np.float32)
    made = histogram(values)
    outside = (100 - percent) / 2

    low, high = made.percentile(percent)

    assert (low, high) == pytest.approx(np.percentile(values, [outside, 100 - outside]), abs=0.06)


def test_all_percent_is_everything() -> None:
    values = np.array([-3.0, 0.5, 7.0], np.float32)

    assert histogram(values).percentile(100) == (-3, 7)


def test_entropy_keeps_an_even_spread_whole() -> None:
    values = np.linspace(0, 10, 100_001, dtype=np.float32)

    assert histogram(values).entropy(256) == pytest.approx((0, 10), abs=0.01)


def test_entropy_cuts_off_a_lonely_value() -> None:
    values = np.append(np.random.default_rng(2).uniform(0, 1, 100_000), 6.0).astype(np.float32)

    low, high = histogram(values).entropy(256)

    assert low == pytest.approx(0, abs=0.01)
    assert 1 <= high < 2


def test_a_tensor_of_zeros_has_a_range_of_zero() -> None:
    made = histogram(np.zeros(10, np.float32))

    assert made.percentile(99) == (0, 0)
    assert made.entropy(256) == (0, 0)
