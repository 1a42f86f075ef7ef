"""The body of the files in `jobs/`: ask for an operation from inside a Ray job, follow it, report it."""

from __future__ import annotations

import argparse
import json
import sys

import gnomon
from gnomon.errors import GnomonError


def operation_job(kind: str, target: str, description: str) -> int:
    """Run an operation for the name given on the command line.

    Args:
        kind: Kind of the operation.
        target: What the name is a name of.
        description: For `--help`.

    Returns:
        The exit status: 0, or that of the error, which goes to standard error. The result goes to standard output as
        JSON.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help=f"name of the {target}")
    parser.add_argument("--id", help="identity of the operation; submitted again it is followed, not repeated")
    given = parser.parse_args()
    try:
        with gnomon.connect() as client:
            operation = client.operations.submit(kind, given.name, operation_id=given.id)
            result = client.operations.wait(
                operation, on_progress=lambda o: print(o["state"], o["progress"], flush=True)
            )
    except GnomonError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result))
    return 0
