"""A question about an image, by real processes and a real model that sees (random weights)."""

from __future__ import annotations

import json
import socket

import pytest

from tests.journeys.site import Site
from tests.unit.engines_seeing import name_of, picture, save_seeing_model

SCRIPTED = 'kind = "scripted"\nreply = "client says: {last}"\ndelay = 0'
PARTICIPANT = """
sees = true
[clients.{name}.sampling]
max_new_tokens = 12
[clients.{name}.engine]
model = "{folder}"
device = "cpu"
dtype = "float32"
threads = 1
"""


def configure(site: Site) -> None:
    """ada and bo see with one model; cy reads what they saw."""
    folder = save_seeing_model(site.folder / "model")
    site.configure("ada", "bo", "cy", draft=60.0, refine=60.0, query=120.0)
    config = site.folder / "colm.toml"
    text = config.read_text()
    for name in ("ada", "bo"):
        scripted = f"[clients.{name}.engine]\n{SCRIPTED}\n"
        assert scripted in text
        text = text.replace(scripted, PARTICIPANT.format(name=name, folder=folder))
    text = text.replace(
        'persona = "You are cy."', 'persona = "You are cy."\nreads_descriptions = true'
    )
    config.write_text(text)


def serve_images(site: Site, keep: str) -> str:
    """Have the site keep its images in `colm images`; the server's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = site.folder / "images.secret"
    secret.write_bytes(b"0123456789abcdef" * 2)
    url = f"http://127.0.0.1:{port}"
    with (site.folder / "colm.toml").open("a") as config:
        config.write(f'\n[images]\nurl = "{url}"\nkeep = "{keep}"\nsecret_file = "{secret}"\n')
    site.start("images", "--port", str(port), known_as="images")
    return url


@pytest.mark.transport
def test_an_image_is_asked_about_and_recorded_by_its_name(site: Site) -> None:
    rabbitmq = not site.broker.startswith("redis")
    configure(site)
    url = serve_images(site, "database") if rabbitmq else None
    site.start("coordinator")
    site.start("server", "main")
    site.start("client", "ada", "bo")
    site.start("client", "cy")
    log = site.folder / "coordinator.log"
    site.wait_until(lambda: "ready." in log.read_text())

    sign = site.folder / "sign.png"
    sign.write_bytes(picture(2))
    answer = site.ask("What does it say?", {"rounds": 1, "images": [str(sign)]}, timeout=120)

    assert answer["status"] == "answered"
    assert {n: c["status"] for n, c in answer["clients"].items()} == dict.fromkeys(
        ("ada", "bo", "cy"), "refined"
    )
    life = site.colm("show", answer["query_id"], "--json")
    assert name_of(picture(2)) in life
    by_command = json.loads(
        site.colm("ask", "And now?", "--image", str(sign), "-o", "rounds=1", "--json", timeout=120)
    )
    assert by_command["status"] == "answered"
    if url is not None:
        assert not (site.folder / "home" / "images").exists()

    asked = ("--by", "its caller", "--reason", "asked")
    shared = site.colm("erase", answer["query_id"], *asked)
    assert "1 images stay: other queries refer to them" in shared
    assert "removed 0 images" in site.colm("erase", by_command["query_id"], *asked)  # put just now

    name, told = site.error_of(f"ask.delay('What?', images=[{str(site.folder / 'no.png')!r}])")
    assert name == "InvalidAsk"
    assert "cannot be read" in told
