"""``ora2sf doctor``: is everything there that a run needs? Nothing is written to either side, and nothing hangs.

:mod:`findings` holds what a check says, :mod:`network` the way to a server; :mod:`machine`, :mod:`source`, :mod:`target` and
:mod:`fit` are the four groups of checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ora2sf.catalog import Catalog, read_catalog
from ora2sf.connections import known_secrets, project_root
from ora2sf.doctor import fit, machine
from ora2sf.doctor.findings import Check, Checklist
from ora2sf.doctor.source import look_at_source
from ora2sf.doctor.target import look_at_target
from ora2sf.errors import Ora2sfError
from ora2sf.redaction import Redactor
from ora2sf.tables import TableConfig

__all__ = ["Check", "examine"]


def examine(
    oracle_conn_id: str, sf_conn_id: str, tables: Sequence[str] = (), tell: Callable[[Check], None] = print
) -> list[Check]:
    """Every check, in order; each is told as soon as it is made.

    Args:
        tables: names of the table files to look at; all of the project by default.
    """
    clean = Redactor(known_secrets(strict=False))  # why a file cannot be read is told below
    listed: list[Check] = []

    def note(check: Check) -> None:
        listed.append(check.cleaned(clean))
        tell(listed[-1])

    here = Checklist("here", note)
    machine.look_around(here)
    configs = _tables(here, tables)
    columns = look_at_source(Checklist(oracle_conn_id, note), oracle_conn_id, configs)
    describes = look_at_target(Checklist(sf_conn_id, note), sf_conn_id, configs)
    fit.compare(Checklist("tables", note), configs, columns, describes)
    return listed


def _tables(checks: Checklist, names: Sequence[str]) -> list[TableConfig]:
    """The table files that can be read, and a line that says which cannot."""
    try:
        catalog = read_catalog(project_root() / "tables")
    except Ora2sfError as error:
        draft = "`ora2sf tables new OWNER.TABLE --object X -o tables/NAME.toml` drafts one."
        checks.problem("table files", error.what, draft)
        return []
    _of_catalog(checks, catalog, names)
    return [config for config in catalog.in_order() if not names or config.table in names]


def _of_catalog(checks: Checklist, catalog: Catalog, names: Sequence[str]) -> None:
    broken = sorted(set(catalog.broken) & set(names or catalog.broken))
    unknown = sorted(set(names) - set(catalog.tables) - set(catalog.broken))
    check = "`ora2sf tables check` says what is wrong."
    if unknown:
        checks.problem(
            "table files", f"there is no table {', '.join(unknown)}", "`ora2sf tables list` names them."
        )
    if broken:
        checks.problem("table files", f"not valid: {', '.join(broken)}", check)
    if not broken and not unknown:
        checks.ok("table files", f"{len(names or catalog.tables)} valid in {project_root() / 'tables'}")
