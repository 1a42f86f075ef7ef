"""Make an app file the platform's desired state.

    ray job submit --working-dir . -- python jobs/apply.py APP_FILE

Paths of sources are then relative to the folder of the app file on the cluster.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import gnomon
from gnomon.errors import GnomonError


def main() -> int:
    """Apply the file, print the plan as JSON; return the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("app_file", type=Path, help="Python file with definitions")
    given = arguments.parse_args()
    try:
        with gnomon.connect() as client:
            result = client.apply(given.app_file)
    except GnomonError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
