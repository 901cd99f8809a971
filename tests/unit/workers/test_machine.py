import os
import platform

from colm.workers.evaluator.report import described


def test_a_report_names_the_hardware_and_not_the_host() -> None:
    told = described()
    assert f"{os.cpu_count()} cores" in told
    assert platform.node() not in told.split(", ")
