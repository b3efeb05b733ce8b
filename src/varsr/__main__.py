"""The program's entry, as `varsr` and as `python -m varsr`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. An interruption while its libraries are still being imported is not an error either."""
    try:
        from varsr.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
