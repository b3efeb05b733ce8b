"""The API's documentation: Swagger UI from its package, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import swagger_ui_bundle
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

_FILES = ("swagger-ui.css", "swagger-ui-bundle.js")
_POLICY = (  # Swagger UI styles its elements one by one, and has its icons in data addresses
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>varsr API</title>
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="icon" href="data:,"></head>
<body><div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body>
</html>
"""
_START = 'SwaggerUIBundle({ url: "openapi.json", dom_id: "#ui", validatorUrl: null });\n'
PARAMETERS: dict[str, tuple[str, str]] = {
    "name": ("string", "Name of the file, for the result's name."),
    "scale": ("number", "Scale factor, 1 to 8; 4 without any size."),
    "width": ("integer", "Width of the result in pixels."),
    "height": ("integer", "Height of the result in pixels."),
    "longest": ("integer", "Longer side of the result in pixels."),
    "megapixels": ("number", "Area of the result."),
    "format": ("string", "Format of the result; without it the Accept header chooses, else it is the input's."),
    "quality": ("integer", "Quality of lossy formats, 1 to 100."),
    "lossless": ("boolean", "Write without loss, where the format can."),
    "model": ("string", "A model that GET models lists."),
    "realism": ("number", "0 is faithful, 1 realistic."),
    "seed": ("integer", "Random seed."),
}
"""Parameters of a request with an image: in the query, or fields of a form."""


def image_input() -> dict[str, Any]:
    """The OpenAPI description of a request with an image."""
    properties = {name: {"type": kind, "description": text} for name, (kind, text) in PARAMETERS.items()}
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": binary, **properties}, "required": ["file"]}
    return {
        "parameters": [
            {"in": "query", "name": name, "schema": {"type": kind}, "description": text}
            for name, (kind, text) in PARAMETERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": binary},
                "application/octet-stream": {"schema": binary},
            },
        },
    }


def docs_router() -> APIRouter:
    """The routes of the page."""
    router = APIRouter(include_in_schema=False)
    folder = Path(swagger_ui_bundle.swagger_ui_path)

    @router.get("/docs")
    def page() -> Response:
        return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})

    @router.get("/docs/{name}")
    def file(name: str) -> Response:
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        return FileResponse(folder / name) if name in _FILES else JSONResponse({"error": "There is nothing here."}, 404)

    return router
