"""System change numbers, and rows as of one: what a database answers a user with the privileges for it."""

import threading

import oracledb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

NOW = "select current_scn from v$database"
FUNCTION = "select dbms_flashback.get_system_change_number from dual"


@pytest.fixture
def now(connect):
    """Return a function that gives the current SCN, asked for on a connection of its own."""
    cursor = connect().cursor()
    return lambda: cursor.execute(NOW).fetchone()[0]


@pytest.fixture
def changed(table, cursor, now):
    """Return a table and the SCN at which it held (1, 'one'), (2, 'two'), (3, 'three'); each has changed since."""
    name = table("id number(5), s varchar2(10)")
    cursor.executemany(f"insert into {name} values (:1, :2)", [(1, "one"), (2, "two"), (3, "three")])
    cursor.connection.commit()
    scn = now()
    cursor.execute(f"update {name} set s = 'TWO' where id = 2")
    cursor.execute(f"delete from {name} where id = 3")
    cursor.execute(f"insert into {name} values (4, 'four')")
    cursor.execute(f"update {name} set id = 10 where id = 1")
    cursor.connection.commit()
    return name, scn


def rows(cursor, sql, *binds):
    return sorted(cursor.execute(sql, list(binds)).fetchall())


def code(caught):
    return caught.value.args[0].code


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_every_commit_that_changed_something_and_every_definition_has_a_higher_number(table, cursor, now):
    seen = [now()]
    name = table("a number")
    seen.append(now())
    for change in (f"insert into {name} values (1)", f"update {name} set a = 2", f"delete from {name}"):
        cursor.execute(change)
        cursor.connection.commit()
        seen.append(now())
    cursor.execute(f"truncate table {name}")
    seen.append(now())
    assert sorted(set(seen)) == seen


@pytest.mark.parametrize("sql", [NOW, FUNCTION, FUNCTION.replace("number ", "number() ")])
def test_the_number_is_a_number_without_precision(cursor, sql):
    value = cursor.execute(sql).fetchone()[0]
    assert cursor.description[0][1:6] == (oracledb.DB_TYPE_NUMBER, 127, None, 0, -127)
    assert value == int(value) > 0


def test_the_function_is_named_and_used_like_a_column(cursor, now):
    cursor.execute(FUNCTION)
    assert cursor.description[0][0] == "GET_SYSTEM_CHANGE_NUMBER"
    sql = "select x.scn - current_scn, sys.dbms_flashback.get_system_change_number + 1 from v$database, "
    sql += "(select dbms_flashback.get_system_change_number scn from dual) x where current_scn > :1"
    difference, following = cursor.execute(sql, [now() - 1]).fetchone()
    assert difference >= 0
    assert following > now()


# --- what is seen ----------------------------------------------------------------------------------------------------


def test_rows_are_as_they_were(cursor, changed):
    name, scn = changed
    assert rows(cursor, f"select * from {name} as of scn :1", scn) == [(1, "one"), (2, "two"), (3, "three")]
    assert rows(cursor, f"select * from {name}") == [(2, "TWO"), (4, "four"), (10, "one")]


FORMS = {  # the ids found; their order counts where the statement has one
    "select id from {t} as of scn {scn}": [1, 2, 3],
    "select id from {t} as of scn :1": [1, 2, 3],
    "select id from {t} as of scn (:1)": [1, 2, 3],
    "select id from {t} as of scn to_number(:1) - 1 + 1": [1, 2, 3],
    "select id from tms.{t} as of scn :1 where id > 1 order by s": [3, 2],
    "select x.id from {t} as of scn :1 x where x.s like 't%'": [2, 3],
    "select count(*) from {t} as of scn :1": [3],
    "select max(id) from {t} as of scn :1 group by substr(s, 1, 1) order by 1": [1, 3],
    "select id from {t} as of scn :1 where rownum < 9 union all select id from {t} as of scn :2": [1, 1, 2, 2, 3, 3],
    "select id from {t} as of scn :1 minus select id from {t}": [1, 3],
    "select a.id from {t} as of scn :1 a join {t} as of scn :2 b on a.s = b.s": [1, 2, 3],
    "select n.id from {t} as of scn :1 o, {t} n where o.s = n.s": [10],
    "select o.id from {t} as of scn :1 o left join {t} n on o.id = n.id where n.id is null": [1, 3],
    "select id from {t} n where exists (select 1 from {t} as of scn :1 o where o.id = n.id)": [2],
    "select id from {t} where s in (select s from {t} as of scn :1)": [10],
    "select (select max(id) from {t} as of scn :1) from dual": [3],
    "select trunc((select max(id) from {t} as of scn :1)) + (select 1 from {t} as of scn :2 where id = 1) from dual": [4],
    "select id from (select id from {t} as of scn :1) where id < 3": [1, 2],
    "with o as (select * from {t} as of scn :1) select o.id from o join {t} n on n.id = o.id": [2],
    "select id from {t} as of scn dbms_flashback.get_system_change_number": [2, 4, 10],
}  # fmt: skip


@pytest.mark.parametrize("sql", FORMS)
def test_as_of_belongs_to_one_table_wherever_it_stands(cursor, changed, sql):
    name, scn = changed
    binds = [scn] * sql.count(":")
    found = [row[0] for row in cursor.execute(sql.format(t=name, scn=scn), binds)]
    assert (found if "order by" in sql else sorted(found)) == FORMS[sql]


def test_each_table_has_a_moment_of_its_own(table, cursor, now):
    one, two = table("a number"), table("a number")
    moments = []
    for number in range(3):
        for name in (one, two):
            cursor.execute(f"insert into {name} values (:1)", [number])
        cursor.connection.commit()
        moments.append(now())
    sql = f"select (select count(*) from {one} as of scn :1), (select count(*) from {two} as of scn :2) from dual"
    assert rows(cursor, sql, moments[0], moments[2]) == [(1, 3)]
    assert rows(cursor, sql, moments[1], moments[0]) == [(2, 1)]


def test_the_same_statement_can_be_run_for_one_moment_after_the_other(table, cursor, now):
    name = table("a number")
    moments = []
    for number in range(5):
        cursor.execute(f"insert into {name} values (:1)", [number])
        cursor.connection.commit()
        moments.append(now())
    sql = f"select count(*) from {name} as of scn :1"
    assert [rows(cursor, sql, scn) for scn in moments] == [[(number,)] for number in range(1, 6)]


def test_changes_not_committed_are_not_seen_not_even_ones_own(cursor, changed, connect, now):
    name, scn = changed
    before = rows(cursor, f"select * from {name}")
    cursor.execute(f"update {name} set s = 'mine'")
    cursor.execute(f"delete from {name} where id = 4")
    cursor.execute(f"insert into {name} values (5, 'mine')")
    for reader in (cursor, connect().cursor()):
        assert rows(reader, f"select * from {name} as of scn :1", now()) == before
        assert len(rows(reader, f"select * from {name} as of scn :1", scn)) == 3
    both = f"select count(*) from {name} n, {name} as of scn :1 o where n.s = 'mine' and o.s <> 'mine'"
    assert rows(cursor, both, scn) == [(9,)]
    cursor.connection.rollback()
    assert rows(cursor, f"select * from {name}") == before


def test_what_was_begun_before_the_moment_and_committed_after_it_is_not_seen(table, cursor, connect, now):
    name = table("a number")
    cursor.execute(f"insert into {name} values (1)")
    other = connect()
    other.cursor().execute(f"insert into {name} values (2)")
    other.commit()
    scn = now()
    cursor.connection.commit()
    assert rows(cursor, f"select a from {name} as of scn :1", scn) == [(2,)]
    assert rows(cursor, f"select a from {name} as of scn :1", now()) == [(1,), (2,)]


def test_what_others_committed_is_seen_as_of_now_whatever_is_open_here(table, cursor, connect, now):
    name = table("a number")
    cursor.execute(f"insert into {name} values (1)")
    other = connect()
    other.cursor().execute(f"insert into {name} values (2)")
    other.commit()
    assert rows(cursor, f"select a from {name} as of scn :1", now()) == [(2,)]


def test_a_read_only_transaction_can_look_back_and_forward(cursor, changed, connect, now):
    name, scn = changed
    reader = connect().cursor()
    reader.execute("set transaction read only")
    cursor.execute(f"delete from {name}")
    cursor.connection.commit()
    assert len(rows(reader, f"select * from {name}")) == 3
    assert (1, "one") in rows(reader, f"select * from {name} as of scn :1", scn)
    assert rows(reader, f"select * from {name} as of scn :1", now()) == []


def test_lost_rows_can_be_put_back(cursor, changed):
    name, scn = changed
    cursor.execute(f"delete from {name}")
    cursor.execute(f"insert into {name} select * from {name} as of scn :1", [scn])
    assert cursor.rowcount == 3
    cursor.execute(
        f"update {name} set s = 'back' where s in (select s from {name} as of scn :1 where id > :2)", [scn, 1]
    )
    cursor.execute(
        f"delete from {name} where id not in (select id from {name} as of scn :1 where s = 'one')", [scn]
    )
    assert cursor.rowcount == 2
    cursor.connection.commit()
    assert rows(cursor, f"select * from {name}") == [(1, "one")]


def test_a_long_fetch_of_the_past_stays_in_the_past_while_others_write(table, cursor, connect, now):
    name = table("id number(9), s varchar2(10)")
    cursor.executemany(f"insert into {name} values (:1, 'old')", [(i,) for i in range(60_000)])
    cursor.connection.commit()
    scn = now()
    cursor.execute(f"update {name} set s = 'new' where id < 30000")
    cursor.connection.commit()
    reader = connect().cursor()
    reader.arraysize = reader.prefetchrows = 1000
    reader.execute(f"select id, s from {name} as of scn :1", [scn])
    found = reader.fetchmany(1000)
    cursor.execute(f"delete from {name}")
    cursor.connection.commit()
    found += reader.fetchall()
    assert sorted(found) == [(i, "old") for i in range(60_000)]


def test_data_frames_are_of_their_moment(cursor, changed):
    name, scn = changed
    frames = list(cursor.connection.fetch_df_batches(f"select id from {name} as of scn :1", [scn], size=2))
    assert sum(frame.num_rows() for frame in frames) == 3


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scn", "number"),
    [
        (":now + 1", 8181),
        ("99999999999999999999", 8181),
        ("0", 8181),
        ("-1", 8181),
        ("null", 8181),
        ("to_number(null)", 8181),
        ("'x'", 1722),
        ("sysdate", 932),
        ("id", 904),
        ("nosuch", 904),
    ],
)
def test_a_number_that_is_none_is_refused(cursor, changed, now, scn, number):
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(f"select * from {changed[0]} as of scn {scn.replace(':now', str(now()))}")
    assert code(caught) == number
    assert cursor.execute("select 1 from dual").fetchone() == (1,)


@pytest.mark.parametrize(("bind", "number"), [(None, 8181), ("x", 1722), (-5, 8181)])
def test_a_bind_that_is_no_number_of_a_moment_is_refused(cursor, changed, bind, number):
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(f"select * from {changed[0]} as of scn :1", [bind])
    assert code(caught) == number


@pytest.mark.parametrize(
    "definition",
    [["truncate table {t}"], ["alter table {t} add primary key (id)"], ["drop table {t}", "create table {t} (id number)"]],
)  # fmt: skip
def test_nobody_looks_back_beyond_a_change_of_the_definition(cursor, changed, now, definition):
    name, scn = changed
    for statement in definition:
        cursor.execute(statement.format(t=name))
    for too_early in (scn, 1):
        with pytest.raises(oracledb.DatabaseError, match="ORA-01466"):
            cursor.execute(f"select * from {name} as of scn :1", [too_early])
    cursor.execute(f"select * from {name} as of scn :1", [now()])


def test_an_index_does_not_hide_the_past(cursor, changed):
    name, scn = changed
    cursor.execute(f"create index {name}_i on {name} (s)")
    assert len(rows(cursor, f"select * from {name} as of scn :1", scn)) == 3


def test_a_table_that_is_gone_has_no_past(table, cursor, now):
    cursor.execute("create table gone (a number)")
    scn = now()
    cursor.execute("drop table gone")
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        cursor.execute("select * from gone as of scn :1", [scn])


# --- several at once -------------------------------------------------------------------------------------------------


def test_every_moment_is_whole_however_commits_interleave(table, cursor, connect, now):
    """Each transaction takes from one table and gives to the other: their sum is the same at every SCN."""
    one, two = table("owner number(2), amount number(9)"), table("owner number(2), amount number(9)")
    writers, moments = [connect() for _ in range(3)], []
    for owner in range(len(writers)):
        cursor.execute(f"insert into {one} values (:1, 100)", [owner])
        cursor.execute(f"insert into {two} values (:1, 0)", [owner])
    cursor.connection.commit()

    def move(owner, connection):
        mine = connection.cursor()
        for number in range(15):
            mine.execute(f"update {one} set amount = amount - 1 where owner = :1", [owner])
            mine.execute(f"update {two} set amount = amount + 1 where owner = :1", [owner])
            connection.rollback() if number % 5 == 4 else connection.commit()
            moments.append(mine.execute(NOW).fetchone()[0])

    threads = [threading.Thread(target=move, args=pair) for pair in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(moments) == 45
    sql = f"select sum(a.amount), sum(b.amount) from {one} as of scn :1 a join {two} as of scn :2 b on a.owner = b.owner"
    sums = [rows(cursor, sql, scn, scn)[0] for scn in sorted(set(moments))]
    assert {left + right for left, right in sums} == {300}
    assert [right for _, right in sums] == sorted(right for _, right in sums)
    assert rows(cursor, sql, now(), now()) == [(264, 36)]


class Histories(RuleBasedStateMachine):
    """Two sessions, each with rows of its own, change and end transactions at will; a model remembers each moment."""

    sessions = st.integers(0, 1)
    ids = st.integers(0, 5)

    def __init__(self, connect):
        super().__init__()
        self.connections = [connect(), connect()]
        self.cursors = [connection.cursor() for connection in self.connections]
        self.cursors[0].execute("create table model (session_no number(1), id number(2), value number(3))")
        self.committed = [{}, {}]
        self.pending = [{}, {}]
        self.moments = {}

    @rule(session=sessions, number=ids, value=st.integers(0, 999))
    def put(self, session, number, value):
        if number in self.pending[session]:
            sql = "update model set value = :1 where session_no = :2 and id = :3"
        else:
            sql = "insert into model (value, session_no, id) values (:1, :2, :3)"
        self.cursors[session].execute(sql, [value, session, number])
        self.pending[session][number] = value

    @rule(session=sessions)
    def increase_all(self, session):
        self.cursors[session].execute("update model set value = value - 1 where session_no = :1", [session])
        self.pending[session] = {number: value - 1 for number, value in self.pending[session].items()}

    @rule(session=sessions, number=ids)
    def delete_from(self, session, number):
        self.cursors[session].execute(
            "delete from model where session_no = :1 and id >= :2", [session, number]
        )
        self.pending[session] = {key: value for key, value in self.pending[session].items() if key < number}

    @rule(session=sessions, keep=st.sampled_from([True, True, False]), asker=sessions)
    def end(self, session, keep, asker):
        if keep:
            self.connections[session].commit()
            self.committed[session] = dict(self.pending[session])
        else:
            self.connections[session].rollback()
            self.pending[session] = dict(self.committed[session])
        scn = self.cursors[asker].execute(NOW).fetchone()[0]
        assert scn >= max(self.moments, default=0)
        self.moments[scn] = self.state(self.committed)

    @rule(session=sessions, which=st.integers(0))
    def look_back(self, session, which):
        if self.moments:
            scn = sorted(self.moments)[which % len(self.moments)]
            assert self.read(session, f"as of scn {scn}") == self.moments[scn]

    @rule(session=sessions)
    def look_at_the_present(self, session):
        found = [row for row in self.read(session, "") if row[0] == session]
        assert found == [row for row in self.state(self.pending) if row[0] == session]

    def read(self, session, clause):
        return sorted(self.cursors[session].execute(f"select * from model {clause}").fetchall())

    @staticmethod
    def state(parts):
        return sorted((session, *pair) for session, part in enumerate(parts) for pair in part.items())

    def teardown(self):
        try:
            for session in (0, 1):
                for scn, state in self.moments.items():
                    assert self.read(session, f"as of scn {scn}") == state
        finally:
            for connection in self.connections:
                connection.rollback()
            self.cursors[0].execute("drop table model")
            for connection in self.connections:
                connection.close()


def test_every_remembered_moment_stays_what_it_was(shared_server, connect):
    run_state_machine_as_test(
        lambda: Histories(connect),
        settings=settings(max_examples=20, stateful_step_count=25, deadline=None, database=None),
    )
