"""The application: the API, the page and its files, and errors as answers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from varsr import __version__
from varsr.errors import VarsrError, as_varsr_error
from varsr.web.api import Api, Server, answer, metrics_of
from varsr.web.docs import docs_router
from varsr.web.guard import Guard

_REASONS = {404: "There is nothing here.", 405: "This is not done here."}
_STATIC = {
    "index.html": ("varsr.web.static", "text/html; charset=utf-8"),
    "app.js": ("varsr.web.static", "text/javascript; charset=utf-8"),
    "app.css": ("varsr.web.static", "text/css; charset=utf-8"),
    "viewer.js": ("varsr.comparison.assets", "text/javascript; charset=utf-8"),
    "viewer.css": ("varsr.comparison.assets", "text/css; charset=utf-8"),
}
"""The page's files: the packages that hold them, and their media types."""


def create_app(server: Server, hosts: Sequence[str], token: str | None, root_path: str = "") -> ASGIApp:
    """The application of a server that answers to `hosts`, and with a `token` only to whoever has it."""
    app = FastAPI(title="varsr", version=__version__, docs_url=None, redoc_url=None, root_path=root_path)
    app.openapi_version = "3.0.3"  # the newest that Swagger UI's package knows
    app.include_router(Api(server).router(), prefix="/api/v1")
    app.include_router(docs_router())

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _static("index.html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        return _static(name) if name in _STATIC else JSONResponse({"error": _REASONS[404]}, 404)

    @app.get("/healthz", summary="Whether the server answers.")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return metrics_of(server)

    @app.exception_handler(VarsrError)
    def refused(_: Request, error: VarsrError) -> Response:
        return answer(error)

    @app.exception_handler(HTTPException)
    def not_there(_: Request, error: HTTPException) -> Response:
        reason = _REASONS.get(error.status_code, str(error.detail))
        return JSONResponse({"error": reason, "advice": "See /docs."}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, __: RequestValidationError) -> Response:
        return JSONResponse({"error": "The request is not understood.", "advice": "See /openapi.json."}, 422)

    @app.exception_handler(Exception)
    def unforeseen(_: Request, error: Exception) -> Response:
        return answer(as_varsr_error(error))

    return Guard(app, hosts, token, root_path)  # around all, so that answers to what is unforeseen have its headers too


def _static(name: str) -> Response:
    package, media_type = _STATIC[name]
    return Response(files(package).joinpath(name).read_bytes(), media_type=media_type)
