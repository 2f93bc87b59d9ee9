"""The command ``ora2sf``. What a command needs is imported when it runs: ``--help`` must not wait for it."""

from __future__ import annotations

import argparse
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ora2sf import cli_campaign
from ora2sf.errors import Exit, Ora2sfError, TableFileError, worst
from ora2sf.private import private_files
from ora2sf.terminal import grid as _grid
from ora2sf.terminal import number as _number
from ora2sf.terminal import print_columns as _print_columns

if TYPE_CHECKING:
    from ora2sf.catalog import Catalog
    from ora2sf.draft import Wanted
    from ora2sf.drafting import Draft
    from ora2sf.fields import AnyField
    from ora2sf.tables import TableConfig

WIDTH = 100
#: What a shell reports for a command whose reader went away (128 + SIGPIPE).
_PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status (:class:`ora2sf.errors.Exit`, docs/report.md)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without the letters of a table file
    try:
        options = _parser().parse_args(arguments)
        action: Callable[[argparse.Namespace], int] = options.action
        status = action(options)
        sys.stdout.flush()
    except Ora2sfError as error:
        print(_clean(str(error)), file=sys.stderr)
        return error.exit
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # so that the interpreter's own last flush does not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except Exception:  # noqa: BLE001 - a defect: said in full, but for secrets
        print(_clean(traceback.format_exc()), file=sys.stderr)
        return Exit.FAILED
    return status


def _clean(text: str) -> str:
    from ora2sf.redaction import redactor

    return str(redactor().clean(text))


class _Version(argparse.Action):
    """Shows the installed version, which takes a look into the installed packages."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        try:
            print(f"ora2sf {metadata.version('ora2sf')}")
        except metadata.PackageNotFoundError:
            print("ora2sf, not installed: it runs from its folder")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ora2sf", description="Moves Oracle tables to Salesforce through Bulk API 2.0."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    groups = parser.add_subparsers(required=True, metavar="COMMAND")
    _own_parsers(groups)
    cli_campaign.add_parsers(groups)
    tables = groups.add_parser("tables", help="check, list, show and draft table files")
    _tables_parser(tables.add_subparsers(required=True, metavar="COMMAND"))
    _runs_parser(groups)
    return parser


def _runs_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, action, text in (
        ("report", _report, "write report.html and report.json of each slice anew, from ledger and files"),
        ("verify", _verify, "compare each slice's files with the checksums in its report.json"),
    ):
        parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parser.add_argument("folder", metavar="RUN", help=cli_campaign.RUN)
        parser.set_defaults(action=action)
    text = "remove staged data after a proven verdict; hashes, result files, ledger and reports stay"
    cleanup = commands.add_parser(
        "cleanup", help=text, description=f"{text[0].upper()}{text[1:]} (docs/security.md)."
    )
    cleanup.add_argument("folder", metavar="RUN", help=cli_campaign.RUN)
    cleanup.add_argument("tables", nargs="*", metavar="TABLE", help="only these tables (default: all)")
    cleanup.add_argument(
        "--yes", action="store_true", help="remove it; without this the command only shows what would go"
    )
    cleanup.add_argument(
        "--also-unproven", action="store_true", help="also where the books balance without a proof"
    )
    cleanup.set_defaults(action=_cleanup)


def _own_parsers(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    names = argparse.ArgumentParser(add_help=False)
    for name, text in (
        ("oracle_conn_id", "connection of the source (default: oracle_tms)"),
        ("sf_conn_id", "connection of the org (default: salesforce_api)"),
    ):
        names.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=text)
    init = groups.add_parser(
        "init",
        parents=[names],
        help="write connections.toml for your own servers, and check both",
        description="Asks for the values on a terminal, secrets unseen; elsewhere placeholders are written.",
    )
    init.add_argument(
        "--file", type=Path, metavar="FILE", help="default: connections.toml in the project's folder"
    )
    init.add_argument("--force", action="store_true", help="replace the file if there is one")
    init.add_argument("--no-check", action="store_true", help="do not run the doctor afterwards")
    init.set_defaults(action=_init)
    doctor = groups.add_parser(
        "doctor",
        parents=[names],
        help="check this machine, both servers and the table files, each with the fix",
        description="Writes nothing to either side. The exit code is 0 without a problem, else 6.",
    )
    doctor.add_argument("--json", action="store_true", help="for programs: one list of checks")
    doctor.add_argument("--tables", nargs="+", default=[], metavar="TABLE", help="only these table files")
    doctor.set_defaults(action=_doctor)


def _tables_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument(
        "--tables",
        type=Path,
        metavar="DIR",
        help="folder of the table files (default: the project's tables/)",
    )
    check = commands.add_parser("check", parents=[folder], help="check table files, alone and together")
    check.add_argument("names", nargs="*", metavar="TABLE", help="default: every table of the folder")
    check.set_defaults(action=_check)
    listing = commands.add_parser("list", parents=[folder], help="list the tables in phase order")
    listing.set_defaults(action=_list)
    show = commands.add_parser(
        "show", parents=[folder], help="show what a table file reads, and what each column becomes"
    )
    show.add_argument("name", metavar="TABLE")
    show.add_argument("--json", action="store_true", help="for programs: every key, also those by default")
    show.set_defaults(action=_show)
    reference = commands.add_parser("reference", help="the reference of table files, in Markdown")
    reference.add_argument("--write", type=Path, metavar="FILE", help="into this page, between its two marks")
    reference.set_defaults(action=_reference)
    sdl = commands.add_parser(
        "import-sdl",
        help="draft a table file from a mapping of Data Loader",
        description="Drafts a table file from a mapping that Data Loader uses for insert, update or upsert.",
    )
    _sdl_parser(sdl)
    new = commands.add_parser(
        "new",
        parents=[folder],
        help="draft a table file from Oracle's dictionary and an object's describe",
        description="Drafts a table file from the dictionary of Oracle and the describe of an object. Reads both, writes to neither.",
    )
    _new_parser(new)


def _new_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="OWNER.TABLE", help='a table or view; OWNER."Table" keeps its case')
    parser.add_argument("--object", required=True, metavar="X", help="API name of the object")
    parser.add_argument(
        "--external-id", default="", metavar="F", help="field that names a record (default: the only one)"
    )
    parser.add_argument(
        "--key",
        nargs="+",
        default=[],
        metavar="COL",
        help="columns of the external id (default: the primary key)",
    )
    parser.add_argument(
        "--time-zone", default="", metavar="Z", help="of dates with time in the source, such as Asia/Bangkok"
    )
    parser.add_argument(
        "--no-sample", action="store_true", help="do not look at rows: formats of dates in text stay open"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="table file to write (default: print it)"
    )
    for name in ("oracle_conn_id", "sf_conn_id"):
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="X", help="name of a connection")
    parser.set_defaults(action=_new)


def _sdl_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.sdl")
    parser.add_argument("--object", required=True, metavar="X", help="API name of the object")
    parser.add_argument("--external-id", required=True, metavar="F", help="field that names a record")
    parser.add_argument("--source", default="", metavar="OWNER.TABLE", help="the source table in Oracle")
    parser.add_argument(
        "--key", nargs="+", default=[], metavar="COLUMN", help="columns that make the external id"
    )
    parser.add_argument(
        "--describe", type=Path, metavar="FILE.json", help="saved describe of the object: types and lengths"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="table file to write (default: print it)"
    )
    parser.set_defaults(action=_import_sdl)


# init, doctor


def _init(options: argparse.Namespace) -> int:
    from ora2sf.connections_file import write_connections

    ids = _conn_ids(options)
    path, complete = write_connections(options.file, ids, force=options.force)
    print(f"{path} written, mode 0600.")
    if options.no_check or not complete:
        print(
            "Then: ora2sf doctor" if complete else "Put the values in place of CHANGE-ME, then: ora2sf doctor"
        )
        return Exit.COMPLETE
    os.environ["ORA2SF_CONNECTIONS"] = str(path)
    print("ora2sf doctor:\n")
    return _examined(ids, [], as_json=False)


def _conn_ids(options: argparse.Namespace) -> tuple[str, str]:
    from ora2sf.parameters import read_plan_parameters

    named = {name: getattr(options, name) for name in ("oracle_conn_id", "sf_conn_id")}
    given = read_plan_parameters({"run_id": "doctor", **named})
    return given.oracle_conn_id, given.sf_conn_id


def _doctor(options: argparse.Namespace) -> int:
    return _examined(_conn_ids(options), options.tables, as_json=options.json)


def _examined(ids: tuple[str, str], tables: Sequence[str], *, as_json: bool) -> int:
    import json
    from collections import Counter

    from ora2sf.doctor import Check, examine

    def tell(check: Check) -> None:
        if not as_json:
            print(check, flush=True)

    found = examine(*ids, tables, tell)
    states = Counter(check.state for check in found)
    if as_json:
        print(json.dumps([check.as_json() for check in found], indent=2, ensure_ascii=False))
    else:
        print(
            f"\n{_number(len(found), 'check')}: {', '.join(f'{count} {state}' for state, count in states.items())}."
        )
    return Exit.CONFIGURATION if states["problem"] else Exit.COMPLETE


# status, report, verify


@private_files()
def _report(options: argparse.Namespace) -> int:
    from ora2sf.evidence import HTML
    from ora2sf.slice_report import rebuild
    from ora2sf.standing import slices

    codes: list[Exit] = []
    for folder in slices(cli_campaign.folder_of(options.folder)).values():
        try:
            made = rebuild(folder).verdict
        except Ora2sfError as error:  # the others have a report all the same
            print(_clean(str(error)), file=sys.stderr)
            codes.append(error.exit)
        else:
            print(f"{folder / HTML}  {made.verdict}")
            codes.append(Exit(made.exit))
    return worst(codes)


def _verify(options: argparse.Namespace) -> int:
    from ora2sf.evidence import verify
    from ora2sf.standing import slices

    found = {name: verify(folder) for name, folder in slices(cli_campaign.folder_of(options.folder)).items()}
    kinds = ("missing", "changed", "extra")
    lines = [
        (
            name,
            f"{one.files:,}",
            f"{one.removed:,}",
            *(str(sum(p == kind for p in one.problems.values())) for kind in kinds),
        )
        for name, one in found.items()
    ]
    _print_columns([("slice", "files", "removed", *kinds), *lines])
    for name, one in found.items():
        for path, problem in one.problems.items():
            print(f"{problem:<8} {name}/{path}")
    bad = sum(bool(one.problems) for one in found.values())
    if gone := sum(bool(one.removed) for one in found.values()):
        print(f"Staged data of {_number(gone, 'slice')} was removed after the verdict (ora2sf cleanup).")
    print(
        f"{_number(bad, 'slice')} of {len(found)} differ from their reports."
        if bad
        else "Nothing has changed."
    )
    return Exit.FAILED if bad else Exit.COMPLETE


@private_files()
def _cleanup(options: argparse.Namespace) -> int:
    from ora2sf.cleanup import clean_run

    found = clean_run(
        cli_campaign.folder_of(options.folder),
        options.tables,
        also_unproven=options.also_unproven,
        remove=options.yes,
    )
    lines = []
    for one in found:
        said = one.refusal or (
            "removed" if one.removed else "would go" if one.files else "nothing is left to remove"
        )
        if one.waiting and not one.refusal:
            said += f"; its keys stay for {', '.join(one.waiting[:3])}{' and others' if len(one.waiting) > 3 else ''}"
        size = "" if one.refusal else f"{one.bytes / 1e6:,.1f}"
        lines.append((one.slice, one.verdict, "" if one.refusal else f"{len(one.files):,}", size, said))
    _print_columns([("slice", "verdict", "files", "MB", ""), *lines])
    if not options.yes and any(one.files and not one.refusal for one in found):
        print("Nothing was removed: add --yes.")
    return Exit.FAILED if any(one.refusal for one in found) else Exit.COMPLETE


# tables check, list, show


def _folder(options: argparse.Namespace) -> Path:
    from ora2sf.connections import project_root

    given: Path | None = options.tables
    return given if given is not None else project_root() / "tables"


def _check(options: argparse.Namespace) -> int:
    from ora2sf.catalog import read_catalog

    folder = _folder(options)
    catalog = read_catalog(folder)
    names = list(dict.fromkeys(options.names)) or sorted({*catalog.tables, *catalog.broken})
    for name in names:
        _known(name, catalog, folder)
    found = [finding for finding in catalog.findings() if finding.table in names]
    bad = {finding.table for finding in found if finding.kind == "problem"}
    _print_columns(_good_line(config) for config in catalog.in_order() if config.table in {*names} - bad)
    for finding in found:
        print(f"{finding.kind}  {finding.table}: {finding.text}")
    warnings = sum(finding.kind == "warning" for finding in found)
    print(_summary(len(names), len(bad), warnings))
    return Exit.CONFIGURATION if bad else Exit.COMPLETE


def _known(name: str, catalog: Catalog, folder: Path) -> None:
    """Raises what the notebooks would say of a table that there is not."""
    from ora2sf.tables import TableConfig

    if name not in catalog.tables and name not in catalog.broken:
        TableConfig.load(name, folder)
        raise TableFileError(f"{name!r} is not the name of a table file.", "Use its name without .toml.")


def _good_line(config: TableConfig) -> tuple[str, ...]:
    parent = config.parent_field
    return (
        "good",
        config.table,
        config.object,
        _number(len(config.fields), "field"),
        f"phase {config.phase}",
        f"parent {parent.field} → {parent.object}" if parent else "no parent",
    )


def _summary(tables: int, bad: int, warnings: int) -> str:
    verdict = f"{bad} of them with problems" if bad else "nothing is wrong"
    tail = f"; {_number(warnings, 'warning')}" if warnings else ""
    return f"{_number(tables, 'table file')} checked, {verdict}{tail}."


def _list(options: argparse.Namespace) -> int:
    from ora2sf.catalog import read_catalog

    catalog = read_catalog(_folder(options))
    _print_columns(
        (
            f"phase {config.phase}",
            config.table,
            config.object,
            _number(len(config.fields), "field"),
            f"after {', '.join(config.depends_on)}" if config.depends_on else "",
        )
        for config in catalog.in_order()
    )
    if catalog.broken:
        raise TableFileError(
            f"Left out, because they are not valid: {', '.join(sorted(catalog.broken))}.",
            "`ora2sf tables check` says what is wrong.",
        )
    return 0


def _show(options: argparse.Namespace) -> int:
    from ora2sf.tables import TABLE_NAME, TableConfig

    if not TABLE_NAME.fullmatch(options.name):
        raise TableFileError(
            f"{options.name!r} is not the name of a table file.", "Use its name without .toml."
        )
    config = TableConfig.load(options.name, _folder(options))
    print(_as_json(config) if options.json else "\n".join(_shown(config)))
    return 0


def _as_json(config: TableConfig) -> str:
    import json

    shown = config.model_dump(mode="json")
    for entry, field in zip(shown["fields"], config.fields, strict=True):
        entry["header"] = field.header
    return json.dumps(shown | {"select": config.select()}, indent=2, ensure_ascii=False)


def _shown(config: TableConfig) -> Iterator[str]:
    yield f"{config.table} → {config.object}, {config.operation} by {config.external_id_field}"
    if config.description:
        yield from textwrap.wrap(config.description, WIDTH)
    yield ""
    yield from _grid(list(_settings(config)), WIDTH)
    yield ""
    yield "SELECT"
    for line in config.select().strip().splitlines():
        yield from _wrapped_sql(line)
    yield ""
    rows = [(" + ".join(field.source) or "-", *_field_row(field)) for field in config.fields]
    yield from _grid([("column", "field", "type", "policy"), *rows], WIDTH)


def _wrapped_sql(line: str) -> list[str]:
    """A line of SQL, broken at blanks; one with a comment is not: its rest would be no comment any more."""
    if "--" in line:
        return [f"  {line}"]
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _settings(config: TableConfig) -> Iterator[tuple[str, str]]:
    yield "source", config.source.table or "a SELECT"
    yield "order", ", ".join(config.source.order_by) or "none"
    yield "phase", str(config.phase)
    yield "depends on", ", ".join(config.depends_on) or "none"
    yield "parent", config.parent or "none"
    yield "duplicates", config.duplicates
    yield "time zone", config.source_time_zone
    if window := config.window:
        kept = f" as {', '.join((window.format, *window.also))}" if window.format else ""
        yield "window", f"{window.column}, {window.type}{kept}"
    if config.changed_column:
        yield "changed", f"{config.changed_column}, for a campaign of what changed since another"
    yield "batch", f"{config.batch_size:,} rows, {config.job_timeout:,} s for its job"
    if config.max_rejected is not None or config.max_rejected_share is not None:
        number, share = config.max_rejected, config.max_rejected_share
        limits = (
            f"{number:,} rows" if number is not None else "",
            f"{share:.2%} of the rows" if share is not None else "",
        )
        yield "rejected", f"at most {' or '.join(filter(None, limits))}"
    if config.shared_target:
        yield "target", "others write to it, too"
    if config.status:
        yield "status", f"{config.status.object}.{config.status.status_field}"


def _field_row(field: AnyField) -> tuple[str, str, str]:
    """Field, type and policy; a key or a constant has no policy of its own."""
    entries = field.model_dump(mode="json")
    if field.type == "lookup":
        kind = f"lookup of {field.object}"
    elif field.type == "constant":
        kind = f"constant {field.value!r}"
    else:
        kind = f"{field.type}{_size(entries)}"
    policy = [f"misfit: {field.on_misfit}{_default(entries)}"] if "on_misfit" in entries else []
    policy += [f"empty: {entries['null']}"] if entries.get("null", "leave") != "leave" else []
    policy += [word for word in ("required", "assumed") if entries.get(word)]
    policy += [f"formats {', '.join(entries['formats'])}"] if entries.get("formats") else []
    policy += [f"{len(entries['values'])} values mapped"] if entries.get("values") else []
    policy += [f"width {entries['width']}"] if entries.get("width") else []
    policy += [f"rounding {entries['rounding']}"] if entries.get("rounding") else []
    return field.header, kind, "; ".join(policy) or "-"


def _size(entries: dict[str, Any]) -> str:
    if "precision" in entries:
        return f"({entries['precision']},{entries['scale']})"
    size = entries.get("length") or entries.get("digits")
    return f"({size})" if size else ""


def _default(entries: dict[str, Any]) -> str:
    return f" {entries['default']!r}" if entries.get("default") is not None else ""


# tables reference, import-sdl, new


def _reference(options: argparse.Namespace) -> int:
    from ora2sf.reference import reference, write_reference

    if options.write is None:
        print(reference())
    else:
        write_reference(options.write)
    return Exit.COMPLETE


def _import_sdl(options: argparse.Namespace) -> int:
    from ora2sf.draft import Wanted, draft
    from ora2sf.drafting import Describe
    from ora2sf.sdl import read_mapping

    output: Path | None = options.output
    wanted = Wanted(
        _table_name(output, options), options.object, options.external_id, options.source, tuple(options.key)
    )
    _check_wanted(wanted)
    mapping = read_mapping(options.file)
    describe = Describe.saved(options.describe, options.object) if options.describe else None
    return _handed_over(draft(mapping, wanted, describe), output)


def _handed_over(made: Draft, output: Path | None) -> int:
    if output is None:
        print(made.text, end="")
        return 0
    _write_new(output, made.text)
    left = f'{_number(made.decisions, "thing")} to decide, each marked "decide:"'
    print(f"{output} written: {_number(made.fields, 'field')}, {left}.")
    print(f"Then: ora2sf tables check {output.stem}")
    return 0


def _new(options: argparse.Namespace) -> int:
    from ora2sf.draft_new import Wished
    from ora2sf.drafted import drafted

    output: Path | None = options.output
    wished = Wished(_table_name(output, options), options.external_id, tuple(options.key), options.time_zone)
    made = drafted(
        options.source,
        options.object,
        wished,
        _folder(options),
        _conn_ids(options),
        sample=not options.no_sample,
    )
    return _handed_over(made, output)


def _table_name(output: Path | None, options: argparse.Namespace) -> str:
    import re

    from ora2sf.tables import TABLE_NAME

    if output is None:
        return re.sub(r"\W", "_", (options.source.rpartition(".")[2].strip('"') or options.object).lower())[
            :80
        ]
    if output.suffix != ".toml" or not TABLE_NAME.fullmatch(output.stem):
        raise TableFileError(
            f"{output} cannot be a table file.",
            "Its name is the table's: a letter, then letters, digits and _, then .toml.",
        )
    return output.stem


def _check_wanted(wanted: Wanted) -> None:
    import re

    name = r"[A-Za-z][A-Za-z0-9_]*"
    oracle = r"[A-Za-z][A-Za-z0-9_$#]*"
    rules = [
        ("--object", wanted.object, name, "an API name"),
        ("--external-id", wanted.external_id, name, "an API name"),
        ("--source", wanted.source, rf"|({oracle}\.)?{oracle}", "OWNER.TABLE"),
        *(("--key", column, oracle, "the name of a column") for column in wanted.key),
    ]
    for option, value, form, meant in rules:
        if not re.fullmatch(form, value):
            raise TableFileError(f"{option} {value!r} is not {meant}.", "Correct it.")


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise TableFileError(
            f"{path} exists, and is not overwritten.", "Give another name, or remove it first."
        ) from None
    except OSError as error:
        raise TableFileError(
            f"{path} cannot be written: {error.strerror}.", "Check that its folder exists and its rights."
        ) from None
