"""The circuit breaker's states, turned by a hand clock, against a small model."""

from __future__ import annotations

import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gnomon.features.circuit_breaker import CircuitBreaker

FAILURES, WINDOW_S, PAUSE_S = 3, 10.0, 4.0


def breaker_at(now_s: list[float]) -> CircuitBreaker:
    return CircuitBreaker(FAILURES, WINDOW_S, PAUSE_S, lambda: now_s[0])


def test_opens_probes_and_closes() -> None:
    now_s = [100.0]
    breaker = breaker_at(now_s)
    assert (breaker.troubled, breaker.state) == (False, "closed")
    for _ in range(FAILURES):
        assert breaker.admit() == 0
        breaker.failed()
    assert (breaker.troubled, breaker.state) == (True, "open")
    now_s[0] += 1
    assert breaker.admit() == PAUSE_S - 1
    now_s[0] += 3
    assert (breaker.admit(), breaker.state) == (0, "half-open")
    assert breaker.admit() == PAUSE_S  # one probe only
    breaker.failed()
    assert breaker.state == "open"
    now_s[0] += PAUSE_S
    assert breaker.admit() == 0
    breaker.succeeded()
    assert (breaker.troubled, breaker.state, breaker.admit()) == (False, "closed", 0)


def test_a_probe_that_never_reports_is_followed_by_another() -> None:
    now_s = [0.0]
    breaker = breaker_at(now_s)
    for _ in range(FAILURES):
        breaker.failed()
    for _ in range(3):
        now_s[0] += PAUSE_S
        assert breaker.admit() == 0
        assert breaker.admit() > 0


def test_of_many_threads_one_probes() -> None:
    now_s = [0.0]
    breaker = breaker_at(now_s)
    for _ in range(FAILURES):
        breaker.failed()
    now_s[0] += PAUSE_S
    admitted: list[float] = []
    threads = [threading.Thread(target=lambda: admitted.append(breaker.admit())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [0.0] + [PAUSE_S] * 19


class BreakerMachine(RuleBasedStateMachine):
    """Requests are asked for, answered or lost in any order while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = [0.0]
        self.breaker = breaker_at(self.now_s)
        self.failed_s: list[float] = []
        self.opened_s: float | None = None
        self.probing = False

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.5, 4.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s[0] += seconds

    @rule()
    def ask(self) -> None:
        wait_s = self.breaker.admit()
        if self.opened_s is None:
            assert wait_s == 0
        elif self.now_s[0] >= self.opened_s + PAUSE_S:
            assert wait_s == 0
            self.opened_s, self.probing = self.now_s[0], True
        else:
            assert wait_s == self.opened_s + PAUSE_S - self.now_s[0]

    @rule()
    def lose(self) -> None:
        self.breaker.failed()
        now_s = self.now_s[0]
        if self.opened_s is not None:
            if self.probing:
                self.opened_s, self.probing = now_s, False
            return
        self.failed_s = [*self.failed_s, now_s][-FAILURES:]
        if len(self.failed_s) == FAILURES and now_s - self.failed_s[0] <= WINDOW_S:
            self.opened_s = now_s

    @rule()
    def answer(self) -> None:
        self.breaker.succeeded()
        self.failed_s, self.opened_s, self.probing = [], None, False

    @invariant()
    def state_is_the_models(self) -> None:
        expected = "closed" if self.opened_s is None else "half-open" if self.probing else "open"
        assert self.breaker.state == expected
        assert self.breaker.troubled == bool(self.failed_s or self.opened_s is not None)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
