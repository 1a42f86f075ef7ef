"""Train a model on what is known now, and register the version.

    ray job submit --working-dir . -- python jobs/train.py NAME [--id ID]

First `eval "$(gnomon env)"`; the job's driver finds the platform by the environment that the cluster gives it.
"""

import sys

from gnomon.cli.operation_job import operation_job

if __name__ == "__main__":
    sys.exit(operation_job("train", "model", str(__doc__)))
