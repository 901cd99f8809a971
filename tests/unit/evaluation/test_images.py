"""Data sets on images: where they lie, what the queries are asked with, what is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.data.load import load
from colm.evaluation.grading import grade
from colm.tasks.config.run_config import read_config
from colm.workers.evaluator.plan import options_of, plan

ROW = {"question": "What colour?", "answer": "red", "images": "signs/1.png", "kind": "vqa"}


def written(folder: Path, *rows: object) -> str:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_images_lie_beside_the_data_or_in_the_folder_that_is_named(tmp_path: Path) -> None:
    source = written(tmp_path, ROW, {**ROW, "images": ["a.png", "/elsewhere/b.png"]})
    beside = load(source)
    assert beside.bad == ()
    assert [e.images for e in beside.examples] == [
        (str(tmp_path / "signs/1.png"),),
        (str(tmp_path / "a.png"), "/elsewhere/b.png"),
    ]
    named = load(source, images="/pictures")
    assert named.examples[0].images == ("/pictures/signs/1.png",)
    assert named.digest == beside.digest, "moved data is the same data"
    assert load(str(tmp_path)).examples[0].images == (str(tmp_path / "signs/1.png"),)


def test_the_same_question_about_another_image_is_another_example(tmp_path: Path) -> None:
    plain = {key: value for key, value in ROW.items() if key != "images"}
    found = load(written(tmp_path, ROW, {**ROW, "images": "2.png"}, plain, ROW))
    assert len({e.id for e in found.examples}) == 3
    assert [row.reason for row in found.bad] == ["it repeats an earlier row"]


def test_images_of_the_site_s_store_are_named_as_they_are(tmp_path: Path) -> None:
    names = [f"sha256:{'a' * 64}", f"http://images.example/images/{'b' * 64}"]
    assert load(written(tmp_path, {**ROW, "images": names})).examples[0].images == tuple(names)


@pytest.mark.parametrize("images", [7, ["a.png", 7], {"bytes": "..."}, [""]])
def test_what_names_no_image_is_a_bad_row(tmp_path: Path, images: object) -> None:
    found = load(written(tmp_path, {**ROW, "images": images}, ROW))
    assert len(found.examples) == 1
    assert [row.reason for row in found.bad] == ["images is neither a path nor a list of paths"]


def test_the_rows_of_a_hub_need_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colm.evaluation.data.load._hub_rows", lambda *_: iter([("row 1", ROW)]))
    assert "set data.images" in load("hub:vqa").bad[0].reason
    assert load("hub:vqa", images="/pictures").examples[0].images == ("/pictures/signs/1.png",)


def test_a_file_s_folder_of_images_is_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text(
        '[data]\nsource = "hub:vqa"\nimages = "pictures"\n[[entries]]\nname = "colm"\n'
    )
    data = read_config(tmp_path / "night.toml").data
    assert (data.source, data.images) == ("hub:vqa", str(tmp_path / "pictures"))


def test_a_query_is_asked_with_its_example_s_images(tmp_path: Path) -> None:
    plain = {"question": "And now?", "answer": "no"}
    examples = load(written(tmp_path, ROW, plain)).examples
    config = read_config({"data": {"source": "items.jsonl"}, "entries": [{"name": "colm"}]})
    shown, unseen = [options_of(config, one) for one in plan("night", config, examples, done=())]
    assert shown["images"] == [str(tmp_path / "signs/1.png")]
    assert shown["kind"] == "exact"
    assert "images" not in unseen


def test_an_example_of_kind_vqa_is_graded_without_trimmings(tmp_path: Path) -> None:
    row = {**ROW, "answer": "2 dogs"}
    (vqa,) = load(written(tmp_path, row)).examples
    (exact,) = load(written(tmp_path, {**row, "kind": "exact"})).examples
    said = "The two dogs."
    assert grade(vqa, said).status == "correct"
    assert grade(exact, said).status == "wrong"
    assert grade(exact, said, grader="vqa").status == "correct"
    assert grade(vqa, said, grader="exact").status == "wrong"
    assert vqa.id != exact.id


def test_ids_of_examples_without_images_are_what_they_were(tmp_path: Path) -> None:
    """A run that began before goes on: its data is known by these."""
    (found,) = load(written(tmp_path, {"question": "What is 1 + 1?", "answer": "2"})).examples
    assert found == Example(
        id="0ac49ae78845ab73", question="What is 1 + 1?", references=("2",), kind="numeric"
    )
