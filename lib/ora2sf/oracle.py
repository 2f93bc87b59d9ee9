"""The only user of ``oracledb``: connect, describe, count, and Arrow batches with an explicit schema.

The driver turns NUMBER into a float unless it is told otherwise; here every NUMBER is asked for as an
Arrow decimal, and the driver raises an error when a value has more decimals instead of rounding it
(https://python-oracledb.readthedocs.io/en/latest/user_guide/dataframes.html). It does not notice when the
digits before the point overflow the decimal: such columns are read wider than they are handed on.
"""

from __future__ import annotations

import datetime as dt
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import oracledb
import pyarrow as pa

from ora2sf.connections import Connection
from ora2sf.deadline import NoAnswerInTime, within
from ora2sf.errors import (
    AuthenticationError,
    ConnectionFieldError,
    Ora2sfError,
    PastError,
    SourceError,
    SourceUnavailable,
)

#: Rows that the driver asks for in one round trip.
FETCH_ROWS = 20_000
#: The same where a column may hold texts of any length.
FETCH_ROWS_OF_LOBS = 500
_CONNECT_TIMEOUT = 20.0
#: Seconds for the whole sign-in; the driver itself waits for ever for one who takes the connection and says nothing.
_SIGN_IN_TIMEOUT = 120.0
#: Bytes of a packet to ask for, the most that every release knows; the server takes less if its own setting is less
#: (Oracle Net Services Administrator's Guide: Configuring Session Data Unit).
_SDU = 65_535
_NOTHING: Mapping[str, Any] = {}
_PADDED = {"DB_TYPE_CHAR", "DB_TYPE_NCHAR"}
_TEXT = _PADDED | {"DB_TYPE_VARCHAR", "DB_TYPE_NVARCHAR"}
_LOBS = {"DB_TYPE_CLOB": "CLOB", "DB_TYPE_NCLOB": "NCLOB"}


@dataclass(frozen=True)
class SourceColumn:
    """One column of the source's result, as Oracle describes it.

    Attributes:
        kind: name of the type, such as ``NUMBER(16,2)`` or ``CHAR(10)``.
        padded: Oracle fills it up with blanks.
        scale: decimals of a NUMBER that declares them; None for every other column.
        arrow: the Arrow type to ask for; for a NUMBER without a declared scale it is settled by
            :meth:`arrow_type`.
    """

    name: str
    kind: str
    padded: bool
    is_number: bool
    scale: int | None
    arrow: pa.DataType | None

    def arrow_type(self, source_scale: int) -> pa.DataType:
        """The Arrow type to ask for; ``source_scale`` serves a NUMBER that declares no scale."""
        if self.is_number:
            return pa.decimal128(38, source_scale if self.scale is None else max(self.scale, 0))
        if self.arrow is None:
            raise SourceError(
                f"Column {self.name} has the type {self.kind}, which cannot be read yet.",
                "Leave it out of the table file, or convert it in source.sql.",
            )
        return self.arrow


class Address(NamedTuple):
    """One address that a connection may use; ``tls`` if what travels is encrypted by TLS."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True)
class SourceInfo:
    """Who is signed in to what."""

    user: str
    service: str
    version: str


class OracleSource:
    """A session with the source database; use it with ``with``.

    Raises:
        AuthenticationError: wrong user or password.
        ConnectionFieldError: a field is missing, or the service does not exist.
        SourceUnavailable: nothing answers at that address.
    """

    def __init__(self, connection: Connection) -> None:
        self._name = connection.conn_id
        self._where = _dsn(connection)
        login = {
            "user": connection.need("login", "the user name"),
            "password": connection.need("password", "the password"),
        }
        security = _security(connection)
        given: dict[str, Any] = {
            "dsn": self._where,
            "tcp_connect_timeout": _CONNECT_TIMEOUT,
            "sdu": _SDU,
            **login,
            **security,
        }
        try:
            with self._translated("sign in"):
                _choose_mode(connection)
                self._db = within(_SIGN_IN_TIMEOUT, lambda: oracledb.connect(**given))
        except NoAnswerInTime:
            raise SourceUnavailable(
                f"Oracle ({self._name}, {self._where}) took the connection and did not answer the sign-in in {_SIGN_IN_TIMEOUT:g} seconds.",
                "Check that host and port are those of a listener, that the database is not overloaded, and firewalls between.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session; a lost one is no error."""
        try:
            self._db.close()
        except oracledb.Error:
            return

    def info(self) -> SourceInfo:
        """User, service and version of the session."""
        return SourceInfo(user=self._db.username, service=self._where, version=self._db.version)

    def freeze(self) -> None:
        """From here on every query of this session sees the data of one moment.

        A read-only transaction needs no privilege (Oracle SQL Language Reference: SET TRANSACTION).
        """
        with self._translated("open a read-only transaction"), self._db.cursor() as cursor:
            self._db.rollback()
            cursor.execute("SET TRANSACTION READ ONLY")

    def current_scn(self) -> int:
        """The database's system change number now.

        Raises:
            SourceError: this user may ask for it in neither way.
        """
        try:
            return self.count("SELECT CURRENT_SCN FROM V$DATABASE")
        except SourceError as first:
            try:
                return self.count("SELECT DBMS_FLASHBACK.GET_SYSTEM_CHANGE_NUMBER FROM DUAL")
            except SourceError as second:
                raise SourceError(
                    f"This user cannot ask for the system change number: {first.what} {second.what}",
                    "GRANT SELECT ON V_$DATABASE, or EXECUTE ON DBMS_FLASHBACK, to it.",
                ) from None

    def local_time(self) -> dt.datetime:
        """The source's own clock, without a zone: what its columns of changes are written with."""
        ((now,),) = self.rows("SELECT SYSDATE FROM DUAL")
        assert isinstance(now, dt.datetime)  # a DATE
        return now

    def rows(self, sql: str, binds: Mapping[str, Any] = _NOTHING) -> list[tuple[Any, ...]]:
        """The few rows of a small SELECT."""
        with self._translated("query the source"), self._db.cursor() as cursor:
            return list(cursor.execute(sql, dict(binds)).fetchall())

    def describe(self, sql: str) -> dict[str, SourceColumn]:
        """Column name → column, for a SELECT that is described and not run.

        Raises:
            SourceError: the statement names something that does not exist.
        """
        with self._translated("describe the source"), self._db.cursor() as cursor:
            cursor.parse(sql)
            return {info.name: _column(info) for info in cursor.description}

    def count(self, sql: str, binds: Mapping[str, Any] = _NOTHING) -> int:
        """The number that a ``SELECT COUNT(*)`` returns."""
        with self._translated("count the source"), self._db.cursor() as cursor:
            (number,) = cursor.execute(sql, dict(binds)).fetchone()
            return int(number)

    def batches(
        self, sql: str, schema: pa.Schema, size: int = FETCH_ROWS, *, binds: Mapping[str, Any] = _NOTHING
    ) -> Iterator[pa.Table]:
        """The rows of a SELECT in Arrow tables of at most ``size`` rows, exactly typed as ``schema`` says.

        With CLOB columns the tables are smaller, so that memory stays bounded.

        Raises:
            SourceError: a number has more digits than its Arrow type holds; nothing is rounded.
        """
        columns = self.describe(sql)
        wide = _wide(schema, columns)
        if any(column.kind in _LOBS.values() for column in columns.values()):
            size = min(size, FETCH_ROWS_OF_LOBS)
        frames = self._db.fetch_df_batches(sql, dict(binds), size=size, requested_schema=wide)
        while True:
            with self._translated("read the source"):
                frame = next(frames, None)
            if frame is None:
                return
            if frame.num_rows():
                # not pa.table(), which imports pandas to see whether it was given a data frame of its own kind
                yield _narrow(pa.RecordBatchReader.from_stream(frame).read_all(), schema)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turns the driver's errors into this project's, so that the text names a next step."""
        try:
            yield
        except oracledb.Error as error:
            raise _explain(error, doing, self._name, self._where) from None
        except UnicodeDecodeError as error:  # half of a character beyond U+FFFF, in NVARCHAR2 or NCLOB
            raise SourceError(
                f"Oracle ({self._name}, {self._where}) could not {doing}: a text is not valid Unicode ({error.reason}).",
                "Find it with ASCIISTR(column) LIKE '%\\D8%' (to \\DF) and correct it, or leave the column out.",
            ) from None
        except OSError as error:  # the driver lets a host name that nobody knows through as it is
            raise SourceUnavailable(
                f"Oracle ({self._name}, {self._where}) could not {doing}: {error.strerror or error}.",
                "Check host and port of the connection; if they are right, the network or its name service.",
            ) from None


def _wide(schema: pa.Schema, columns: dict[str, SourceColumn]) -> pa.Schema:
    """The schema to ask for: a NUMBER of no declared size gets room for every digit that Oracle can send.

    python-oracledb 26.1 pads a number to the scale without looking for an overflow: 17014118346046923173168730372
    asked for as decimal128(38,10) comes as a negative number. It does refuse more digits than the precision,
    and 76 - scale of them always fit into 256 bits.
    """
    for position, field in enumerate(schema):
        column = columns.get(field.name)
        declared = column is not None and column.scale is not None
        if pa.types.is_decimal(field.type) and not declared:
            scale = field.type.scale
            schema = schema.set(position, field.with_type(pa.decimal256(76 - scale, scale)))
    return schema


def _narrow(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for position, field in enumerate(schema):
        if table.field(position).type != field.type:
            try:
                column = table.column(position).cast(field.type)
            except pa.ArrowInvalid:
                raise SourceError(
                    f"Column {field.name} holds a number that does not fit {field.type}: nothing is rounded or cut.",
                    _SCALE_ADVICE,
                ) from None
            table = table.set_column(position, field, column)
    return table


def addresses(connection: Connection) -> list[Address]:
    """Where a connection goes, as the driver reads its dsn.

    Raises:
        ConnectionFieldError: the address is missing or cannot be read.
    """
    dsn = _dsn(connection)
    folder = connection.path("config_dir", folder=True)
    try:
        params = oracledb.ConnectParams(**({"config_dir": str(folder)} if folder else {}))
        params.parse_connect_string(dsn)
    except oracledb.Error as error:
        raise _explain(error, "be found", connection.conn_id, dsn) from None
    hosts, ports, kinds = map(_listed, (params.host, params.port, params.protocol))
    return [
        Address(str(host), int(port), str(kind).lower() == "tcps")
        for host, port, kind in zip(hosts, ports, kinds, strict=True)
    ]


def trusted(connection: Connection) -> ssl.SSLContext:
    """The authorities that a connection by TLS trusts; the driver compares the server's name itself, so this does not.

    Raises:
        ConnectionFieldError: a file that the connection names is not there, or holds no certificate.
    """
    authorities = connection.path("ca_file")
    context = _trusting(str(authorities), connection) if authorities else ssl.create_default_context()
    context.check_hostname = False
    wallet = connection.path("wallet_location", folder=True)
    if wallet and (wallet / "ewallet.pem").is_file():
        try:
            context.load_verify_locations(wallet / "ewallet.pem")
        except ssl.SSLError:
            raise ConnectionFieldError(
                f"{wallet / 'ewallet.pem'} holds no certificate in PEM form.",
                _TLS["no certificate or crl found"],
            ) from None
    return context


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _dsn(connection: Connection) -> str:
    """``host:port/service``, with ``tcps://`` before it for TLS; a complete ``dsn`` in extra wins."""
    if dsn := connection.text("dsn"):
        return dsn
    host = connection.need("host", "the host of the database")
    service = connection.text("service_name") or connection.schema_.strip()
    sid = connection.text("sid")
    if not service and not sid:
        raise ConnectionFieldError(
            f"Connection '{connection.conn_id}' names no service.",
            'Set schema, or extra {"service_name": "…"}, to the service name of the database.',
        )
    protocol = (connection.text("protocol") or "tcp").casefold()
    if protocol not in {"tcp", "tcps"}:
        raise ConnectionFieldError(
            f"extra protocol of connection '{connection.conn_id}' is {protocol!r}.", "Write tcp or tcps."
        )
    port = connection.port or (2484 if protocol == "tcps" else 1521)
    if not service:
        address = f"(ADDRESS=(PROTOCOL={protocol})(HOST={host})(PORT={port}))"
        return f"(DESCRIPTION={address}(CONNECT_DATA=(SID={sid})))"
    return f"{'tcps://' if protocol == 'tcps' else ''}{host}:{port}/{service}"


def _security(connection: Connection) -> dict[str, Any]:
    """What the extras say of tnsnames.ora, TLS and a proxy, as arguments of ``oracledb.connect``."""
    found: dict[str, Any] = {
        name: connection.text(name)
        for name in ("wallet_password", "ssl_server_cert_dn", "https_proxy")
        if connection.text(name)
    }
    for name in ("config_dir", "wallet_location"):
        if folder := connection.path(name, folder=True):
            found[name] = str(folder)
    if connection.text("https_proxy_port"):
        found["https_proxy_port"] = _port(connection)
    if not connection.switch("ssl_server_dn_match", default=True):
        found["ssl_server_dn_match"] = False
    if authorities := connection.path("ca_file"):
        found["ssl_context"] = _trusting(str(authorities), connection)
    return found


def _port(connection: Connection) -> int:
    text = connection.text("https_proxy_port")
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ConnectionFieldError(
            f"extra https_proxy_port of connection '{connection.conn_id}' is no port.", "Write a number."
        )
    return int(text)


def _trusting(authorities: str, connection: Connection) -> ssl.SSLContext:
    if connection.switch("thick_mode"):
        raise ConnectionFieldError(
            f"Connection '{connection.conn_id}' asks for thick_mode and ca_file, which only the Thin mode reads.",
            "Put the authority into the wallet that sqlnet.ora in thick_mode_config_dir names, and leave ca_file out.",
        )
    try:
        return ssl.create_default_context(cafile=authorities)
    except ssl.SSLError:
        raise ConnectionFieldError(
            f"extra ca_file of connection '{connection.conn_id}' holds no certificate in PEM form: {authorities}.",
            "Give a file that begins with -----BEGIN CERTIFICATE-----.",
        ) from None


def _choose_mode(connection: Connection) -> None:
    """Loads Oracle's client libraries where the connection asks for the Thick mode; it holds for the whole process
    (https://python-oracledb.readthedocs.io/en/latest/user_guide/initialization.html).
    """
    if not connection.switch("thick_mode"):
        return
    names = {"lib_dir": "thick_mode_lib_dir", "config_dir": "thick_mode_config_dir"}
    folders = {argument: connection.path(name, folder=True) for argument, name in names.items()}
    oracledb.init_oracle_client(**{name: str(folder) for name, folder in folders.items() if folder})


def _column(info: Any) -> SourceColumn:
    kind = info.type_code.name
    if kind == "DB_TYPE_NUMBER":
        declared = bool(info.precision) and info.scale is not None and info.scale != -127
        scale = int(info.scale) if declared else None
        shown = f"NUMBER({info.precision},{info.scale})" if declared else "NUMBER"
        return SourceColumn(info.name, shown, padded=False, is_number=True, scale=scale, arrow=None)
    if kind in _TEXT:
        shown = f"{kind.removeprefix('DB_TYPE_').replace('VARCHAR', 'VARCHAR2')}({info.display_size})"
        return SourceColumn(
            info.name, shown, kind in _PADDED, is_number=False, scale=None, arrow=pa.large_string()
        )
    if kind in _LOBS:
        return SourceColumn(
            info.name, _LOBS[kind], padded=False, is_number=False, scale=None, arrow=pa.large_string()
        )
    if kind == "DB_TYPE_DATE":
        return SourceColumn(
            info.name, "DATE", padded=False, is_number=False, scale=None, arrow=pa.timestamp("s")
        )
    if kind == "DB_TYPE_TIMESTAMP":
        shown = f"TIMESTAMP({info.scale})"
        return SourceColumn(
            info.name, shown, padded=False, is_number=False, scale=None, arrow=pa.timestamp("us")
        )
    return SourceColumn(
        info.name, kind.removeprefix("DB_TYPE_"), padded=False, is_number=False, scale=None, arrow=None
    )


_SCALE_ADVICE = (
    "Raise source_scale of that column's field in the table file (or lower it for longer whole numbers)."
)
_UP_ADVICE = "Check that the database is up and the address right, then run again with the same run_id."
_PAST_ADVICE = (
    "The table cannot be read as of that moment any more: plan the campaign anew, or read it as it is now."
)
#: Oracle's number → what it means and what to do (Oracle Database Error Messages).
_ADVICE: dict[int, tuple[type[Ora2sfError], str]] = {
    942: (
        SourceError,
        "Check the table's name and owner in the table file, and that this user may SELECT from it.",
    ),
    904: (SourceError, "Check the column's name in the table file against the table in Oracle."),
    1017: (AuthenticationError, "Correct login and password of the connection; no retry helps."),
    28000: (AuthenticationError, "Ask the database administrator to unlock the account."),
    28001: (AuthenticationError, "Change the expired password, then update the connection."),
    12514: (
        ConnectionFieldError,
        "Correct the service name (schema, or service_name in extra) of the connection.",
    ),
    12505: (ConnectionFieldError, "Correct the SID in the connection's extra."),
    1031: (
        PastError,
        "This user lacks a privilege; to read tables of others AS OF a moment it is FLASHBACK on each of them.",
    ),
    1466: (PastError, _PAST_ADVICE),
    8180: (PastError, _PAST_ADVICE),
    8181: (PastError, _PAST_ADVICE),
    1555: (
        PastError,
        "The undo of the database is too short for this read: run again, or ask for more undo.",
    ),
    1013: (SourceUnavailable, "The call was cancelled; run again with the same run_id."),
}
#: Too many sessions or processes; starting, closing or not open; the connection is lost.
_DOWN = {18, 20, 1033, 1034, 1089, 1090, 3113, 3114, 3135, 12516, 12519, 12520, 12528}
#: The driver's numbers for "nobody answers" and "the connection is lost".
_UNAVAILABLE = {"DPY-6005", "DPY-6000", "DPY-4011", "DPY-1001", "DPY-4024"}
_THICK = (
    "Only the driver's Thick mode can do this: set extra thick_mode = true and thick_mode_lib_dir to the folder of "
    "Oracle Instant Client (docs/connections.md)."
)
#: The driver's numbers for a connection that cannot be right.
_ADDRESS = {
    "DPY-6001": _ADVICE[12514][1],
    "DPY-6003": _ADVICE[12505][1],
    "DPY-4017": "Correct dsn in the connection's extra.",
    "DPY-4027": "Correct dsn in the connection's extra: host:port/service, or a whole descriptor.",
    "DPY-4000": "Correct dsn in the connection's extra: host:port/service, a whole descriptor, or a name in tnsnames.ora of config_dir.",
    "DPY-4026": "Correct config_dir in the connection's extra: tnsnames.ora belongs there.",
    "DPY-2018": "Put ewallet.pem into the folder that extra wallet_location names (docs/connections.md).",
    "DPY-6006": "The certificate is for another name: use that one as host, or name it in extra ssl_server_cert_dn.",
    "DPY-3001": _THICK,
    "DPY-3010": _THICK,
    "DPY-3015": _THICK,
    "DPI-1047": "Install Oracle Instant Client on this machine, and name its folder in extra thick_mode_lib_dir.",
    "DPY-2019": "Thick mode holds for a whole process: use it for every connection of it, and start a new process.",
}


#: What OpenSSL says of a handshake → what to do.
_TLS = {
    "certificate verify failed": "Give the authority that signed the certificate as extra ca_file, or as ewallet.pem in wallet_location.",
    "no certificate or crl found": "ewallet.pem in wallet_location holds no certificate in PEM form: export the wallet anew.",
    "bad decrypt": "Correct wallet_password.",
    "WRONG_VERSION_NUMBER": "The port does not speak TLS: leave protocol = tcps out, or use the port that does (usually 2484).",
}


def _explain(error: oracledb.Error, doing: str, name: str, where: str) -> Ora2sfError:
    detail = error.args[0] if error.args else None
    text, full = _cause(str(getattr(detail, "message", error)))
    code = int(getattr(detail, "code", 0) or 0)
    what = f"Oracle ({name}, {where}) could not {doing}: {text}"
    if code in _ADVICE:
        kind, step = _ADVICE[code]
        return kind(what, step)
    if full in _ADDRESS:
        return ConnectionFieldError(what, _ADDRESS[full])
    if advice := next((said for part, said in _TLS.items() if part in text), ""):
        return ConnectionFieldError(what, advice)
    if full in _UNAVAILABLE or code in _DOWN:
        return SourceUnavailable(what, _UP_ADVICE)
    if full == "DPY-4042":
        return SourceError(what, _SCALE_ADVICE)
    return SourceError(
        what, "Look the ORA or DPY number up in Oracle's documentation, correct, and run again."
    )


def _cause(message: str) -> tuple[str, str]:
    """The line that says why, and its number: DPY-6005 is only the wrapping of the reason below it."""
    lines = [line.strip() for line in message.strip().splitlines()] or [""]
    first = lines[0]
    if first.startswith("DPY-6005") and len(lines) > 1:
        first = f"{first} {lines[1]}" if not lines[1].startswith("DPY-") else lines[1]
    found = re.match(r"(DPY|ORA|DPI)-\d+", first)
    return first, found[0] if found else ""
