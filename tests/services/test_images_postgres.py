"""Images in a real PostgreSQL, and who shows them."""

from __future__ import annotations

import pytest

from tests.unit.test_image_removal import ImagesContract

pytestmark = pytest.mark.postgres


class TestImagesOnPostgres(ImagesContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
