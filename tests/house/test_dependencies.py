"""What CoLM needs is bounded for its users and pinned for its tests."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.repository import ROOT, setup_cfg


def _requirements() -> Iterator[Requirement]:
    cfg = setup_cfg()
    texts = [cfg["options"]["install_requires"], *cfg["options.extras_require"].values()]
    for text in texts:
        yield from map(Requirement, text.split("\n")[1:])


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line.partition("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(package): version for package, _, version in pinned}


@pytest.mark.parametrize(
    "requirement", list(_requirements()), ids=lambda requirement: requirement.name
)
def test_a_dependency_is_bounded_on_both_sides_and_pinned_within(requirement: Requirement) -> None:
    operators = {bound.operator for bound in requirement.specifier}
    assert operators == {">=", "<"}
    assert requirement.specifier.contains(_pins()[canonicalize_name(requirement.name)])


def test_every_pin_is_exact() -> None:
    for package, version in _pins().items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), package


def test_no_pin_names_a_library_of_cuda() -> None:
    # torch names the versions that it was built with; other pins would break its other builds.
    assert [pin for pin in _pins() if pin.startswith(("nvidia-", "cuda-", "triton"))] == []
