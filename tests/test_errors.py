"""flowd.errors: what every error of flowd can do."""

from __future__ import annotations

import copy
import pickle

import pytest

from flowd.errors import (
    ConfigError,
    Fenced,
    FilterError,
    FlowdError,
    LineTooLong,
    NotAcknowledged,
    Problem,
    Refused,
    Unreachable,
    WireError,
)

PROBLEM = Problem("flow", 3, 5, "this is wrong", "write it otherwise", "bad")
ERRORS = [
    FlowdError("a", hint="b"),
    FilterError([PROBLEM], [PROBLEM, PROBLEM]),
    ConfigError([PROBLEM]),
    Unreachable("a", hint="b"),
    Refused("filter", "a", hint="b"),
    Fenced("a", hint="b"),
    NotAcknowledged("a", count=7, hint="b"),
    WireError("crc", "a", hint="b"),
    LineTooLong("a", hint="b"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_can_be_pickled_and_copied(error: FlowdError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert (str(again), again.args, again.exit_code, vars(again)) == (
            str(error),
            error.args,
            error.exit_code,
            vars(error),
        )
