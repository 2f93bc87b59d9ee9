"""Faults on request: one table of rules, for connections and calls. Documented in README.md."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field

PLACES = ("connect", "login", "execute", "fetch", "commit", "any")
"""Where a rule looks: `any` is every call after the login, whatever it does."""
DROPS = ("drop-fin", "drop-rst", "drop-half")
KINDS = ("refuse-N", "close", "slow-SECONDS", *DROPS, "ORA-N")
_AT_CONNECT = ("refuse", "close")
_RULE = re.compile(r"(?P<at>\w+):(?P<when>[^=]+)=(?P<kind>\S+)(?:\s+sql=(?P<sql>.+))?", re.DOTALL)
_KIND = re.compile(r"(?:refuse|ORA)-\d{1,5}|slow-\d+(?:\.\d+)?|close|drop-(?:fin|rst|half)")
_NUMBERED = ("refuse", "slow", "ORA")

# Database Error Messages, Oracle Database 19c
_TEXTS = {
    28: "your session has been killed",
    60: "deadlock detected while waiting for resource",
    942: "table or view does not exist",
    1013: "user requested cancel of current operation",
    1017: "invalid username/password; logon denied",
    1033: "ORACLE initialization or shutdown in progress",
    1034: "ORACLE not available",
    1089: "immediate shutdown in progress - no operations are permitted",
    1555: 'snapshot too old: rollback segment number 7 with name "_SYSSMU7$" too small',
    1652: "unable to extend temp segment by 128 in tablespace TEMP",
    3113: "end-of-file on communication channel",
    28000: "The account is locked.",
    28001: "the password has expired",
}


@dataclass
class Fault:
    """One rule.

    `kind` is one of KINDS with its number filled in, `at` one of PLACES. Calls are counted from 1, over all connections,
    from the moment the rule is added, and only those whose SQL text contains the regular expression `sql`. The rule
    strikes at call number `call`, once; or with `rate` at each call with that probability; or with neither at every call.
    `text` replaces the words of an ORA error.

    A fetch call is a round trip that only asks for more rows: the rows that come with the answer to an execute are not
    one. So with `fetch_df_batches(size=n)` fetch call 1 is the second batch.
    """

    kind: str
    at: str = "any"
    call: int | None = None
    rate: float | None = None
    sql: str = ""
    text: str = ""
    seen: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ValueError(f"there is no fault {self.kind!r}; the kinds are {', '.join(KINDS)}")
        self._family, _, detail = self.kind.partition("-")
        self._number = float(detail) if self._family in _NUMBERED else 0.0
        if self.at not in PLACES:
            raise ValueError(f"a fault cannot be at {self.at!r}; the places are {', '.join(PLACES)}")
        if self._family in _AT_CONNECT and self.at != "connect":
            raise ValueError(f"{self.kind} happens to a connection attempt only: say connect")
        if self._family == "ORA" and self.at == "connect":
            raise ValueError(f"a listener answers with its own numbers: say refuse-{self._number:.0f}")
        if self._family == "ORA" and not self._number:
            raise ValueError("ORA-0 is no error; the numbers begin at 1")
        if self.call is not None and (self.call < 1 or self.rate is not None):
            raise ValueError("a fault strikes at a call, counted from 1, or at a rate")
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ValueError("the rate of a fault is a probability above 0, at most 1")
        if self.sql and self.at in ("connect", "login", "commit"):
            raise ValueError(f"a {self.at} has no SQL text to look for")
        re.compile(self.sql)

    @property
    def refuse(self) -> int:
        """The listener's number of a refusal; 0 if it is none."""
        return int(self._number) if self._family == "refuse" else 0

    @property
    def close(self) -> bool:
        """Whether the connection attempt is accepted and closed without a word."""
        return self._family == "close"

    @property
    def delay(self) -> float:
        """Seconds to wait before the call is done."""
        return self._number if self._family == "slow" else 0.0

    @property
    def drop(self) -> str:
        """How the connection is dropped in place of the answer: `fin`, `rst`, `half`, or not at all."""
        return self.kind.removeprefix("drop-") if self.kind in DROPS else ""

    @property
    def error(self) -> tuple[int, str] | None:
        """The ORA number and text to answer with, in place of doing the call."""
        if self._family != "ORA":
            return None
        number = int(self._number)
        return number, self.text or _TEXTS.get(number, "raised by a fault of fakeoracle")


class Faults:
    """The rules of one server. `seed` decides what rates hit, so that a run can be repeated."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._lock = threading.Lock()

    def add(
        self,
        kind: str,
        at: str = "any",
        *,
        call: int | None = None,
        rate: float | None = None,
        sql: str = "",
        text: str = "",
    ) -> Fault:
        """Add a rule, e.g. `add("ORA-01555", at="fetch", call=3)`; ValueError says what is wrong with it."""
        rule = Fault(kind, at, call, rate, sql, text)
        with self._lock:
            self._rules.append(rule)
        return rule

    def add_text(self, text: str) -> Fault:
        """Add a rule as the command line has it: `fetch:3=ORA-01555`, `fetch:p0.01=drop-rst`, `execute:*=slow-1 sql=T_SALES`."""
        match = _RULE.fullmatch(text.strip())
        if not match:
            raise ValueError(f"{text!r} is not a fault; write PLACE:CALL=KIND, for example fetch:3=ORA-01555")
        when = match["when"]
        try:
            call = int(when) if when != "*" and not when.startswith("p") else None
            rate = float(when[1:]) if when.startswith("p") else None
        except ValueError:
            raise ValueError(
                f"{text!r}: the call is a number, * for every call, or p0.01 for a rate"
            ) from None
        return self.add(match["kind"], match["at"], call=call, rate=rate, sql=match["sql"] or "")

    def clear(self) -> None:
        """Drop all rules."""
        with self._lock:
            self._rules.clear()

    @property
    def pending(self) -> list[Fault]:
        """The rules that may still strike."""
        with self._lock:
            return list(self._rules)

    def strike(self, at: str, sql: str = "") -> list[Fault]:
        """Count one call and return the rules that strike it."""
        with self._lock:
            hit = [rule for rule in self._rules if self._strikes(rule, at, sql)]
            self._rules = [rule for rule in self._rules if rule.call is None or not rule.fired]
            return hit

    def _strikes(self, rule: Fault, at: str, sql: str) -> bool:
        place = rule.at == at or (rule.at == "any" and at not in ("connect", "login"))
        if not place or (rule.sql and not re.search(rule.sql, sql, re.IGNORECASE)):
            return False
        rule.seen += 1
        if rule.call is not None:
            struck = rule.seen == rule.call
        else:
            struck = rule.rate is None or self._random.random() < rule.rate
        rule.fired += struck
        return struck
