"""The `gnomon` command: the same verbs as the Python client, for people and scripts.

Exit codes: 0 done, 1 the work failed, 2 wrong input, 3 unavailable (repeat later), 130 interrupted.
"""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; the console script's entry."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(_interrupted())


def _run() -> None:
    from gnomon.cli.app import app
    from gnomon.cli.output import show_error
    from gnomon.errors import GnomonError

    try:
        app(prog_name="gnomon")
    except GnomonError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # what typer makes of Ctrl-C
            _interrupted()
        raise


def _interrupted() -> int:
    output = sys.modules.get("gnomon.cli.output")
    told = output.WAITED_FOR[-1:] if output else []
    goes_on = "".join(
        f"; operation {each} goes on: `gnomon operations {each}`, `gnomon cancel {each}`" for each in told
    )
    sys.stderr.write(f"interrupted{goes_on}\n")
    return _INTERRUPTED
