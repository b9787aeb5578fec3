"""How an answer goes out, by its size."""

from __future__ import annotations

import pytest

from asyouwere.service.http.responses import ApiResponse, to_response

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("size", [1, 2 * MEBIBYTE, 30 * MEBIBYTE])
def test_to_response__states_the_length(size: int) -> None:
    answer = ApiResponse((b"x" * size,))
    assert to_response(answer, {}).headers["content-length"] == str(size)


def test_to_response__states_no_length_that_cloud_run_would_refuse() -> None:
    answer = ApiResponse((b"x" * 30 * MEBIBYTE, b"x"))
    assert "content-length" not in to_response(answer, {}).headers
