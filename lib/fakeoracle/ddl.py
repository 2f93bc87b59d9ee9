"""CREATE, DROP, TRUNCATE, ALTER and COMMENT, read from tokens: sqlglot does not know all of Oracle's declarations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .catalogue import Column, Rule, Table
from .errors import OracleError, unsupported
from .sql import Statement, Token, statement, tokens
from .types import LOCAL, ZONED, OracleType, declared

_CONSTRAINT_STATES = ("ENABLE", "VALIDATE", "RELY", "INITIALLY", "IMMEDIATE", "DEFERRABLE", "NOT")
_STORAGE_WORDS = (
    "TABLESPACE",
    "PCTFREE",
    "INITRANS",
    "NOLOGGING",
    "LOGGING",
    "NOCOMPRESS",
    "NOPARALLEL",
    "SEGMENT",
)
_COLUMN_ENDS = (",", ")")
_NOT_IN_CHECK = frozenset(
    ["SYSDATE", "USER", "UID", "ROWNUM", "ROWID", "SYSTIMESTAMP", "CURRENT_DATE", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP",
     "SESSIONTIMEZONE", "DBTIMEZONE"]
)  # fmt: skip


@dataclass(frozen=True)
class CreateTable:
    """CREATE TABLE."""

    table: Table


@dataclass(frozen=True)
class CreateAs:
    """CREATE TABLE ... AS query."""

    owner: str
    name: str
    query: str


@dataclass(frozen=True)
class CreateIndex:
    """CREATE [UNIQUE] INDEX; one that is not unique is kept in the dictionary only."""

    owner: str
    name: str
    table_owner: str
    table: str
    columns: tuple[str, ...]
    unique: bool = False


@dataclass(frozen=True)
class AddKey:
    """ALTER TABLE ... ADD [CONSTRAINT name] PRIMARY KEY (columns)."""

    owner: str
    table: str
    columns: tuple[str, ...]
    constraint: str


@dataclass(frozen=True)
class AddRule:
    """ALTER TABLE ... ADD [CONSTRAINT name] UNIQUE (columns) or CHECK (condition)."""

    owner: str
    table: str
    rule: Rule


@dataclass(frozen=True)
class AlterColumns:
    """ALTER TABLE ... ADD columns, DROP COLUMN, or RENAME COLUMN (`renamed` holds the old name and the new)."""

    owner: str
    table: str
    added: tuple[Column, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: tuple[str, str] | None = None


@dataclass(frozen=True)
class Comment:
    """COMMENT ON TABLE (`column` is empty) or COLUMN."""

    owner: str
    table: str
    column: str
    text: str


@dataclass(frozen=True)
class OnTable:
    """DROP TABLE, TRUNCATE TABLE or DROP INDEX; `verb` says which."""

    verb: str
    owner: str
    name: str
    place: int


Change = CreateTable | CreateAs | CreateIndex | AddKey | AddRule | AlterColumns | Comment | OnTable


@dataclass
class _Definition:
    columns: list[Column] = field(default_factory=list)
    key: tuple[str, ...] = ()
    constraint: str = ""
    rules: list[Rule] = field(default_factory=list)


class DdlParser:
    """Reads one DDL statement; `schema` is where unqualified names belong."""

    def __init__(self, stmt: Statement, schema: str) -> None:
        self._stmt = stmt
        self._tokens = stmt.tokens
        self._schema = schema
        self._at = 0

    def parse(self) -> Change:
        """Return what the statement asks for; ORA-03001 for what is not known here."""
        verb, what = self._word(), self._word()
        if (verb, what) == ("CREATE", "TABLE"):
            return self._create_table()
        if (verb, what) == ("CREATE", "INDEX"):
            return self._create_index()
        if (verb, what) == ("CREATE", "UNIQUE"):
            self._expect("INDEX")
            return replace(self._create_index(), unique=True)
        if (verb, what) == ("DROP", "TABLE"):
            change = self._on("DROP TABLE")
            if self._accept("CASCADE"):
                self._expect("CONSTRAINTS")
            self._accept("PURGE")
        elif (verb, what) == ("TRUNCATE", "TABLE"):
            change = self._on("TRUNCATE TABLE")
            if self._accept("DROP", "REUSE"):
                self._expect("STORAGE")
        elif (verb, what) == ("DROP", "INDEX"):
            change = self._on("DROP INDEX")
        elif (verb, what) == ("ALTER", "TABLE"):
            return self._alter_table()
        elif (verb, what) == ("COMMENT", "ON"):
            return self._comment()
        else:
            raise unsupported(f"{verb} {what}")
        self.expect_end()
        return change

    # --- reading -----------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        if at < len(self._tokens):
            return self._tokens[at]
        return Token("end", "", len(self._stmt.text))

    def _take(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _word(self) -> str:
        return self._take().upper

    def _accept(self, *texts: str) -> bool:
        if self._peek().kind in ("word", "symbol") and self._peek().upper in texts:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            code, words = {
                "(": (906, "missing left parenthesis"),
                ")": (907, "missing right parenthesis"),
            }.get(text, (905, "missing keyword"))
            raise OracleError(code, words, self._peek().start)

    def expect_end(self) -> None:
        """Refuse anything that follows."""
        if self._peek().kind != "end":
            raise OracleError(933, "SQL command not properly ended", self._peek().start)

    def _identifier(self) -> str:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            raise OracleError(
                903, "invalid table name" if self._at < 4 else "invalid identifier", token.start
            )
        return token.name

    def _qualified(self) -> tuple[str, str, int]:
        place = self._peek().start
        name = self._identifier()
        if self._accept("."):
            place = self._peek().start
            return name, self._identifier(), place
        return self._schema, name, place

    def _names(self) -> tuple[str, ...]:
        self._expect("(")
        names = [self._identifier()]
        while self._accept(","):
            names.append(self._identifier())
        self._expect(")")
        return tuple(names)

    def _on(self, verb: str) -> OnTable:
        owner, name, place = self._qualified()
        return OnTable(verb, owner, name, place)

    # --- statements --------------------------------------------------------------------------------------------------

    def _create_table(self) -> CreateTable | CreateAs:
        owner, name, _ = self._qualified()
        if self._peek().upper == "AS":
            self._take()
            return CreateAs(owner, name, self._stmt.text[self._peek().start :])
        self._expect("(")
        definition = _Definition()
        while True:
            if self._at_constraint():
                self._table_constraint(definition)
            else:
                definition.columns.append(self._column(definition))
            if not self._accept(","):
                break
        self._expect(")")
        self._storage()
        table = Table(owner, name, tuple(definition.columns), rules=tuple(definition.rules))
        names = [column.name for column in table.columns]
        if len({column.upper() for column in names}) != len(names):
            raise OracleError(957, "duplicate column name")
        if definition.key:
            table = keyed(table, definition.key, definition.constraint)
        return CreateTable(table)

    def _storage(self) -> None:
        """Step over physical attributes, which mean nothing here."""
        while self._peek().kind != "end":
            if self._peek().upper not in _STORAGE_WORDS:
                raise unsupported(f"{self._peek().upper} in CREATE TABLE")
            word = self._word()
            if word == "SEGMENT":
                self._expect("CREATION")
            if word in ("TABLESPACE", "PCTFREE", "INITRANS", "SEGMENT"):
                self._take()

    def _column(self, definition: _Definition) -> Column:
        name = self._identifier()
        kind = self.type()
        nullable, default = True, None
        while self._peek().upper not in _COLUMN_ENDS and self._peek().kind != "end":
            if self._accept("DEFAULT"):
                default = self._default()
                continue
            constraint = self._identifier() if self._accept("CONSTRAINT") else ""
            if self._accept("NOT"):
                self._expect("NULL")
                nullable = False
            elif self._accept("PRIMARY"):
                self._expect("KEY")
                definition.key, definition.constraint = (name,), constraint
            elif self._accept("UNIQUE"):
                definition.rules.append(Rule(constraint, "U", (name,)))
            elif self._accept("CHECK"):
                definition.rules.append(Rule(constraint, "C", (name,), self._condition()))
            elif self._accept("REFERENCES"):
                raise unsupported("FOREIGN KEY constraints")
            elif not self._accept("NULL", "ENABLE"):
                raise unsupported(f"{self._peek().upper} in a column declaration")
        return Column(name, kind, nullable, default)

    def type(self) -> OracleType:
        """Read the name of a type with what belongs to it."""
        name = self._word()
        if self._accept("PRECISION", "VARYING"):
            name = f"{name} {self._peek(-1).upper}"
        arguments: list[str] = []
        unit = None
        if self._accept("("):
            while not self._accept(")"):
                token = self._take()
                if token.text == "-":
                    arguments.append("-" + self._take().text)
                elif (token.kind == "number" and token.text.isdigit()) or token.text == "*":
                    arguments.append(token.text)
                elif token.upper in ("BYTE", "CHAR"):
                    unit = token.upper
                elif token.text != ",":
                    raise OracleError(907, "missing right parenthesis", token.start)
        if name == "TIMESTAMP" and self._accept("WITH"):
            name = LOCAL if self._accept("LOCAL") else ZONED
            self._expect("TIME")
            self._expect("ZONE")
        return declared(name, arguments, unit)

    def _default(self) -> str:
        """Return the text of a DEFAULT expression."""
        start, depth = self._peek().start, 0
        while self._peek().kind != "end":
            token = self._peek()
            ends = token.text in _COLUMN_ENDS or token.upper in (
                "NOT",
                "CONSTRAINT",
                "PRIMARY",
                "NULL",
                "UNIQUE",
                "CHECK",
            )
            if depth == 0 and ends and token.start != start:
                break
            depth += (token.text == "(") - (token.text == ")")
            self._at += 1
        return self._stmt.text[start : self._peek().start].strip()

    def _at_constraint(self) -> bool:
        """Tell whether a constraint of the table follows, not a column of that name."""
        token, after = self._peek(), self._peek(1)
        if token.kind != "word":
            return False
        return token.upper in ("CONSTRAINT", "PRIMARY", "FOREIGN") or (
            token.upper in ("UNIQUE", "CHECK") and after.text == "("
        )

    def _table_constraint(self, definition: _Definition) -> None:
        constraint = self._identifier() if self._accept("CONSTRAINT") else ""
        if self._accept("PRIMARY"):
            self._expect("KEY")
            definition.key, definition.constraint = self._names(), constraint
        elif self._accept("UNIQUE"):
            definition.rules.append(Rule(constraint, "U", self._names()))
        elif self._accept("CHECK"):
            definition.rules.append(Rule(constraint, "C", (), self._condition()))
        else:
            raise unsupported(f"{self._peek().upper} KEY constraints")
        self._constraint_state()

    def _condition(self) -> str:
        """Return the text of a condition in brackets, without them."""
        start, depth = self._peek().start, 0
        self._expect("(")
        depth = 1
        while depth:
            token = self._take()
            if token.kind == "end":
                raise OracleError(907, "missing right parenthesis", token.start)
            depth += (token.text == "(") - (token.text == ")")
        return self._stmt.text[start + 1 : token.start].strip()

    def _constraint_state(self) -> None:
        if self._accept("USING"):
            self._expect("INDEX")
        while self._accept(*_CONSTRAINT_STATES):
            pass

    def _create_index(self) -> CreateIndex:
        owner, name, _ = self._qualified()
        self._expect("ON")
        table_owner, table, _ = self._qualified()
        self._expect("(")
        columns = []
        while True:
            columns.append(self._identifier())
            if self._peek().text == "(":
                raise unsupported("an index on an expression")
            self._accept("ASC", "DESC")
            if not self._accept(","):
                break
        self._expect(")")
        self._storage()
        return CreateIndex(owner, name, table_owner, table, tuple(columns))

    def _alter_table(self) -> Change:
        owner, table, _ = self._qualified()
        if self._accept("DROP"):
            return self._drop_columns(owner, table)
        if self._accept("RENAME"):
            self._expect("COLUMN")
            old = self._identifier()
            self._expect("TO")
            change = AlterColumns(owner, table, renamed=(old, self._identifier()))
            self.expect_end()
            return change
        if not self._accept("ADD"):
            raise unsupported(f"ALTER TABLE {self._peek().upper}")
        return self._add_to_table(owner, table)

    def _add_to_table(self, owner: str, table: str) -> Change:
        definition = _Definition()
        bracket = self._accept("(")
        if self._at_constraint():
            self._table_constraint(definition)
        else:
            definition.columns.append(self._column(definition))
            while bracket and self._accept(","):
                definition.columns.append(self._column(definition))
        if bracket:
            self._expect(")")
        self.expect_end()
        if definition.columns:
            if definition.key or definition.rules:
                raise unsupported("ALTER TABLE ADD of a column with a constraint other than NOT NULL")
            return AlterColumns(owner, table, added=tuple(definition.columns))
        if definition.rules:
            return AddRule(owner, table, definition.rules[0])
        return AddKey(owner, table, definition.key, definition.constraint)

    def _drop_columns(self, owner: str, table: str) -> AlterColumns:
        if self._accept("COLUMN"):
            names: tuple[str, ...] = (self._identifier(),)
        elif self._peek().text == "(":
            names = self._names()
        else:
            raise unsupported(f"ALTER TABLE DROP {self._peek().upper}")
        self.expect_end()
        return AlterColumns(owner, table, dropped=names)

    def _comment(self) -> Comment:
        what = self._word()
        if what not in ("TABLE", "COLUMN"):
            raise unsupported(f"COMMENT ON {what}")
        names = [self._identifier()]
        while self._accept("."):
            names.append(self._identifier())
        column = names.pop() if what == "COLUMN" else ""
        self._expect("IS")
        token = self._take()
        if token.kind != "string" or not token.text.startswith("'"):
            raise OracleError(1780, "string literal required", token.start)
        self.expect_end()
        owner = names[0] if len(names) > 1 else self._schema
        return Comment(owner, names[-1], column, token.text[1:-1].replace("''", "'"))


def ruled(table: Table) -> Table:
    """Return the table with a name for every rule and the columns of every CHECK; ORA-00904 for columns it has not."""
    rules = []
    for number, rule in enumerate(table.rules, 1):
        columns = rule.columns
        if rule.kind == "C":
            named = [token.name for token in tokens(rule.condition or "") if token.kind in ("word", "quoted")]
            columns = tuple(column.name for column in table.columns if column.name in named)
            if "SELECT" in named:
                raise OracleError(2251, "subquery not allowed here")
            if not _NOT_IN_CHECK.isdisjoint(named):
                raise OracleError(2436, "date or system variable wrongly specified in CHECK constraint")
        if rule.kind != "C":
            _check_unique(table, columns)
        rules.append(replace(rule, name=rule.name or f"SYS_C_{table.name}_{number}", columns=columns))
    return replace(table, rules=tuple(rules))


def type_named(text: str) -> OracleType:
    """Return the type that `text` names, as CAST does."""
    parser = DdlParser(statement(text), "")
    kind = parser.type()
    parser.expect_end()
    return kind


def keyed(table: Table, columns: tuple[str, ...], constraint: str) -> Table:
    """Return the table with its primary key; ORA-00904 for a column it has not, ORA-02260 for a second key."""
    if table.primary_key:
        raise OracleError(2260, "table can have only one primary key")
    _check_unique(table, columns)
    return table.with_key(columns, constraint or f"SYS_C_{table.name}_PK")


def _check_unique(table: Table, columns: tuple[str, ...]) -> None:
    for name in columns:
        column = table.column(name)
        if column is None:
            raise OracleError(904, f'"{name}": invalid identifier')
        if column.type.is_lob or column.type.name == ZONED:
            what = "LOB" if column.type.is_lob else "TIME/TIMESTAMP WITH TIME ZONE"
            raise OracleError(2329, f"column of datatype {what} cannot be unique or a primary key")
