"""Images in a real PostgreSQL, and who shows them."""

from __future__ import annotations

import pytest

from tests.unit.workers.test_image_retention import ImagesContract

pytestmark = pytest.mark.postgres


class TestImagesOnPostgres(ImagesContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
