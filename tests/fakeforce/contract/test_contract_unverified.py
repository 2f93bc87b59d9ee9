"""Questions that no public document or recorded reply answers. A live run prints what the org said to each.

A test fails only when the answer is none of those that are possible; that fakeforce answers otherwise is shown, not failed.
"""

import gzip

import pytest

from .org import said

REFUSED = r"4\d\d [^ ]+: .+"
unverified = pytest.mark.unverified


def outcome(org, info):
    """How a job ended, and the errors of its rows."""
    if info["state"] != "JobComplete":
        return f"{info['state']}, {info.get('errorMessage')}"
    errors = sorted(set(org.errors(info["id"]))) or ["no row refused"]
    return f"JobComplete, {info['numberRecordsProcessed']} rows, {'; '.join(errors)}"


ENDED = r"(JobComplete, \d+ rows, .+|Failed, .+)"


def echoes(org, *values, field, **job):
    """What a result file says of values of one field that were accepted, or how they were refused."""
    found = []
    for value in values:
        key = org.new_key()
        info = org.load(org.csv(f"{key},x,{value}", fields=f"key,text,{field}"), **job)
        rows = org.table(info["id"], "successfulResults")
        name = getattr(org.connection, field)
        found.append(f"{value} -> {rows[0][name]!r}" if rows else f"{value} refused: {outcome(org, info)}")
    return ", ".join(found)


# ---- uploads ----


@unverified("Does an upload with Content-Encoding: gzip work?")
def test_gzip_upload(answered):
    def ask(org):
        job = org.job()
        sent = org.upload(
            job, gzip.compress(org.csv(f"{org.new_key()},x").encode()), **{"Content-Encoding": "gzip"}
        )
        org.state(job, "UploadComplete" if sent.status_code == 201 else "Aborted")
        return f"{said(sent)}; {outcome(org, org.wait(job)) if sent.status_code == 201 else 'no job'}"

    answered(ask, rf"(201; {ENDED}|{REFUSED}; no job)")


@unverified("What does a second PUT to one job answer?")
def test_second_put(answered):
    def ask(org):
        job = org.job()
        assert org.upload(job, org.csv(f"{org.new_key()},x")).status_code == 201
        answer = said(org.upload(job, org.csv(f"{org.new_key()},x"))).replace(job, "JOB")
        org.state(job, "Aborted")
        return answer

    answered(ask, REFUSED)


@unverified("What does a PUT after UploadComplete answer?")
def test_put_after_closing(answered):
    def ask(org):
        job = org.load(org.csv(f"{org.new_key()},x"))["id"]
        return said(org.upload(job, org.csv(f"{org.new_key()},x"))).replace(job, "JOB")

    answered(ask, REFUSED)


@unverified("What does a PUT of more than 150 MB answer?")
def test_oversize_put(answered):
    def ask(org):
        job = org.job()
        line = b"x" * 50 + b"," + b"y" * 199 + b"\n"
        answer = said(org.upload(job, (line * 4000 for _ in range(151)))).replace(job, "JOB")
        org.state(job, "Aborted")
        return answer

    answered(ask, rf"{REFUSED}|5\d\d.*")


@unverified("How does a job end that is closed without data?")
def test_closed_without_data(answered):
    def ask(org):
        job = org.job()
        closed = org.state(job, "UploadComplete")
        return outcome(org, org.wait(job)) if closed.status_code == 200 else said(closed).replace(job, "JOB")

    answered(ask, rf"{ENDED}|{REFUSED}")


@unverified("What does closing a closed job answer?")
def test_closed_twice(answered):
    def ask(org):
        return said(org.state(org.load(org.csv(f"{org.new_key()},x"))["id"], "UploadComplete"))

    answered(ask, rf"200|{REFUSED}")


@unverified("What does a job with an unknown operation, an unknown object, no key field answer?")
@pytest.mark.parametrize(
    "wrong", [{"operation": "INSERT"}, {"object": "No_Such_Object__c"}, {"externalIdFieldName": ""}], ids=repr
)
def test_refused_jobs(answered, wrong):
    answered(lambda org: f"{wrong}: {said(org.create(**wrong))}", r"\{.*\}: 400 .+")


@unverified("May the object's name be written in another case?")
def test_object_in_another_case(answered):
    def ask(org):
        made = org.create(object=org.connection.object.upper())
        if made.status_code == 200:
            org.state(made.json()["id"], "Aborted")
            return (
                "200, object as the API names it"
                if made.json()["object"] == org.connection.object
                else "200, as sent"
            )
        return said(made)

    answered(ask, rf"200, .+|{REFUSED}")


# ---- the CSV text ----


@unverified("Which line breaks inside quotes fail an LF job, a CRLF job?")
@pytest.mark.parametrize(
    ("line_ending", "inside"),
    [("LF", "\r"), ("LF", "\r\n"), ("CRLF", "\n"), ("CRLF", "\r")],
    ids=["LF job, CR", "LF job, CRLF", "CRLF job, LF", "CRLF job, CR"],
)
def test_line_breaks_inside_quotes(answered, line_ending, inside):
    end = {"LF": "\n", "CRLF": "\r\n"}[line_ending]

    def ask(org):
        key = org.new_key()
        info = org.load(org.csv(f'{key},"a{inside}b"', end=end), lineEnding=line_ending)
        kept = (
            repr(org.row(key)[org.connection.text])
            if info["numberRecordsFailed"] == 0 != info["numberRecordsProcessed"]
            else ""
        )
        return f"{line_ending} job, {inside!r}: {outcome(org, info)} {kept}"

    answered(ask, rf".* job, .*: {ENDED} ?.*")


@unverified("Which line ending have the results of a CRLF job?")
def test_line_ending_of_results(answered):
    def ask(org):
        info = org.load(org.csv(f"{org.new_key()},x", end="\r\n"), lineEnding="CRLF")
        text = org.result(info["id"], "successfulResults")
        return f"{text.count(chr(13) + chr(10))} CRLF, {text.count(chr(10))} LF"

    answered(ask, r"(0|2) CRLF, 2 LF")


@unverified("Is a blank line, in the middle or at the end, a row?")
@pytest.mark.parametrize("where", ["middle", "end"])
def test_blank_line(answered, where):
    def ask(org):
        rows = [f"{org.new_key()},x", f"{org.new_key()},x"]
        rows.insert(1 if where == "middle" else 2, "")
        return f"{where}: {outcome(org, org.load(org.csv(*rows)))}"

    answered(ask, rf"{where}: {ENDED}")


@unverified("Are column names matched in any case?")
def test_header_in_another_case(answered):
    def ask(org):
        key, c = org.new_key(), org.connection
        return outcome(org, org.load(f"{c.key},{c.text.lower()}\n{key},x\n"))

    answered(ask, ENDED)


@unverified("What does a column named twice do?")
def test_header_twice(answered):
    def ask(org):
        return outcome(org, org.load(org.csv(f"{org.new_key()},x,y", fields="key,text,text")))

    answered(ask, ENDED)


@unverified("What does a BOM before an unquoted header do?")
def test_byte_order_mark_before_a_bare_header(answered):
    def ask(org):
        return outcome(org, org.load("\ufeff" + org.csv(f"{org.new_key()},x"))).replace("\ufeff", "<BOM>")

    answered(ask, ENDED)


# ---- values ----


@unverified("How do result files show numbers?")
def test_echo_of_numbers(answered):
    numbers = ("1", "100", "0.5", "0.01", "1.10", "-2.50", "9999999", "12345678.91", "1E3", "#N/A")
    answered(lambda org: echoes(org, *numbers, field="number"), ".+")


@unverified("How do result files show dates and #N/A?")
def test_echo_of_dates(answered):
    answered(lambda org: echoes(org, "2025-01-31", "1700-01-01", "#N/A", field="date"), ".+")


@unverified("What is said of numbers and dates outside the field's range?")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "1E30"),
        ("number", "1E999"),
        ("date", "1699-12-31"),
        ("date", "4001-01-01"),
        ("date", "2025-02-30"),
    ],
)
def test_values_out_of_range(answered, field, value):
    answered(lambda org: echoes(org, value, field=field), ".+")


@unverified("How are decimals rounded that have more places than the field?")
def test_rounding(answered):
    def ask(org):
        found = []
        for value in ("0.125", "0.135", "-0.125", "0.115", "2.675"):
            key = org.new_key()
            info = org.load(org.csv(f"{key},x,{value}", fields="key,text,number"))
            failed = info["numberRecordsFailed"]
            found.append(
                f"{value} -> {outcome(org, info) if failed else org.row(key)[org.connection.number]}"
            )
        return ", ".join(found)

    answered(ask, ".+")


@unverified("Are blanks around text kept?")
def test_blanks_around_text(answered):
    def ask(org):
        keys = [org.new_key(), org.new_key()]
        info = org.load(org.csv(f'{keys[0]},"  a  "', f"{keys[1]},  a  "))
        failed = info["numberRecordsFailed"]
        return (
            outcome(org, info) if failed else ", ".join(repr(org.row(k)[org.connection.text]) for k in keys)
        )

    answered(ask, r"'\s*a\s*', '\s*a\s*'|JobComplete, .+")


@unverified("From which number are columns counted in 'at col N'?")
def test_column_number(answered):
    def ask(org):
        return outcome(org, org.load(org.csv(f"{org.new_key()},x,31/01/2025", fields="key,text,date")))

    answered(ask, r"JobComplete, 1 rows, INVALID_FIELD:.* at col \d+\. .+")


# ---- keys ----


@unverified("What does a row with an empty key answer?")
def test_empty_key(answered):
    answered(lambda org: outcome(org, org.load(org.csv(",x"))), ENDED)


@unverified("May a key stand twice in one job, more than 200 rows apart?")
def test_key_twice_in_two_chunks(answered):
    def ask(org):
        first, rest = org.new_key(), [org.new_key() for _ in range(250)]
        info = org.load(org.csv(f"{first},one", *(f"{key},x" for key in rest), f"{first},two"))
        return outcome(org, info).replace(first, "KEY")

    answered(ask, ENDED)


@unverified("Do keys that differ in the case of letters mean one row?")
def test_key_in_another_case(answered):
    def ask(org):
        key = org.new_key()
        record = org.make(key)
        info = org.load(org.csv(f"{key.upper()},two"))
        rows = org.table(info["id"], "successfulResults")
        return (
            ("the same row" if rows[0]["sf__Id"] == record else "another row") if rows else outcome(org, info)
        )

    answered(ask, rf"the same row|another row|{ENDED}")


@unverified("What is said to a key that several rows have, in a job and as a PATCH?")
def test_key_of_several_rows(answered, org):
    if not org.connection.group:
        pytest.skip("CONTRACT_GROUP names no field that is an External ID and not Unique")

    def ask(one):
        group = one.new_key()
        ids = [one.make(one.new_key(), group=group) for _ in range(2)]
        info = one.load(one.csv(f"{group},x", fields="group,text"), externalIdFieldName=one.connection.group)
        patched = one.call("PATCH", one.path(group, one.connection.group), json={one.connection.text: "x"})
        answer = f"{outcome(one, info)}; PATCH {patched.status_code} {patched.text}"
        return answer.replace(ids[0], "ID1").replace(ids[1], "ID2").replace(one.connection.object, "OBJECT")

    answered(ask, rf"{ENDED}; PATCH 300 .+")


@unverified("What does updateOnly=true answer when no row has the key?")
def test_update_only_miss(answered):
    def ask(org):
        return said(
            org.call("PATCH", org.path(org.new_key()) + "?updateOnly=true", json={org.connection.text: "x"})
        )

    answered(ask, REFUSED)


@unverified("What does a PATCH by external id answer when its body repeats the key?")
def test_key_in_the_body(answered):
    def ask(org):
        key = org.new_key()
        return said(
            org.call("PATCH", org.path(key), json={org.connection.key: key, org.connection.text: "x"})
        )

    answered(ask, rf"20[01]|{REFUSED}")


# ---- limits and tokens ----


@unverified(
    "By how much does one small job lower DailyBulkApiBatches? (the org counts it within five minutes)"
)
def test_batches_of_one_job(answered):
    def ask(org):
        def left():
            return org.call("GET", "/limits").json()["DailyBulkApiBatches"]["Remaining"]

        before = left()
        org.load(org.csv(f"{org.new_key()},x"))
        return str(before - left())

    answered(ask, r"-?\d+")


@unverified("What does the token endpoint answer to an unknown grant_type?")
def test_unknown_grant_type(answered):
    def ask(org):
        refused = org.token(grant_type="magic")
        return f"{refused.status_code} {refused.json()}"

    answered(ask, r"4\d\d \{.*'error': .+\}")


@unverified("What does a result file answer while its job is open?")
def test_results_of_an_open_job(answered):
    def ask(org):
        job = org.job()
        answer = said(org.call("GET", f"/jobs/ingest/{job}/successfulResults")).replace(job, "JOB")
        org.state(job, "Aborted")
        return answer

    answered(ask, rf"20[04]|{REFUSED}")


@unverified("What comes with the results of a Bulk query of no rows?")
def test_empty_bulk_query(answered):
    def ask(org):
        c = org.connection
        text = f"SELECT Id, {c.text} FROM {c.object} WHERE {c.key} = '{org.new_key()}'"
        job = org.call("POST", "/jobs/query", json={"operation": "query", "query": text}).json()["id"]
        org.until(lambda: org.call("GET", f"/jobs/query/{job}").json())
        reply = org.call("GET", f"/jobs/query/{job}/results")
        heads = {name: reply.headers.get(name) for name in ("Sforce-Locator", "Sforce-NumberOfRecords")}
        return f"{reply.status_code} {heads} {reply.text!r}".replace(c.text, "TEXT")

    answered(ask, r"20[04] \{.*\} .*")
