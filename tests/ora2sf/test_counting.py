"""The rows of result files are counted exactly, wherever the text is cut into blocks."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf.counting import ResultCount, ResultCounter, count_results
from ora2sf.errors import RunFolderError

ids = st.text("ab,\n", max_size=3) | st.just("a0B000000000001AAA")
states = st.sampled_from(["true", "false", "", "truer", "True"])
texts = st.text('a",\n', max_size=4) | st.just("true")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ResultCount(0, 0)),
        ('"sf__Id","sf__Created",Key__c\n', ResultCount(0, 0)),
        (
            '"sf__Id","sf__Created",Key__c\n"a","true","1"\n"b","false","x\ny"\n"c","true",""\n',
            ResultCount(3, 2),
        ),
        ('"sf__Id","sf__Error",Key__c\n"","X:""y"", z:--","1"\n', ResultCount(1, 0)),
        ("Key__c,V__c\n1,\n", ResultCount(1, 0)),
        ('"sf__Id","sf__Created",K\n\n"a","true","1"\n\r\n', ResultCount(1, 1)),
        (
            '"sf__Id","sf__Created",K\n"a","true","1\n""\n,"",""true"",\n2"\n"b","false","true"',
            ResultCount(2, 1),
        ),
        ('"sf__Id",K,"sf__Created"\n"a","true","false"\na,b,true\n"c","","true"\n', ResultCount(3, 2)),
        ('"sf__Id","sf__Created"\n"a","true"\r\n"b","truer"\r\n', ResultCount(2, 1)),
    ],
)
def test_rows_and_created_records_of_a_result_file_are_counted(tmp_path, text, wanted):
    path = tmp_path / "r.csv"
    path.write_text(text, newline="")
    assert count_results(path) == wanted


def test_a_result_file_that_ends_within_a_row_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('"sf__Id","sf__Created",K\n"a","true","begun\n')
    with pytest.raises(RunFolderError, match="ends within a row"):
        count_results(path)


@settings(deadline=None, max_examples=400)
@given(
    rows=st.lists(st.tuples(ids, states, texts, st.integers(1, 40)), max_size=8),
    first=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 200),
)
def test_the_count_is_that_of_a_csv_reader_wherever_the_blocks_are_cut(rows, first, quoting, end, size):
    lines = [row for *row, times in rows for _ in range(times)]
    order = (1, 0, 2) if first else (0, 1, 2)
    target = io.StringIO()
    writer = csv.writer(target, quoting=quoting, lineterminator=end)
    for line in [("sf__Id", "sf__Created", "Text__c"), *lines]:
        writer.writerow([line[place] for place in order])
    text, counter = target.getvalue().encode(), ResultCounter()
    for start in range(0, len(text), size):
        counter.add(text[start : start + size])
    assert counter.finish() == ResultCount(len(lines), sum(line[1] == "true" for line in lines))
