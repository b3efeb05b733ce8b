"""The API: jobs of images, their progress and results, models, health and metrics."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.background import BackgroundTask

from varsr import __version__
from varsr.errors import InputError, OutputError, RequestError, TooLittleMemoryError, VarsrError
from varsr.images.size import width_and_height
from varsr.web.body import BodyError, read_body
from varsr.web.decoder import Decoder
from varsr.web.docs import image_input
from varsr.web.limits import Limits
from varsr.web.queue import Job, Queue, QueueFullError, result_of
from varsr.web.spool import Spool
from varsr.web.wishes import MEDIA_TYPES, result_name, wish_of, with_raw_suffix

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_UNTIL_SIGN = 15.0
_RETRY_SECONDS = "10"


@dataclass(frozen=True)
class Server:
    """Everything that requests are answered with."""

    queue: Queue
    spool: Spool
    decoder: Decoder
    limits: Limits
    models: list[str]
    default_model: str


class NotFoundError(RequestError):
    """A job that there is not, or not any more."""


def status_of(error: VarsrError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, BodyError):
        return error.status
    kinds = {NotFoundError: 404, QueueFullError: 503, RequestError: 422, InputError: 422, OutputError: 410,
             TooLittleMemoryError: 507}  # fmt: skip
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 500)


def answer(error: VarsrError) -> Response:
    """The answer that an error is."""
    status = status_of(error)
    headers = {"retry-after": _RETRY_SECONDS} if status == 503 else None
    return JSONResponse({"error": str(error), "advice": error.advice.replace("`", "")}, status, headers)


def described(job: Job) -> dict[str, Any]:
    """A job as clients see it."""
    progress = job.progress
    return {
        "id": job.id,
        "name": job.wish.name,
        "state": job.state,
        "progress": round(progress.done / progress.total, 4) if progress and progress.total else 0.0,
        "activity": progress.activity if progress else None,
        "tiles": progress.tiles if progress else None,
        "input_size": width_and_height(job.size),
        "output_size": width_and_height(job.target_size),
        "model": job.wish.model,
        "format": job.wish.format.name.lower(),
        "result_name": result_name(job.wish),
        "error": str(job.error) if job.error else None,
        "advice": job.error.advice.replace("`", "") if job.error else None,
    }


class Api:
    """The answers to requests below /api/v1."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def router(self) -> APIRouter:
        """The routes."""
        router, image = APIRouter(), image_input()
        add = router.add_api_route
        add("/upscale", self.upscale, methods=["POST"], openapi_extra=image, response_class=Response)
        add("/jobs", self.add, methods=["POST"], openapi_extra=image, status_code=202)
        add("/jobs", self.jobs, methods=["GET"])
        add("/jobs/{job_id}", self.job, methods=["GET"])
        add("/jobs/{job_id}", self.delete, methods=["DELETE"], status_code=204)
        add("/jobs/{job_id}/events", self.events, methods=["GET"], response_class=StreamingResponse)
        add("/jobs/{job_id}/result", self.result, methods=["GET"], response_class=FileResponse)
        add("/jobs/{job_id}/{which}.jpg", self.preview, methods=["GET"], response_class=FileResponse)
        add("/results.zip", self.archive, methods=["GET"], response_class=StreamingResponse)
        add("/models", self.models, methods=["GET"])
        return router

    async def upscale(self, request: Request) -> Response:
        """Upscale an image; the answer is the result. The job ends when the client goes away."""
        queue, job = self._server.queue, await self._taken(request)
        while not job.ended:
            if await request.is_disconnected():
                queue.delete(job)
                return Response(status_code=499)
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS / 2)
        if job.state == "cancelled":
            raise QueueFullError
        if job.error is not None:
            queue.delete(job)
            raise job.error
        return _file(job, BackgroundTask(queue.delete, job))

    async def add(self, request: Request) -> Response:
        """Add an image to the queue."""
        job = await self._taken(request)
        return JSONResponse(described(job), 202, {"location": f"jobs/{job.id}"})

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, the oldest first."""
        return [described(job) for job in self._server.queue.jobs()]

    def job(self, job_id: str) -> dict[str, Any]:
        """A job and how far it is."""
        return described(self._known(job_id))

    def delete(self, job_id: str) -> Response:
        """Cancel a job, or forget one that has ended."""
        self._server.queue.delete(self._known(job_id))
        return Response(status_code=204)

    def events(self, job_id: str, request: Request) -> Response:
        """The progress of a job as server-sent events."""
        return StreamingResponse(_events(self._known(job_id), request), media_type="text/event-stream")

    def result(self, job_id: str) -> Response:
        """The result of a job that is done."""
        job = self._known(job_id)
        if job.error is not None:
            raise job.error
        if not job.ended:
            return JSONResponse({"error": "The job is not done yet.", "advice": "Ask again later."}, 409)
        return _file(job)

    def preview(self, job_id: str, which: str) -> Response:
        """A preview of the input, `before`, or of the result, `after`."""
        path = self._server.spool.path(f"{self._known(job_id).id}-{which}.jpg")
        if which not in ("before", "after") or not path.exists():
            raise NotFoundError("This preview does not exist.", "Wait until the job is done.")
        return FileResponse(path, media_type="image/jpeg")

    def archive(self) -> Response:
        """The results of all jobs that are done, in one archive."""
        path = self._server.spool.path(f"{self._server.queue.new_id()}.zip")
        _write_archive(path, [job for job in self._server.queue.jobs() if job.state == "done"])
        headers = {"content-disposition": 'attachment; filename="varsr.zip"'}
        return StreamingResponse(_read_and_forget(path), media_type="application/zip", headers=headers)

    def models(self) -> dict[str, Any]:
        """The models that may be asked for."""
        return {"default": self._server.default_model, "models": self._server.models, "version": __version__}

    async def _taken(self, request: Request) -> Job:
        """The job of a request with an image. Raises `VarsrError`."""
        server = self._server
        if server.queue.is_full:  # before a body is read
            raise QueueFullError
        job_id = server.queue.new_id()
        body = await read_body(request, server.spool.path(f"{job_id}-input"), server.limits)
        try:
            given = {**dict(request.query_params), **body.fields}
            name = given.get("name") or body.name or "image"
            wish = wish_of(given, request.headers.get("accept", ""), name, server.models, server.default_model)
            source = with_raw_suffix(body.path, name)
            header = await run_in_threadpool(server.decoder.header, source)
            wish.size.of(header.size)  # raises for a size that cannot be
            job = Job(job_id, wish, source, header.images * header.size[0] * header.size[1])
            server.queue.add(job)
        except BaseException:
            server.spool.forget(job_id)
            raise
        return job

    def _known(self, job_id: str) -> Job:
        job = self._server.queue.get(job_id)
        if job is None:
            raise NotFoundError("There are no such jobs here.", "It may have expired.")
        return job


def _file(job: Job, after: BackgroundTask | None = None) -> Response:
    kind = MEDIA_TYPES[job.wish.format.name]
    return FileResponse(result_of(job), media_type=kind, filename=result_name(job.wish), background=after)


def metrics_of(server: Server) -> Response:
    """Prometheus's text: jobs by what became of them, those that wait, and the seconds spent on them."""
    counts = server.queue.counts
    lines = ["# TYPE varsr_jobs_total counter"]
    lines += [f'varsr_jobs_total{{state="{state}"}} {counts[state]}' for state in ("done", "failed", "cancelled")]
    lines += ["# TYPE varsr_jobs_waiting gauge", f"varsr_jobs_waiting {server.queue.waiting}"]
    lines += ["# TYPE varsr_job_seconds_total counter", f"varsr_job_seconds_total {server.queue.seconds:.3f}"]
    lines += ["# TYPE varsr_model_loaded gauge", f"varsr_model_loaded {int(server.queue.model is not None)}"]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


async def _events(job: Job, request: Request) -> AsyncIterator[str]:
    """An event whenever something of a job has changed, until it has ended."""
    last, silent = "", 0.0
    while not await request.is_disconnected():
        text = json.dumps(described(job))
        if text != last:
            yield f"data: {text}\n\n"
            last, silent = text, 0.0
        if job.ended:
            return
        if silent > _SECONDS_UNTIL_SIGN:
            yield ": waiting\n\n"
            silent = 0.0
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        silent += _SECONDS_BETWEEN_LOOKS


def _write_archive(path: Path, jobs: list[Job]) -> None:
    names: dict[str, int] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for job in jobs:
            name = result_name(job.wish)
            names[name] = names.get(name, 0) + 1
            if names[name] > 1:
                stem, dot, suffix = name.rpartition(".")
                name = f"{stem}-{names[name]}{dot}{suffix}"
            archive.write(result_of(job), name)


def _read_and_forget(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
    finally:
        path.unlink(missing_ok=True)
