"""An import left out fails for its importer alone; Ray's processes do without what we leave out of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from gnomon.runtime import lean_worker
from gnomon.runtime.lean_ray import lean_command


def in_new_process(code: str, folder: Path) -> dict[str, object]:
    ended = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert isinstance(found, dict)
    return found


def test_only_the_named_importer_goes_without(tmp_path: Path) -> None:
    (tmp_path / "wanted.py").write_text("value = 1\n")
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text("try:\n    import wanted\nexcept ImportError:\n    wanted = None\n")
    found = in_new_process(
        "import json, sys; from gnomon.runtime.optional_imports import leave_out; sys.path.insert(0, '.')\n"
        "leave_out('wanted', importer='first')\n"
        "import first; before = first.wanted is None\n"
        "import second\n"
        "print(json.dumps({'first': before, 'second': second.wanted.value}))",
        tmp_path,
    )
    assert found == {"first": True, "second": 1}


def test_ray_serve_does_without_pandas_and_we_can_still_import_it(tmp_path: Path) -> None:
    found = in_new_process(
        "import json, sys; from gnomon.runtime.optional_imports import leave_out\n"
        f"leave_out('pandas', importer={lean_worker.PANDAS_TRIED_BY!r})\n"
        "import ray.serve; before = 'pandas' in sys.modules\n"
        "import pandas; print(json.dumps({'before': before, 'after': pandas.DataFrame({'a': [1]}).shape}))",
        tmp_path,
    )
    assert found == {"before": False, "after": [1, 1]}


def test_ray_start_does_without_ray_serve(tmp_path: Path) -> None:
    found = in_new_process(
        "import json, sys; from gnomon.runtime.optional_imports import leave_out\n"
        "leave_out('ray.serve', importer='ray.scripts.scripts')\n"
        "import ray.scripts.scripts as s\n"
        "print(json.dumps({'serve': 'ray.serve' in sys.modules, 'start': 'start' in s.cli.commands}))",
        tmp_path,
    )
    assert found == {"serve": False, "start": True}


def test_the_raylet_starts_our_worker_which_names_a_file_that_ray_has() -> None:
    theirs = lean_worker.ray_worker_file()
    assert theirs.is_file()
    command = lean_command(["raylet", f"--python_worker_command=python setup.py {theirs} --more"], "raylet")
    assert command == ["raylet", f"--python_worker_command=python setup.py {lean_worker.__file__} --more"]
    assert lean_command(["gcs"], "gcs_server") == ["gcs"]
