"""The example's site and evaluation are what the product takes, on real images."""

from __future__ import annotations

from pathlib import Path

from colm.evaluation.data.load import load
from colm.models.images import examine
from colm.models.roster import make_request, resolve
from colm.tasks.config.settings import load as load_settings
from colm.tasks.evaluations import ask_options
from examples.vision.run import evaluation_of, write_questions
from examples.vision.site import write_site
from tests.unit.examples import NOW


def test_the_questions_are_drawn_by_a_seed_and_their_images_are_there(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    images = write_questions(path, 40)
    first = path.read_text()
    found = load(str(path), images=str(images))
    assert found.bad == ()
    assert len(found.examples) == 40
    assert {example.grader for example in found.examples} == {"vqa"}
    for example in found.examples:
        (image,) = example.images
        picture = examine(Path(image).read_bytes(), called=image)
        assert (picture.width, picture.height) == (64, 64)
        assert example.cluster == Path(image).stem
    write_questions(path, 40)
    assert path.read_text() == first
    write_questions(path, 40, seed=1)
    assert path.read_text() != first


def test_the_site_can_do_every_entry_of_the_evaluation(tmp_path: Path) -> None:
    config = evaluation_of(tmp_path / "questions.jsonl", tmp_path)
    path = write_site(tmp_path, tmp_path / "client", tmp_path / "server")
    site = load_settings({"COLM_CONFIG": str(path)}, tmp_path)
    assert site.home == tmp_path / "home"
    for entry in config.entries:
        asked = {**ask_options(config, entry.name), "images": ["a" * 64]}
        query = resolve(make_request("what is it?", asked), site.roster, "query-0001", NOW)
        assert query.images == ("a" * 64,)
