"""The effort of random tests: few repeatable examples in the suite, more and random ones with `make fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# How many times as many examples as usual.
EFFORT = int(os.environ.get("EFFORT", "1"))


def examples(number: int, *, steps: int = 50, shrink: bool = True) -> settings:
    """Settings for a test with `number` examples, each of `steps` steps if it is a state machine.

    The duration of an example is not limited, and all examples share their fixtures.
    """
    return settings(
        max_examples=number * EFFORT,
        stateful_step_count=steps,
        derandomize=EFFORT == 1,
        database=None,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=[phase for phase in Phase if shrink or phase not in (Phase.shrink, Phase.explain)],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
