"""Read new rows of a source into its offline table.

    ray job submit --working-dir . -- python jobs/ingest.py NAME [--id ID]

First `eval "$(gnomon env)"`; the job's driver finds the platform by the environment that the cluster gives it.
"""

import sys

from gnomon.cli.operation_job import operation_job

if __name__ == "__main__":
    sys.exit(operation_job("ingest", "source", str(__doc__)))
