"""The plan of very many objects, whose listings are made up: seconds and memory of planning alone.

python -m benchmarks.plan 10000000
"""

from __future__ import annotations

import argparse
import resource
import time
from unittest import mock

from varsr.images.size import target_size
from varsr.jobs.naming import Naming, naming_values
from varsr.jobs.plan import Plan, Source
from varsr.storage import objects
from varsr.storage.address import Remote, place_of

A_FOLDER = 10_000
"""Objects of each folder."""


def main() -> None:
    """Plan, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("objects", type=int)
    count: int = parser.parse_args().objects
    folders = [f"{number:06}" for number in range(-(-count // A_FOLDER))]
    names = [f"{number:06}.jpg" for number in range(A_FOLDER)]

    def listed(folder: Remote) -> tuple[list[str], list[str]]:
        return ([], folders) if folder.key.rstrip("/") == "in" else (names, [])

    began, planned, first = time.monotonic(), 0, 0.0
    naming = Naming(folder=place_of("s3://photos/out"))
    with mock.patch.object(objects, "listed", listed):
        plan = Plan([Source(Remote("s3", "photos", "in/"))], True, naming, naming_values(target_size(), "mini"))
        for job in plan:
            planned += job.problem is None
            first = first or time.monotonic() - began
    seconds = time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{planned:,} objects: the first after {first:.2f} s, all after {seconds:.0f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
