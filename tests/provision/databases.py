"""Fresh databases on a PostgreSQL server, copied from a migrated template."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator

import psycopg2
from psycopg2 import sql
from sqlalchemy import make_url

from tests.provision.postgres import plain


class Databases:
    """Makes and drops databases on the server that `admin_url` leads to.

    `migrate` is run once, on a template, when it is first needed: a fresh database costs tens of
    milliseconds and not a run of all migrations.
    """

    def __init__(self, admin_url: str, migrate: Callable[[str], None]) -> None:
        self._admin_url = admin_url
        self._migrate = migrate
        self._template: str | None = None

    @contextlib.contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a database without any table, dropped at the end."""
        name = self._create("template0")
        try:
            yield self._url(name)
        finally:
            self._drop(name)

    @contextlib.contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a database with the newest tables, all empty, dropped at the end."""
        if self._template is None:
            template = self._create("template0")
            self._migrate(self._url(template))
            self._template = template
        name = self._create(self._template)
        try:
            yield self._url(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        if self._template is not None:
            self._drop(self._template)
            self._template = None

    def _create(self, template: str) -> str:
        name = f"colm_test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def _drop(self, name: str) -> None:
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        connection = psycopg2.connect(plain(self._admin_url))
        try:
            connection.autocommit = True  # a database is not made inside a transaction
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        finally:
            connection.close()

    def _url(self, name: str) -> str:
        return make_url(self._admin_url).set(database=name).render_as_string(hide_password=False)
