from dataclasses import replace

import pytest

from secateur.reporting import run_charts
from secateur.reporting.charts import Point
from secateur.reporting.summary import quantized
from tests.example_report import (
    CHANNELS,
    LAYERS,
    detector,
    failed,
    finished,
    with_channels,
    with_fault,
    with_layers,
    without_changes,
)


def point(name: str, cost: str = run_charts.LATENCY) -> Point:
    return next(point for point in run_charts.points(finished(), cost) if point.name == name)


def test_whiskers_are_the_speed_ups_interval_around_the_p50() -> None:
    found = point("pruned-fp32")

    assert found.x == 38.2
    assert found.x_interval == pytest.approx((38.2 * 1.54 / 1.57, 38.2 * 1.54 / 1.51))
    assert found.label == "pruned-fp32 1.54×"


def test_upright_whiskers_are_the_interval_of_the_change_in_accuracy() -> None:
    assert point("pruned-fp32").y_interval == pytest.approx((0.325 - 0.008, 0.325 + 0.008))
    assert point("baseline-fp32").y_interval is None


def test_a_count_has_no_interval() -> None:
    assert point("pruned-fp32", run_charts.MACS).x == 3.18
    assert point("pruned-fp32", run_charts.SIZE).x == 7.0
    assert point("pruned-fp32", run_charts.SIZE).x_interval is None


def test_kinds_tell_what_ships_and_what_is_beaten() -> None:
    kinds = {point.name: point.kind for point in run_charts.points(with_fault(), run_charts.LATENCY)}

    assert kinds == {
        "baseline-fp32": "baseline",
        "baseline-int8_static": "fault",
        "pruned-fp32": "front",
        "pruned-int8_static": "selected",
    }


def test_the_budget_is_what_may_be_lost_below_the_baseline() -> None:
    assert run_charts.least_accuracy(finished()) == pytest.approx(0.351 - 0.05)
    assert run_charts.least_accuracy(replace(finished(), spec={})) is None


def test_steps_begin_with_the_unpruned_net() -> None:
    found = run_charts.steps(failed())

    assert [step.name for step in found] == ["baseline", "1", "2", "3"]
    assert found[0].before is None
    assert (found[1].before, found[1].after, found[1].cost) == (0.24, 0.34, "−25 %")


def test_every_kind_of_run_is_drawn() -> None:
    for report in (finished(), detector(), without_changes(), with_fault()):
        assert "<svg" in run_charts.front(report, run_charts.MACS, run_charts.SMALL)
        assert "<svg" in run_charts.ladder(report, run_charts.SMALL)
        assert "p99" in run_charts.latencies(report, 300)


def test_each_quantile_of_a_latency_is_a_stroke_beside_the_percentiles() -> None:
    first, *others = finished().candidates
    told = replace(first, latency=replace(first.latency, quantiles=tuple(float(ms) for ms in range(50, 69))))

    plain = run_charts.latencies(finished(), 300)
    drawn = run_charts.latencies(replace(finished(), candidates=(told, *others)), 300)

    assert drawn.count('opacity="0.45"') == 19
    assert plain.count('opacity="0.45"') == 0
    assert drawn.count("<title>") == plain.count("<title>")


def test_channels_are_those_of_the_net_that_is_exported() -> None:
    assert run_charts.kept_channels(with_channels()) == list(CHANNELS.items())
    assert run_charts.kept_channels(finished()) == []
    assert "model.2.cv1.conv: 20 of 32 channels" in run_charts.channels(with_channels(), 300)


def test_the_noisiest_layers_are_those_in_int8_with_most_noise_of_their_own() -> None:
    first, second, third, _ = LAYERS
    candidate = quantized(with_layers(76))
    assert candidate

    found = run_charts.noisiest(candidate)

    assert found[:2] == [third, second]
    assert len(found) == run_charts.MOST_NOISY
    assert first in found
    assert not any(layer.kept_float for layer in found)


def test_bars_of_layers_are_noise_as_a_share_of_the_signal() -> None:
    candidate = quantized(with_layers())
    assert candidate

    told = run_charts.layers(candidate, 880)

    assert "model.2.cv1.conv: 24.1 dB of its own, 19.9 dB accumulated" in told
    assert "model.22.cv3.0.2" not in told
