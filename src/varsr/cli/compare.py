"""varsr compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from varsr.cli import options as cli

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsr.comparison.layers import Comparison

SHEETS = (".png", ".jpg", ".jpeg", ".webp")

Images = Annotated[
    list[Path],
    typer.Argument(help="Images of the same, or folders of them; the others are compared with the first.",
                   show_default=False),
]  # fmt: skip
Output = Annotated[
    Path,
    typer.Option("--output", "-o", help="A page, .html, or a contact sheet, .png, .jpg or .webp."),
]
ReferenceImage = Annotated[
    Path | None, typer.Option("--reference", help="Ground truth, an image or a folder: adds measures.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", help="Name of an image or folder; repeat in their order.")]
CropText = Annotated[
    str | None,
    typer.Option("--crop", metavar="X,Y,W,H", help="Part that a sheet shows.", show_default="where they differ most"),
]


def compare(
    images: Images,
    output: Output = Path("compare.html"),
    reference: ReferenceImage = None,
    label: Labels = None,
    crop: CropText = None,
    overwrite: cli.Overwrite = False,
    quiet: cli.Quiet = False,
    debug: cli.Debug = False,
    config: cli.Config = None,
    settings: cli.SettingsName = None,
) -> None:
    """Look at images side by side: in a page with a divider, or on a contact sheet. Prints its path.

    varsr compare photo.jpg photo_x4.jpg

    varsr compare album/ large/ -o album.html

    varsr compare photo.jpg photo_x4.jpg -o sheet.png
    """
    from varsr.cli.arguments import PAGES, writing
    from varsr.cli.console import in_words, messages
    from varsr.cli.report import SOME_FAILED
    from varsr.comparison.page import write_page
    from varsr.comparison.sheet import Crop, write_sheet
    from varsr.errors import RequestError
    from varsr.jobs.preflight import check_target

    suffix = output.suffix.lower()
    if suffix not in (*PAGES, *SHEETS):
        raise RequestError(f"{output} is neither a page nor a sheet.", f"Use one of {', '.join((*PAGES, *SHEETS))}.")
    if crop and suffix in PAGES:
        raise RequestError("A page shows images whole.", "Leave out `crop`, or make a sheet.")
    part = Crop.parse(crop) if crop else None
    check_target(output, overwrite)
    comparisons = _comparisons(images, label or [], reference)
    with writing(output):
        left_out = write_page(comparisons, output) if suffix in PAGES else write_sheet(comparisons, output, part)
    for error in left_out:
        messages.complain(in_words(error))
    print(output)
    raise typer.Exit(SOME_FAILED if left_out else 0)


def _comparisons(images: Sequence[Path], labels: Sequence[str], reference: Path | None) -> list[Comparison]:
    """The comparisons of files or of folders. Raises `RequestError` where they are mixed or too few."""
    from varsr.cli.console import messages
    from varsr.comparison.layers import of_files, of_folders
    from varsr.comparison.references import with_references
    from varsr.errors import RequestError

    if len(images) < 2:
        raise RequestError("One image has nothing to be compared with.", "Name two or more.")
    if labels and len(labels) != len(images):
        raise RequestError(f"{len(images)} images have {len(labels)} labels.", "Give `label` once for each, or never.")
    folders = [path.is_dir() for path in images]
    if any(folders) != all(folders):
        raise RequestError("Files and folders cannot be compared with each other.", "Name files, or folders.")
    names = list(labels) or [path.name or str(path) for path in images]
    comparisons, unmatched = of_folders(images, names) if all(folders) else (of_files(images, names), [])
    for path in unmatched:
        messages.say(f"{path} is left out: it has no partner of its name.")
    return with_references(comparisons, reference) if reference else comparisons
