import pytest

pytest.importorskip("fastapi", reason="needs the extra for the server")
