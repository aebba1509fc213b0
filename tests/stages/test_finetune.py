from secateur.stages.finetune import left_of_all


def test_cuts_one_after_another_speak_of_the_first_nets_channels() -> None:
    first = {"a": [0, 2, 4, 6], "b": [1, 3]}
    second = {"a": [1, 3], "b": [0]}

    left = left_of_all([first, second])

    assert left == {"a": [2, 6], "b": [1]}


def test_without_a_cut_nothing_is_said() -> None:
    assert left_of_all([]) == {}
