"""The `gnomon` command: the same verbs as the Python client, for people and scripts.

Exit codes: 0 done, 1 the work failed, 2 wrong input, 3 unavailable (repeat later), 130 interrupted.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the console script's entry."""
    from gnomon.cli.app import app
    from gnomon.cli.output import show_error
    from gnomon.errors import GnomonError

    try:
        app(prog_name="gnomon")
    except GnomonError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was asked for goes on in the platform\n")
        sys.exit(130)
