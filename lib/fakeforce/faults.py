"""Faults on request: one table of rules, for calls, rows and jobs. Documented in README.md.

A rule fires ``times`` times after ``skip`` matching events, then it is spent. Rules are tried in the order
they were given.
"""

from __future__ import annotations

import re
import threading
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import FakeforceError

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
RESETS = ("reset-before", "reset-during", "reset-after")
ROW_FAULTS = ("lock-rows", "row-error")
JOB_FAULTS = ("fail-job", "lose-batch")
KINDS = (*ANSWERS, *RESETS, *ROW_FAULTS, *JOB_FAULTS)


@dataclass
class Fault:
    """One rule.

    Calls: ``kind`` is a name of ANSWERS or RESETS; ``method`` and ``path`` (a regular expression searched in
    the path) say which calls. Rows: ``lock-rows`` and ``row-error`` refuse ``rows`` rows of the next chunk of
    ``object`` with ``error`` (``CODE:message``). Jobs: ``fail-job`` ends the next job of ``object`` with
    ``error`` after ``skip`` internal batches, ``lose-batch`` drops an internal batch as an exhausted daily
    allocation does.
    """

    kind: str
    method: str = ""
    path: str = ""
    object: str = ""
    times: int = 1
    skip: int = 0
    rows: int = 1
    error: str = ""
    retry_after: str = ""
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
        try:
            re.compile(self.path)
        except re.error as error:
            raise FakeforceError(f"fault key 'path' is no regular expression: {error}") from None

    def matches_call(self, method: str, path: str) -> bool:
        """Whether the rule is about this call."""
        if self.kind not in ANSWERS and self.kind not in RESETS:
            return False
        return (not self.method or self.method.upper() == method) and bool(re.search(self.path, path))


class Faults:
    """The table of rules of one org."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, kind: str, **given: Any) -> Fault:
        """Add a rule, e.g. ``add("503", method="PUT", path="batches", times=2)``."""
        known = {f.name for f in fields(Fault) if f.init} - {"kind"}
        unknown = sorted(set(given) - known)
        if unknown:
            raise FakeforceError(f"unknown fault key {unknown[0]!r} (known: {', '.join(sorted(known))})")
        rule = Fault(kind, **given)
        with self._lock:
            self._rules.append(rule)
        return rule

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

    def _take(self, matches: Any) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if not matches(rule):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.fired += 1
                if rule.fired >= rule.times:
                    self._rules.remove(rule)
                return rule
        return None
