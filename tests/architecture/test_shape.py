"""The house rules as tests: floors, sizes, names, the weight of an import, and the `platform/` trap."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "platform" / "gnomon"
SOURCES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 300
MOST_FUNCTION_LINES = 70
MOST_PUBLIC_METHODS = 18
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "core"}
HEAVY = {"ray", "torch", "redis", "pyarrow", "polars", "pandas", "numpy", "deltalake", "sqlalchemy", "fastapi", "httpx"}


def test_platform_folder_is_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists(), "it would shadow Python's own `platform` in every worker"


def test_stdlib_platform_still_resolves_from_the_root() -> None:
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3.")


def test_top_level_folders() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = listed.stdout.split("\n")
    folders = {path.split("/")[0] for path in tracked if "/" in path}
    allowed = {"platform", "jobs", "serve_apps", "cluster_configs", "tests"}
    assert {folder for folder in folders if not folder.startswith(".")} <= allowed


def test_floors() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_shape(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES, "ask which two nouns it holds"
    assert path.stem not in VAGUE
    tree = ast.parse(text)
    if text.strip() and path.name != "__init__.py":
        assert ast.get_docstring(tree), "say what the module does and who calls it"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= MOST_FUNCTION_LINES, node.name
        if isinstance(node, ast.ClassDef) and not node.name.endswith("Contract"):  # a suite is a list of tests
            public = [n for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
            assert len(public) <= MOST_PUBLIC_METHODS, node.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_settings_reads_the_environment(path: Path) -> None:
    if path.name == "settings.py" or "testing" in path.parts or "examples" in path.parts:
        return
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript | ast.Attribute)
        and ast.unparse(node).startswith(("os.environ[", "os.environ.get", "os.getenv"))
        and isinstance(getattr(node, "ctx", None), ast.Load)
    ]
    assert not reads, f"lines {reads}: settings.py alone reads the environment"


@pytest.mark.parametrize("module", ["gnomon", "gnomon.client", "gnomon.cli.app"])
def test_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    heavy = HEAVY - ({"httpx"} if module != "gnomon" else set())
    assert not loaded & heavy


@pytest.mark.parametrize("path", sorted([*(ROOT / "jobs").glob("*.py"), *(ROOT / "serve_apps").glob("*.py")]), ids=str)
def test_edges_are_thin(path: Path) -> None:
    assert path.read_text().count("\n") <= 60
