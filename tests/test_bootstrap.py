import numpy as np
import pytest
from numpy.typing import NDArray
from ultralytics.utils.metrics import ap_per_class

from secateur.bootstrap import average_precisions, change, means, redraws
from secateur.matches import Matches


def found(
    right: list[bool], images: int = 1, image: list[int] | None = None, label: list[int] | None = None,
    objects: tuple[list[int], list[int]] = ([0], [0]),
) -> Matches:  # fmt: skip
    """Detections, the most confident first, that are right at every IoU threshold or at none; objects are (pictures,
    labels)."""
    count = len(right)
    return Matches(
        images=images,
        image=np.array(image or [0] * count, np.int32),
        confidence=np.linspace(0.9, 0.1, count),
        label=np.array(label or [0] * count, np.int32),
        box=np.repeat(np.array(right, bool)[:, None], 10, axis=1),
        mask=None,
        object_image=np.array(objects[0], np.int32),
        object_label=np.array(objects[1], np.int32),
    )


def drawn(seed: int, images: int = 12, classes: int = 5, objects: int = 40, wrong: int = 200) -> Matches:
    """Many at random: most objects are found up to some IoU, and as much again is found that is not there."""
    chance = np.random.default_rng(seed)
    object_image = np.sort(chance.integers(0, images, objects)).astype(np.int32)
    object_label = chance.integers(0, classes, objects).astype(np.int32)
    last = chance.integers(0, 11, objects)
    return Matches(
        images=images,
        image=np.concatenate([object_image, chance.integers(0, images, wrong).astype(np.int32)]),
        confidence=chance.permutation(objects + wrong) / (objects + wrong),
        label=np.concatenate([object_label, chance.integers(0, classes + 2, wrong).astype(np.int32)]),
        box=np.concatenate([last[:, None] > np.arange(10), np.zeros((wrong, 10), bool)]),
        mask=None,
        object_image=object_image,
        object_label=object_label,
    )


def by_ultralytics(matches: Matches, pictures: NDArray[np.int64]) -> float:
    """mAP50-95 of these pictures, copies of copies."""
    at = np.concatenate([np.flatnonzero(matches.image == picture) for picture in pictures])
    there = np.concatenate([np.flatnonzero(matches.object_image == picture) for picture in pictures])
    aps = ap_per_class(matches.box[at], matches.confidence[at], matches.label[at], matches.object_label[there])[5]
    return float(aps.mean())


def scored(matches: Matches, *counts: list[int]) -> list[float]:
    return means(average_precisions(matches, matches.box, np.array(counts))).tolist()


# ---- mAP ------------------------------------------------------------------------------------------


def test_all_found_scores_as_the_trapezoid_rule_has_it() -> None:
    assert scored(found([True]), [1]) == pytest.approx([0.995])  # by hand: 1 up to a recall of 0.99, then down to 0


def test_half_of_a_class_found_scores_half() -> None:
    half = found([True], objects=([0, 0], [0, 0]))

    assert scored(half, [1]) == pytest.approx([0.495])  # by hand: 1 from 0 to 0.49, then down to 0 at 0.5


def test_a_mistake_before_what_is_right_halves_the_precision() -> None:
    assert scored(found([False, True]), [1]) == pytest.approx([0.995 / 2])


def test_a_mistake_after_all_is_found_costs_nothing() -> None:
    assert scored(found([True, False]), [1]) == pytest.approx([0.995])


def test_the_mean_is_over_the_classes_that_have_objects() -> None:
    two = found([True, False], label=[0, 7], objects=([0, 0], [0, 1]))

    assert scored(two, [1]) == pytest.approx([0.995 / 2])  # nothing of class 1 was found, and none is of class 7


def test_a_class_whose_pictures_were_not_drawn_does_not_count() -> None:
    two = found([True, False], images=2, image=[0, 1], label=[0, 1], objects=([0, 1], [0, 1]))

    assert scored(two, [1, 1], [2, 0], [0, 2]) == pytest.approx([0.995 / 2, 0.995, 0.0])


def test_no_detection_and_no_object_score_nothing() -> None:
    assert scored(found([]), [1]) == [0.0]
    assert scored(found([False], objects=([], [])), [1]) == [0.0]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_ultralytics_own(seed: int) -> None:
    matches = drawn(seed)

    expected = by_ultralytics(matches, np.arange(matches.images))
    assert expected > 0.05
    assert scored(matches, [1] * matches.images) == pytest.approx([expected], abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_that_counts_twice_is_as_good_as_its_copy(seed: int) -> None:
    matches = drawn(seed)
    (count,) = redraws(matches.images, 1, seed)

    copies = by_ultralytics(matches, np.repeat(np.arange(matches.images), count))
    assert scored(matches, count.tolist()) == pytest.approx([copies], abs=1e-9)


# ---- the bootstrap --------------------------------------------------------------------------------


def test_each_redraw_has_as_many_pictures_as_there_are() -> None:
    counts = redraws(12, 50, seed=0)

    assert counts.shape == (50, 12)
    assert (counts.sum(1) == 12).all()
    assert counts.max() > 1


def test_redraws_come_from_their_seed() -> None:
    assert np.array_equal(redraws(12, 50, seed=3), redraws(12, 50, seed=3))
    assert not np.array_equal(redraws(12, 50, seed=3), redraws(12, 50, seed=4))


def test_a_change_is_what_was_measured_between_percentiles_of_the_redraws() -> None:
    redrawn = np.linspace(-0.5, 0.5, 101)  # its 2.5th percentile, by hand: −0.475

    found = change(np.full(102, 0.5), 0.5 + np.array([0.1, *redrawn]))
    assert (found.observed, found.low, found.high) == pytest.approx((0.1, -0.475, 0.475))
    assert not found.is_measurable


# ---- how often an interval is right ----------------------------------------------------------------


def simulated(chance: np.random.Generator, images: int) -> list[Matches]:
    """What two nets find in the same pictures of a made-up world, the second a little worse; some pictures are hard
    for both."""
    objects, wrong = chance.poisson(3, images) + 1, chance.poisson(2, images)
    image, wrong_image = (np.repeat(np.arange(images), count).astype(np.int32) for count in (objects, wrong))
    label, wrong_label = (chance.integers(0, 4, at.size).astype(np.int32) for at in (image, wrong_image))
    ease = -0.7 * chance.normal(0, 1, images)[image] - chance.normal(0, 1, image.size)
    found = []
    for skill in (0.0, -0.25):
        overlap = 5 + 2 * (skill + ease) + chance.normal(0, 0.5, image.size)
        right = np.clip(np.floor(overlap), 0, 10)[:, None] > np.arange(10)
        surely = 0.3 * overlap + chance.normal(0, 0.7, image.size) - 1
        scores = np.concatenate([surely, chance.normal(-0.5, 1, wrong_image.size)])
        found.append(
            Matches(
                images=images,
                image=np.concatenate([image, wrong_image]),
                confidence=1 / (1 + np.exp(-scores)),
                label=np.concatenate([label, wrong_label]),
                box=np.concatenate([right, np.zeros((wrong_image.size, 10), bool)]),
                mask=None,
                object_image=image,
                object_label=label,
            )
        )
    return found


@pytest.mark.slow
def test_a_95_percent_interval_holds_the_true_difference_93_to_97_percent_of_the_time() -> None:
    chance, images, held, times = np.random.default_rng(1), 100, 0, 250
    everything = np.ones((1, 40_000), np.int64)
    worse, better = (means(average_precisions(m, m.box, everything))[0] for m in simulated(chance, 40_000)[::-1])
    for seed in range(times):
        counts = np.vstack([np.ones((1, images), np.int64), redraws(images, 400, seed)])
        found = change(*(means(average_precisions(m, m.box, counts)) for m in simulated(chance, images)))
        held += found.low <= worse - better <= found.high

    assert worse < better
    assert 0.93 <= held / times <= 0.97
