"""Files are read as they are, or refused with what to do; a bad row costs itself alone."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.evaluation.data.examples import Dataset
from colm.evaluation.data.formats import FORMATS
from colm.evaluation.data.load import load
from colm.models.errors import InvalidAsk


def read(folder: Path, name: str, content: str | bytes) -> Dataset:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load(str(path))


FOUR = ("What?", "4")
ROW = {"question": "What?", "answer": "4"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.csv", ",question,answer\n0,What?,4\n"),
        ("named-index.csv", "Unnamed: 0,question,answer\n0,What?,4\n"),
        ("blank.csv", "\n \n,,\nquestion,answer\nWhat?,4\n\n"),
        ("padded.csv", "question,answer,,\nWhat?,4,,\n"),
        ("trailing.csv", "question,answer\nWhat?,4,\n"),
        ("short.csv", "question,answer,source\nWhat?,4\n"),
        ("spaced.csv", 'question, answer\n"What?", "4"\n'),
        ("announced.csv", "sep=,\r\nquestion,answer\r\nWhat?,4\r\n"),
        ("twice.csv", "question,answer,answer\nWhat?,4,4\n"),
        ("mark.csv", "\ufeffquestion,answer\nWhat?,4\n"),
        ("tabs.tsv", "question\tanswer\nWhat?\t4\n"),
        ("CAPITALS.CSV", "question,answer\nWhat?,4\n"),
        ("mark.jsonl", "\ufeff" + json.dumps(ROW) + "\n"),
        ("whole.jsonl", json.dumps([ROW], indent=2)),
        ("lines.json", json.dumps(ROW) + "\n\n" + json.dumps({**ROW, "question": ""})),
        ("lines.ndjson", json.dumps(ROW)),
        ("data.json", json.dumps({"version": 1, "data": [ROW]})),
        ("rows.json", json.dumps({"features": [{}], "rows": [{"row_idx": 0, "row": ROW}]})),
        ("examples.json", json.dumps({"canary": "x", "examples": [ROW]})),
        ("named.json", json.dumps({"train": [ROW], "tags": ["x"]})),
        ("twice.jsonl", '{"question": "What?", "answer": "4", "answer": "4"}'),
    ],
)
def test_rows_are_found_however_a_file_keeps_them(tmp_path: Path, name: str, content: str) -> None:
    found = read(tmp_path, name, content)

    assert [(e.question, e.references[0]) for e in found.examples] == [FOUR], found.bad


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "question;answer\nWhat?;4\n", "semicolons"),
        ("a.csv", "sep=;\nquestion;answer\nWhat?;4\n", "semicolons"),
        ("a.csv", "question\tanswer\nWhat?\t4\n", "tabs"),
        ("a.tsv", "question,answer\nWhat?,4\n", "commas"),
        ("a.csv", '"question,answer\nWhat?,4\n', "header"),
        ("a.csv", "question,answer\nWhat?,4\n".encode("utf-16"), "save it as UTF-8"),
        ("a.csv", "question,answer\nWhat?,4\n".encode("utf-16-le"), "save it as UTF-8"),
        ("a.csv", "question,answer\nWh\xe9?,4\n".encode("latin-1"), "save it as UTF-8"),
        ("a.csv", b"\x1f\x8b\x08\x00", "gzip: unpack it"),
        ("a.jsonl", b"PAR1\x15\x04", "Parquet"),
        ("a.json", b"ARROW1\x00\x00", "Arrow"),
        ("a.csv", b"PK\x03\x04\x14", "spreadsheet"),
        ("a.jsonl", b"version https://git-lfs\n", "Git LFS pointer"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00", "unpack it"),
        ("a.parquet", b"PAR1\x15\x04", "save it as one"),
    ],
)
def test_a_file_of_another_kind_says_what_to_do(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    with pytest.raises(InvalidAsk, match=words):
        read(tmp_path, name, content)


OK = json.dumps(ROW)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"question": "Smile \\ud83d?", "answer": "1"}', "a lone surrogate"),
        ('{"question": "Smile?", "answer": "\\ud83d"}', "a lone surrogate"),
        ('{"question": "Smile?", "answer": "1", "cluster": "\\udcff"}', "a lone surrogate"),
        ('{"question": "Smile?", "\\ud83d": "1"}', "no field 'answer'"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"question": "Q?", "answer": ' + "[" * 500 + "]" * 500 + "}", "a list where"),
        ('{"question": "Q?", "answer": "4", "answer": "5"}', "names 'answer' twice"),
        ('{"question": "Q?", "options": {"A": "x", "A": "y"}, "answer": "A"}', "'A' twice"),
        ('{"question": "Q?", "answer": ' + "9" * 5_000 + "}", "not JSON"),
    ],
)
def test_a_row_that_cannot_be_used_costs_itself_alone(tmp_path: Path, row: str, words: str) -> None:
    for name, content in (("a.jsonl", f"{OK}\n{row}\n"), ("b.jsonl", f"{row}\n{OK}\n")):
        found = read(tmp_path, name, content)

        assert [e.question for e in found.examples] == ["What?"]
        assert [words in bad.reason for bad in found.bad] == [True], found.bad
        found.bad[0].reason.encode()


def test_a_file_that_is_nested_too_deeply_is_no_traceback(tmp_path: Path) -> None:
    (bad,) = read(tmp_path, "a.json", "[" * 100_000).bad
    assert "nested too deeply" in bad.reason


@pytest.mark.parametrize(
    "content",
    ['{"question": {"0": "W?"}, "answer": {"0": "4"}}', '{"a": [{}], "b": [{}]}', "[]x", '"text"'],
)
def test_json_without_one_list_of_rows_says_so(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, "a.json", content)
    assert (found.examples, len(found.bad)) == ((), 1)
    assert "the file" in found.bad[0].reason


def test_a_cell_of_a_table_may_be_as_long_as_any_text(tmp_path: Path) -> None:
    long = "x " * 70_000
    found = read(tmp_path, "a.csv", f'question,answer\nfirst?,1\n"{long}?",2\nlast?,3\n')

    assert [e.references for e in found.examples] == [("1",), ("2",), ("3",)]


def test_lines_that_a_quote_swallows_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", 'question,answer\nOne?,1\n"Two?,2\nThree?,3\n')

    assert [e.question for e in found.examples] == ["One?"]
    assert "lines 3 to 4 are lost" in found.bad[0].reason


def test_cells_that_contradict_each_other_are_a_bad_row(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", "question,answer,answer\nOne?,1,2\nTwo?,2,2\n")

    assert [e.question for e in found.examples] == ["Two?"]
    assert "two cells 'answer' that differ" in found.bad[0].reason


def test_a_folder_is_read_without_what_systems_leave_in_it(tmp_path: Path) -> None:
    (tmp_path / "._a.csv").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "b.json").mkdir()
    (tmp_path / "a.csv").write_text("question,answer\nWhat?,4\n")

    assert [e.question for e in load(str(tmp_path)).examples] == ["What?"]


def test_fields_that_nothing_reads_are_told(tmp_path: Path) -> None:
    rows = [{**ROW, "context": "It is 4.", "kind": "numeric"}, {**ROW, "id": 7}]
    found = read(tmp_path, "a.json", json.dumps(rows))

    assert found.unread == ("context", "id")


_KEYS = st.sampled_from(
    ["question", "answer", "kind", "choices", "options", "A", "B", "tests", "test_list", "text",
     "prompt", "test", "entry_point", "input", "target", "problem", "solution", "answer_index",
     "images", "visible_tests", "cluster", "code", "opa"]
)  # fmt: skip
_TEXTS = st.sampled_from(
    ["A", "(B)", "1", "2.0", "nan", "assert f(1) == 2", "['a', 'b']", "['a' 'b']", "\\boxed{2}",
     "[", "#### 4", "exact", "code", "f", "x\nA. r\nB. s", "x\nOptions:\n(A) r\n(B) s", "\ud83d",
     "def f(x):\n    '''D'''\n", "def check(c):\n    assert c(1)", "Q Answer1: a Answer2: b"]
)  # fmt: skip
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.text(max_size=3), st.integers(-3, 30), st.floats(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["A", "B", "text", "label", "1"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(_KEYS, _VALUES, max_size=8)), st.sampled_from(["auto", *FORMATS]))
def test_every_row_is_an_example_that_can_be_graded_or_a_bad_row(
    tmp_path: Path, rows: list[dict[str, object]], name: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    found = load(str(path), format=name)

    assert len(found.examples) + len(found.bad) == len(rows)
    for example in found.examples:
        str(example).encode()
        assert example.tests if example.kind == "code" else all(map(str.strip, example.references))
        if example.choices and example.kind == "choice":
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(example.choices)]
            assert set(example.references) <= set(letters)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(st.sampled_from([*'",\n;[{\r', "\ufeff", "question", "answer", "4"])).map(
            lambda parts: "".join(parts).encode()
        ),
    ),
    st.sampled_from([".csv", ".jsonl", ".json", ".tsv"]),
)
def test_any_content_is_read_or_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    with contextlib.suppress(InvalidAsk):
        for bad in read(tmp_path, f"a{suffix}", content).bad:
            assert bad.reason
