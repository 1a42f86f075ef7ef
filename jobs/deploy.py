"""Promote the newest version whose gates hold, and wait until it serves.

    ray job submit --working-dir . -- python jobs/deploy.py NAME [--id ID]

First `eval "$(gnomon env)"`; the job's driver finds the platform by the environment that the cluster gives it.
"""

import sys

from gnomon.cli.operation_job import operation_job

if __name__ == "__main__":
    sys.exit(operation_job("deploy", "deployment", str(__doc__)))
