"""THE door to optuna: which trials a search has, and what to try next, in a SQLite file that its workers share."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from secateur import spaces
from secateur.errors import SpecError, StageError
from secateur.spaces import Choices, Place, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

DATABASE = "search.db"
ASKING = ".asking"
WORKED_ON = ".worker"
"""Lock in a trial's folder; whoever holds it lives."""

PATIENCE_SECONDS = 60
"""How long a worker waits while others write."""

TWIN = "twin"
"""Marks what was proposed, but had been tried."""


@dataclass(frozen=True)
class Trial:
    """What is to be tried; its folder has its number."""

    number: int
    place: Place


def check() -> None:
    """Raises SpecError where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise SpecError("a search needs Optuna: pip install 'secateur[search]'")


class Trials:
    """A search's, as one worker sees them: it has at most one of its own at a time.

    What is proposed depends on the seed, on how many trials there are and on what came of them, so that a search that
    was killed goes on as it would have. A trial that a killed worker left is taken over by the next to ask.
    """

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        """Raises StageError where the file cannot be used."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._folder, self._space, self._seed = folder, space, seed
        self._asking = FileLock(folder / ASKING)
        self._own: FileLock | None = None
        newer = RuntimeError  # Optuna's own for a file of a later version
        with self._told_in_one_line(newer), self._asking:  # two that make the tables at once break each other
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{folder / DATABASE}", engine_kwargs={"connect_args": {"timeout": PATIENCE_SECONDS}}
            )
            self._study = optuna.create_study(
                storage=storage, study_name="search", directions=["maximize", "minimize"], load_if_exists=True
            )

    def next(self, wanted: int) -> Trial | None:
        """The next to be done, of so many in all; None where all are, or are being worked on."""
        with self._told_in_one_line(), self._asking:
            left = self._left_behind()
            if left or len(self._tried()) >= min(wanted, spaces.size(self._space)):
                return left
            return self._asked()

    def tally(self) -> dict[str, int]:
        """How many trials ended how, and how many have not."""
        words = {"COMPLETE": "finished", "PRUNED": "stopped early", "FAIL": "failed"}
        with self._told_in_one_line():
            found = self._study.get_trials(deepcopy=False)
        return dict(Counter(words.get(t.state.name, "not finished") for t in found if self._counts(t)))

    def tell_finished(self, trial: Trial, accuracy: float, latency_ms: float) -> None:
        """What it ships: mAP50-95, a fraction, and milliseconds a picture. The trial is let go."""
        self._tell(trial, self._optuna.trial.TrialState.COMPLETE, [accuracy, latency_ms])

    def tell_stopped(self, trial: Trial) -> None:
        """It was ended early, since another was ahead; it is not done again. The trial is let go."""
        self._tell(trial, self._optuna.trial.TrialState.PRUNED)

    def tell_failed(self, trial: Trial) -> None:
        """It came to nothing, and is not done again. The trial is let go."""
        self._tell(trial, self._optuna.trial.TrialState.FAIL)

    def _tell(self, trial: Trial, state: Any, values: list[float] | None = None) -> None:
        with self._told_in_one_line():
            self._study.tell(trial.number, values, state)
        self._let_go()

    def _let_go(self) -> None:
        assert self._own
        self._own.release()
        self._own = None

    def _left_behind(self) -> Trial | None:
        """A trial whose worker is gone, now this one's."""
        for number in self._running():
            if self._take(number):
                found = self._running().get(number)
                if found and self._is_whole(found):
                    return Trial(number, self._place(found.params))
                if found:  # killed while its values were being written
                    self.tell_failed(Trial(number, {}))
                else:  # told of since the first look
                    self._let_go()
        return None

    def _running(self) -> dict[int, FrozenTrial]:
        running = (self._optuna.trial.TrialState.RUNNING,)
        return {trial.number: trial for trial in self._study.get_trials(deepcopy=False, states=running)}

    def _asked(self) -> Trial:
        """What Optuna proposes; where that was tried, another place that was not, by lot."""
        tried = self._tried()
        self._study.sampler = self._sampler()
        asked = self._study.ask(self._distributions())
        if self._place(asked.params) in tried:
            asked.set_user_attr(TWIN, True)
            self._study.tell(asked.number, state=self._optuna.trial.TrialState.FAIL)
            self._study.enqueue_trial(self._untried(tried, asked.number))
            asked = self._study.ask(self._distributions())
        taken = self._take(asked.number)
        assert taken, f"nobody else knows of trial {asked.number} yet"
        return Trial(asked.number, self._place(asked.params))

    def _take(self, number: int) -> bool:
        """Whether this worker has the trial now."""
        lock = FileLock(self._folder / str(number) / WORKED_ON, blocking=False)
        Path(lock.lock_file).parent.mkdir(exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._own = lock
        return True

    def _tried(self) -> list[Place]:
        """Each place that was tried or is being tried, once."""
        found = self._study.get_trials(deepcopy=False)
        return [self._place(trial.params) for trial in found if self._counts(trial)]

    def _counts(self, trial: FrozenTrial) -> bool:
        return self._is_whole(trial) and TWIN not in trial.user_attrs

    def _is_whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == self._space.keys()

    def _untried(self, tried: list[Place], number: int) -> Place:
        chance = random.Random(f"{self._seed} {number}")
        while (place := {key: chance.choice(axis.values) for key, axis in self._space.items()}) in tried:
            pass
        return place

    def _place(self, params: dict[str, Any]) -> Place:
        axes = self._space.items()
        return {key: params[key] if isinstance(axis, Choices) else axis.nearest(params[key]) for key, axis in axes}

    def _sampler(self) -> Any:
        """Its dice depend on how many trials there are, so that no two workers, and no second start, throw alike."""
        count = len(self._study.get_trials(deepcopy=False))
        dice = random.Random(f"{self._seed} {count}")
        return self._optuna.samplers.TPESampler(seed=dice.getrandbits(32))

    def _distributions(self) -> dict[str, BaseDistribution]:
        kinds = self._optuna.distributions
        found: dict[str, BaseDistribution] = {}
        for key, axis in self._space.items():
            if isinstance(axis, Choices):
                found[key] = kinds.CategoricalDistribution(axis.values)
            elif all(isinstance(number, int) for number in vars(axis).values()):
                found[key] = kinds.IntDistribution(axis.low, axis.high, step=axis.step)
            else:
                found[key] = kinds.FloatDistribution(axis.low, axis.high, step=axis.step)
        return found

    @contextmanager
    def _told_in_one_line(self, *also: type[Exception]) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, self._optuna.exceptions.OptunaError, *also) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise StageError(
                f"{self._folder / DATABASE} cannot be used: {line.strip()}; without this file the same command begins "
                "anew, and takes from the store what is there"
            ) from error
