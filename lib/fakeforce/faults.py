"""Faults on request: one table of rules, for calls, rows and jobs. Documented in README.md.

A rule fires ``times`` times after ``skip`` matching events, then it is spent; ``times`` 0 is for ever. With a
``rate`` below 1 each matching event is struck with that chance, drawn from ``seed``: the same seed strikes the same
events. Rules are tried in the order they were given.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import FakeforceError
from .settings import MAX_NUMBER

_HTML = "<html><head><title>Error</title></head><body><h1>{}</h1></body></html>"


def _array(code: str, message: str) -> str:
    return f'[{{"message":"{message}","errorCode":"{code}"}}]'


# Name of a fault on calls -> (status, body, headers).
ANSWERS: dict[str, tuple[int, str, dict[str, str]]] = {
    # REST guide: Status Codes and Error Responses
    "503": (503, _array("SERVER_UNAVAILABLE", "The server is unavailable"), {}),
    "500": (500, _HTML.format("500 Internal Server Error"), {"content-type": "text/html; charset=UTF-8"}),
    "502": (502, _HTML.format("502 Bad Gateway"), {"content-type": "text/html; charset=UTF-8"}),
    # In no Salesforce table of statuses; proxies on the way send it (assumed).
    "429": (429, _array("TOO_MANY_REQUESTS", "Too many requests"), {"retry-after": "1"}),
    "403": (403, _array("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), {}),  # seen
    "403-concurrent": (
        403,
        _array("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded"),
        {},
    ),  # seen
    "401": (401, _array("INVALID_SESSION_ID", "Session expired or invalid"), {}),  # seen
}
CUTS = ("reset-before", "reset-during", "reset-after", "cut-answer")
SLOW = ("slow", "stall")
CALL_FAULTS = (*ANSWERS, *CUTS, *SLOW)
ROW_FAULTS = ("lock-rows", "row-error")
STORE_FAULTS = ("lose-rows", "alter-rows")
JOB_FAULTS = ("fail-job", "stick-job", "retry-batch", "lose-batch", "fail-query", "stick-query")
RESULT_FAULTS = ("drop-result",)
KINDS = (*CALL_FAULTS, *ROW_FAULTS, *STORE_FAULTS, *JOB_FAULTS, *RESULT_FAULTS)


@dataclass
class Fault:
    """One rule.

    Calls, chosen by ``method`` and ``path`` (a regular expression searched in the path):
    the names of ANSWERS give that answer; ``reset-before``, ``-during`` and ``-after`` cut the connection before the
    body is read, after its first bytes, or after the work was done and before the answer; ``cut-answer`` hangs
    up after half of the answer's first piece. ``slow`` waits ``delay`` real seconds before the body is read and then goes on;
    ``stall`` reads the body's first bytes, waits as long, and cuts.

    Jobs of ``object``: ``lock-rows`` and ``row-error`` refuse ``rows`` rows of the next chunk with ``error``
    (``CODE:message``); ``lose-rows`` reports ``rows`` rows of the next chunk as written and forgets them, ``alter-rows``
    stores ``value`` in their ``column`` instead of what was sent; ``fail-job`` ends the next job with ``error`` after ``skip`` internal batches;
    ``stick-job`` leaves it InProgress for ``delay`` seconds of the org's time (0: until it is aborted);
    ``fail-query`` and ``stick-query`` do the same to a query job; ``retry-batch`` makes one try of a batch fail as a whole (the 21st of a batch fails the job); ``lose-batch``
    drops an internal batch as an exhausted daily allocation does; ``drop-result`` leaves ``rows`` lines out of the next
    result download whose kind (successful, failed, unprocessed, query) ``path`` is found in.
    """

    kind: str
    method: str = ""
    path: str = ""
    object: str = ""
    times: int = 1
    skip: int = 0
    rows: int = 1
    error: str = ""
    column: str = ""
    value: str = ""
    retry_after: str = ""
    delay: float = 0.0
    rate: float = 1.0
    seed: int = 1
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FakeforceError(f"unknown fault kind {self.kind!r} (known: {', '.join(KINDS)})")
        for one in fields(self):
            value, kind = getattr(self, one.name), type(one.default)
            fits = type(value) is kind or (kind is float and type(value) is int)
            if not fits and one.name != "kind":
                text = f"fault key {one.name!r} must be of type {kind.__name__} and is {value!r}"
                raise FakeforceError(text)
            if isinstance(value, int | float) and one.name != "seed" and not 0 <= value <= MAX_NUMBER:
                raise FakeforceError(f"fault key {one.name!r} must be from 0 to {MAX_NUMBER} and is {value}")
        if not 0 < self.rate <= 1:
            raise FakeforceError(f"fault key 'rate' must be above 0 and at most 1 and is {self.rate}")
        try:
            re.compile(self.path)
        except re.error as error:
            raise FakeforceError(f"fault key 'path' is no regular expression: {error}") from None
        self._dice = random.Random(self.seed)  # noqa: S311 - a fault, not a secret

    def strikes(self) -> bool:
        """Whether this matching event is struck; counts it."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self._dice.random() >= self.rate:
            return False
        self.fired += 1
        return True

    @property
    def spent(self) -> bool:
        """Whether it has struck as often as it may."""
        return 0 < self.times <= self.fired

    def matches_call(self, method: str, path: str) -> bool:
        """Whether the rule is about this call."""
        if self.kind not in CALL_FAULTS:
            return False
        return (not self.method or self.method.upper() == method) and bool(re.search(self.path, path))


def _rule(given: object) -> Fault:
    if not isinstance(given, dict) or "kind" not in given:
        raise FakeforceError(f"a fault is an object with the key 'kind', not {given!r}")
    known = {f.name for f in fields(Fault) if f.init}
    unknown = sorted(set(given) - known)
    if unknown:
        raise FakeforceError(f"unknown fault key {unknown[0]!r} (known: {', '.join(sorted(known))})")
    return Fault(**given)


class Faults:
    """The table of rules of one org."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, kind: str, **given: Any) -> Fault:
        """Add a rule, e.g. ``add("503", method="PUT", path="batches", times=2)``."""
        return self.add_all([{"kind": kind, **given}])[0]

    def add_all(self, given: list[dict[str, Any]]) -> list[Fault]:
        """Add rules; when one is wrong, none is added. Raises FakeforceError."""
        rules = [_rule(one) for one in given]
        with self._lock:
            self._rules += rules
        return rules

    def clear(self) -> None:
        """Drop all rules."""
        with self._lock:
            self._rules.clear()

    def shown(self) -> list[dict[str, Any]]:
        """All rules that are not spent, as JSON."""
        with self._lock:
            return [asdict(rule) for rule in self._rules]

    def for_call(self, method: str, path: str) -> Fault | None:
        """The rule that strikes this call, if any; counts it."""
        return self._take(lambda rule: rule.matches_call(method, path))

    def for_object(self, kinds: tuple[str, ...], name: str) -> Fault | None:
        """The rule on rows or jobs of an object that strikes now, if any; counts it."""
        return self._take(lambda rule: rule.kind in kinds and rule.object.lower() in ("", name.lower()))

    def for_result(self, name: str, kind: str) -> Fault | None:
        """The rule on a result download of an object's job that strikes now, if any; counts it."""
        return self._take(
            lambda rule: (
                rule.kind in RESULT_FAULTS
                and rule.object.lower() in ("", name.lower())
                and bool(re.search(rule.path, kind))
            )
        )

    def _take(self, matches: Callable[[Fault], bool]) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if matches(rule) and rule.strikes():
                    if rule.spent:
                        self._rules.remove(rule)
                    return rule
        return None
