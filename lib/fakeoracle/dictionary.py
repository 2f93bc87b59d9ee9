"""The dictionary views, as Database Reference describes them: only columns whose value is known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .profiles import Profile
from .types import DATE, NUMBER, OracleType, text_type

Columns = tuple[tuple[str, OracleType, str], ...]
_NAME, _LONG_TEXT = text_type(128), text_type(4000)


@dataclass(frozen=True)
class View:
    """A dictionary view: its columns with the DuckDB expression of each, and what it selects from."""

    columns: Columns
    source: str


def literal(text: str) -> str:
    """Return a DuckDB string literal."""
    return "'" + text.replace("'", "''") + "'"


def view(name: str, schema: str, users: list[str], service: str, profile: Profile) -> View | None:
    """Return a dictionary view (or DUAL) by name, as the owner of `schema` sees it."""
    if name == "DUAL":
        return View((("DUMMY", text_type(1), "'X'"),), "(SELECT 1)")
    if name in _FIXED:
        return _FIXED[name]
    if name in ("ALL_USERS", "USER_USERS", "DBA_USERS"):
        return _users(name, schema, users)
    if name in _OF_RELEASE:
        return _OF_RELEASE[name](profile)
    if name == "V$PARAMETER":
        parameters = (*_PARAMETERS, ("service_names", service), ("db_name", service))
        return _rows((("NAME", text_type(80)), ("VALUE", _LONG_TEXT)), list(parameters))
    prefix, _, rest = name.partition("_")
    if prefix not in ("ALL", "USER", "DBA") or rest not in _OF_TABLES:
        return None
    columns, source = _OF_TABLES[rest]
    if prefix == "USER":
        kept = tuple(column for column in columns if column[0] != "OWNER")
        return View(kept, f"(SELECT * FROM {source} WHERE owner = {literal(schema)})")
    return View(columns, source)


def _rows(columns: tuple[tuple[str, OracleType], ...], rows: Sequence[tuple[str, ...]]) -> View:
    """Return a view of rows that are written here."""
    values = ", ".join("(" + ", ".join(literal(value) for value in row) + ")" for row in rows)
    names = [f"x{number}" for number in range(len(columns))]
    listed = tuple((name, kind, place) for (name, kind), place in zip(columns, names, strict=True))
    return View(listed, f"(SELECT * FROM (VALUES {values}) AS x({', '.join(names)}))")


def _users(name: str, schema: str, users: list[str]) -> View:
    rows = [(user, str(100 + number)) for number, user in enumerate(users)]
    if name == "USER_USERS":
        rows = [row for row in rows if row[0] == schema]
    return _rows((("USERNAME", _NAME), ("USER_ID", NUMBER)), rows)


_PARAMETERS = (
    ("compatible", "19.0.0"), ("instance_name", "fakeoracle"), ("nls_language", "AMERICAN"), ("nls_territory", "AMERICA"),
    ("nls_length_semantics", "BYTE"), ("open_cursors", "300"), ("db_block_size", "8192"), ("max_string_size", "STANDARD"),
)  # fmt: skip
_NLS = (
    ("NLS_LANGUAGE", "AMERICAN"), ("NLS_TERRITORY", "AMERICA"), ("NLS_CURRENCY", "$"), ("NLS_ISO_CURRENCY", "AMERICA"),
    ("NLS_NUMERIC_CHARACTERS", ".,"), ("NLS_CALENDAR", "GREGORIAN"), ("NLS_DATE_LANGUAGE", "AMERICAN"),
    ("NLS_SORT", "BINARY"), ("NLS_COMP", "BINARY"), ("NLS_LENGTH_SEMANTICS", "BYTE"), ("NLS_NCHAR_CONV_EXCP", "FALSE"),
)  # fmt: skip
_CHARACTER_SETS = (("NLS_CHARACTERSET", "AL32UTF8"), ("NLS_NCHAR_CHARACTERSET", "AL16UTF16"))
_PAIR = (("PARAMETER", _NAME), ("VALUE", text_type(64)))
_PROPERTIES = (
    *_NLS, *_CHARACTER_SETS, ("DBTIMEZONE", "00:00"), ("GLOBAL_DB_NAME", "FAKEORACLE"),
    ("DEFAULT_EDITION", "ORA$BASE"), ("MAX_STRING_SIZE", "STANDARD"),
)  # fmt: skip
_PRIVILEGES = ("CREATE SESSION", "CREATE TABLE", "UNLIMITED TABLESPACE")
_DATABASE = (
    ("NAME", text_type(9), "'FAKE'"),
    ("OPEN_MODE", text_type(20), "'READ WRITE'"),
    ("DATABASE_ROLE", text_type(16), "'PRIMARY'"),
    ("CURRENT_SCN", NUMBER, "current_scn()"),
)
_FIXED = {
    "V$DATABASE": View(_DATABASE, "(SELECT 1)"),
    "NLS_SESSION_PARAMETERS": _rows(_PAIR, list(_NLS)),
    "NLS_INSTANCE_PARAMETERS": _rows(_PAIR, [*_NLS[:2], *_NLS[-3:]]),
    "SESSION_PRIVS": _rows((("PRIVILEGE", text_type(40)),), [(name,) for name in _PRIVILEGES]),
}


def _version(profile: Profile) -> View:
    return _rows((("BANNER", text_type(80)), ("CON_ID", NUMBER)), [(profile.banner, "0")])


def _product(profile: Profile) -> View:
    names = ("PRODUCT", "VERSION", "VERSION_FULL", "STATUS")
    values = (f"{profile.product} ", profile.release, profile.version_full, "Production")
    return _rows(tuple((name, text_type(80)) for name in names), [values])


def _instance(profile: Profile) -> View:
    return _rows((("INSTANCE_NUMBER", NUMBER), ("INSTANCE_NAME", text_type(16)), ("HOST_NAME", text_type(64)),
                  ("VERSION", text_type(17)), ("STATUS", text_type(12)), ("DATABASE_STATUS", text_type(17))),
                 [("1", "fakeoracle", "localhost", profile.release, "OPEN", "ACTIVE")])  # fmt: skip


def _database_parameters(profile: Profile) -> View:
    return _rows(_PAIR, [*_NLS, *_CHARACTER_SETS, ("NLS_RDBMS_VERSION", profile.release)])


def _database_properties(profile: Profile) -> View:
    rows = [*_PROPERTIES, ("NLS_RDBMS_VERSION", profile.release)]
    return _rows((("PROPERTY_NAME", _NAME), ("PROPERTY_VALUE", _LONG_TEXT)), rows)


_OF_RELEASE = {
    "V$VERSION": _version,
    "PRODUCT_COMPONENT_VERSION": _product,
    "V$INSTANCE": _instance,
    "NLS_DATABASE_PARAMETERS": _database_parameters,
    "DATABASE_PROPERTIES": _database_properties,
}

_TABLE_COLUMNS: Columns = (
    ("OWNER", _NAME, "owner"),
    ("TABLE_NAME", _NAME, "table_name"),
    ("STATUS", text_type(8), "'VALID'"),
    ("NUM_ROWS", NUMBER, "NULL"),
    ("TEMPORARY", text_type(1), "'N'"),
    ("PARTITIONED", text_type(3), "'NO'"),
    ("LAST_ANALYZED", DATE, "NULL"),
)
_COLUMN_COLUMNS: Columns = (
    ("OWNER", _NAME, "owner"),
    ("TABLE_NAME", _NAME, "table_name"),
    ("COLUMN_NAME", _NAME, "column_name"),
    ("DATA_TYPE", _NAME, "shown_type"),
    ("DATA_LENGTH", NUMBER, "data_length"),
    ("DATA_PRECISION", NUMBER, "data_precision"),
    ("DATA_SCALE", NUMBER, "data_scale"),
    ("NULLABLE", text_type(1), "CASE WHEN nullable THEN 'Y' ELSE 'N' END"),
    ("COLUMN_ID", NUMBER, "column_id"),
    ("DATA_DEFAULT", _LONG_TEXT, "data_default"),
    ("CHAR_LENGTH", NUMBER, "char_length"),
    ("CHAR_USED", text_type(1), "char_used"),
)
_HIDDEN_COLUMNS: Columns = (
    *_COLUMN_COLUMNS,
    ("HIDDEN_COLUMN", text_type(3), "'NO'"),
    ("VIRTUAL_COLUMN", text_type(3), "'NO'"),
    ("INTERNAL_COLUMN_ID", NUMBER, "column_id"),
)
# SEARCH_CONDITION is a LONG in Oracle; here it is the VARCHAR2 that SEARCH_CONDITION_VC is there as well
_CONSTRAINT_COLUMNS: Columns = (
    ("OWNER", _NAME, "owner"),
    ("CONSTRAINT_NAME", _NAME, "name"),
    ("CONSTRAINT_TYPE", text_type(1), "kind"),
    ("TABLE_NAME", _NAME, "table_name"),
    ("SEARCH_CONDITION", _LONG_TEXT, "condition"),
    ("SEARCH_CONDITION_VC", _LONG_TEXT, "condition"),
    ("R_OWNER", _NAME, "NULL"),
    ("R_CONSTRAINT_NAME", _NAME, "NULL"),
    ("DELETE_RULE", text_type(9), "NULL"),
    ("STATUS", text_type(8), "'ENABLED'"),
    ("DEFERRABLE", text_type(14), "'NOT DEFERRABLE'"),
    ("DEFERRED", text_type(9), "'IMMEDIATE'"),
    ("VALIDATED", text_type(13), "'VALIDATED'"),
    ("GENERATED", text_type(14), "CASE WHEN name LIKE 'SYS_C_%' THEN 'GENERATED NAME' ELSE 'USER NAME' END"),
    ("INDEX_OWNER", _NAME, "CASE WHEN kind IN ('P', 'U') THEN owner END"),
    ("INDEX_NAME", _NAME, "CASE WHEN kind IN ('P', 'U') THEN name END"),
)
_CONSTRAINTS = """(
    SELECT owner, table_name, constraint_name AS name, 'P' AS kind, primary_key AS column_names, NULL AS condition
        FROM fakeoracle.all_tables WHERE len(primary_key) > 0
    UNION ALL SELECT owner, table_name, 'SYS_C_' || table_name || '_' || column_name, 'C', [column_name],
        '"' || column_name || '" IS NOT NULL' FROM fakeoracle.all_tab_columns AS c WHERE NOT nullable
        AND NOT EXISTS (SELECT 1 FROM fakeoracle.all_tables AS t WHERE t.owner = c.owner
            AND t.table_name = c.table_name AND list_contains(t.primary_key, c.column_name))
    UNION ALL SELECT owner, table_name, name, kind, column_names, condition FROM fakeoracle.rules WHERE kind <> 'I')"""
_INDEXES = """(
    SELECT owner, index_name, table_name, column_names, 'NONUNIQUE' AS uniqueness FROM fakeoracle.all_indexes
    UNION ALL SELECT owner, name, table_name, column_names, 'UNIQUE' FROM fakeoracle.rules WHERE kind IN ('U', 'I')
    UNION ALL SELECT owner, constraint_name, table_name, primary_key, 'UNIQUE' FROM fakeoracle.all_tables
        WHERE len(primary_key) > 0)"""
_PLACES = (
    "SELECT *, unnest(column_names) AS column_name, unnest(range(1, len(column_names) + 1)) AS position FROM"
)
_OF_TABLES: dict[str, tuple[Columns, str]] = {
    "TABLES": (_TABLE_COLUMNS, "fakeoracle.all_tables"),
    "TAB_STATISTICS": (
        tuple(
            column
            for column in _TABLE_COLUMNS
            if column[0] in ("OWNER", "TABLE_NAME", "NUM_ROWS", "LAST_ANALYZED")
        ),
        "fakeoracle.all_tables",
    ),
    "TAB_COLUMNS": (_COLUMN_COLUMNS, "fakeoracle.all_tab_columns"),
    "TAB_COLS": (_HIDDEN_COLUMNS, "fakeoracle.all_tab_columns"),
    "CONSTRAINTS": (_CONSTRAINT_COLUMNS, _CONSTRAINTS),
    "CONS_COLUMNS": (
        (
            ("OWNER", _NAME, "owner"),
            ("CONSTRAINT_NAME", _NAME, "name"),
            ("TABLE_NAME", _NAME, "table_name"),
            ("COLUMN_NAME", _LONG_TEXT, "column_name"),
            ("POSITION", NUMBER, "CASE WHEN kind <> 'C' THEN position END"),
        ),
        f"({_PLACES} {_CONSTRAINTS})",
    ),
    "INDEXES": (
        (
            ("OWNER", _NAME, "owner"),
            ("INDEX_NAME", _NAME, "index_name"),
            ("INDEX_TYPE", text_type(27), "'NORMAL'"),
            ("TABLE_OWNER", _NAME, "owner"),
            ("TABLE_NAME", _NAME, "table_name"),
            ("TABLE_TYPE", text_type(11), "'TABLE'"),
            ("UNIQUENESS", text_type(9), "uniqueness"),
            ("STATUS", text_type(8), "'VALID'"),
        ),
        _INDEXES,
    ),
    "IND_COLUMNS": (
        (
            ("INDEX_OWNER", _NAME, "owner"),
            ("INDEX_NAME", _NAME, "index_name"),
            ("TABLE_OWNER", _NAME, "owner"),
            ("TABLE_NAME", _NAME, "table_name"),
            ("COLUMN_NAME", _LONG_TEXT, "column_name"),
            ("COLUMN_POSITION", NUMBER, "position"),
            ("DESCEND", text_type(4), "'ASC'"),
        ),
        f"({_PLACES} {_INDEXES})",
    ),
    "TAB_COMMENTS": (
        (
            ("OWNER", _NAME, "owner"),
            ("TABLE_NAME", _NAME, "table_name"),
            ("TABLE_TYPE", text_type(11), "'TABLE'"),
            ("COMMENTS", _LONG_TEXT, "text"),
        ),
        "(SELECT t.owner, t.table_name, c.text FROM fakeoracle.all_tables AS t LEFT JOIN fakeoracle.comments AS c "
        "ON c.owner = t.owner AND c.table_name = t.table_name AND c.column_name = '')",
    ),
    "COL_COMMENTS": (
        (
            ("OWNER", _NAME, "owner"),
            ("TABLE_NAME", _NAME, "table_name"),
            ("COLUMN_NAME", _NAME, "column_name"),
            ("COMMENTS", _LONG_TEXT, "text"),
        ),
        "(SELECT t.owner, t.table_name, t.column_name, c.text FROM fakeoracle.all_tab_columns AS t LEFT JOIN "
        "fakeoracle.comments AS c USING (owner, table_name, column_name))",
    ),
    "OBJECTS": (
        (
            ("OWNER", _NAME, "owner"),
            ("OBJECT_NAME", _NAME, "name"),
            ("OBJECT_TYPE", text_type(23), "kind"),
            ("STATUS", text_type(7), "'VALID'"),
            ("TEMPORARY", text_type(1), "'N'"),
        ),
        f"(SELECT owner, table_name AS name, 'TABLE' AS kind FROM fakeoracle.all_tables UNION ALL SELECT owner, "
        f"index_name, 'INDEX' FROM {_INDEXES})",
    ),
    "VIEWS": (
        (("OWNER", _NAME, "owner"), ("VIEW_NAME", _NAME, "name"), ("TEXT", _LONG_TEXT, "NULL")),
        "(SELECT '' AS owner, '' AS name WHERE FALSE)",
    ),
}
