"""What is no repository, or one whose files fail: each ends in a message that says where and what."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.feast_repositories import PLAIN, imported, make_repository

import gnomon as gn
from gnomon.errors import GnomonError, InvalidDefinition, InvalidInput, NotFound
from gnomon.importing.importer import import_feast
from gnomon.importing.repositories import open_repository


def refusal(repository: Path, time_limit_s: float = 60.0) -> GnomonError:
    with pytest.raises(GnomonError) as caught:
        import_feast(repository, repository.parent, time_limit_s)
    return caught.value


def test_no_folder_and_no_repository(tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path / "nowhere"), NotFound)
    make_repository(tmp_path / "project" / "feature_repo", {"a.py": PLAIN})
    error = refusal(tmp_path / "project")
    assert isinstance(error, NotFound)
    assert "no feature_store.yaml" in error.message
    assert error.hint == f"did you mean '{tmp_path / 'project' / 'feature_repo'}'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no mapping"), ("- a\n- b", "no mapping"), ("provider: local", "names no project"), ("a: [", "no YAML")],
)
def test_settings_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    error = refusal(make_repository(tmp_path / "repo", {"feature_store.yaml": text, "a.py": PLAIN}))
    assert isinstance(error, InvalidInput)
    assert message in error.message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('no such shop')", "line 2: ValueError: no such shop"),
        ("import sys\nsys.exit(3)", "line 3: SystemExit: 3"),
        ("def broken(:\n", "line 2: SyntaxError: invalid syntax"),
        ("from lost import something", "line 2: ModuleNotFoundError: No module named 'lost'"),
        ("import helper", "helper.py, line 1: ZeroDivisionError: division by zero"),
        ("import os\nos._exit(9)", "ended with status 9"),
        ("FeatureView(name=", "line 2: SyntaxError: '(' was never closed"),
    ],
)
def test_a_file_that_fails(code: str, message: str, tmp_path: Path) -> None:
    files = {"a.py": "from feast import *\n" + code, "helper.py": "1 / 0\n"}
    error = refusal(make_repository(tmp_path / "repo", files))
    assert isinstance(error, InvalidDefinition)
    assert message in error.message
    if "lost" in code:
        assert error.hint == "install 'lost' where gnomon runs, or name the file in .feastignore"


def test_a_file_that_does_not_end(tmp_path: Path) -> None:
    error = refusal(make_repository(tmp_path / "repo", {"a.py": "while True:\n    pass\n"}), time_limit_s=1.5)
    assert isinstance(error, InvalidDefinition)
    assert "were not done after 1.5 s" in error.message


def test_two_of_one_name(tmp_path: Path) -> None:
    again = 'from feast import FileSource\nother = FileSource(name="stats", path="b.parquet", timestamp_field="at")\n'
    error = refusal(make_repository(tmp_path / "repo", {"a.py": PLAIN, "b.py": again}))
    assert isinstance(error, InvalidDefinition)
    assert error.message == "b.py, line 2: FileSource 'stats' is defined a second time; the first is in a.py, line 7"


def test_an_entity_that_two_files_define_alike_is_one(tmp_path: Path) -> None:
    again = 'from feast import Entity\ndriver = Entity(name="driver", join_keys=["{key}"])\n'
    repository = make_repository(tmp_path / "repo", {"a.py": PLAIN, "b.py": again.format(key="driver_id")})
    found, app = imported(repository, tmp_path / "app.py")
    assert ([e.name for e in app.all(gn.Entity)], len(found.findings.imported)) == (["driver"], 4)
    (repository / "b.py").write_text(again.format(key="id"))
    assert "entity 'driver' is defined a second time" in refusal(repository).message


def test_an_object_that_two_files_import_is_one(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo", {"a.py": PLAIN, "b.py": "from a import driver, view\n"})
    found, _ = imported(repository, tmp_path / "app.py")
    assert [each.name for each in found.findings.imported] == ["driver", "view", "stats"]


def test_paths_that_lead_outside(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo", {"a.py": PLAIN, ".feastignore": "/etc\n"})
    assert "pattern '/etc' cannot be used" in refusal(repository).message
    (repository / ".feastignore").unlink()
    (tmp_path / "secret.py").write_text("raise RuntimeError('was run')\n")
    (repository / "link.py").symlink_to(tmp_path / "secret.py")
    error = refusal(repository)
    assert isinstance(error, InvalidInput)
    assert "outside of the repository" in error.message
    (repository / ".feastignore").write_text("link.py  # not ours\n")
    assert open_repository(repository).files == ("a.py",)


def test_names_of_files(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo", {"my-views.py": PLAIN})
    assert "'my-views.py' cannot be imported" in refusal(repository).message
    repository = make_repository(tmp_path / "empty", {"__init__.py": "", "old.py": "", ".feastignore": "old.py"})
    assert "has no Python file" in refusal(repository).message


def test_a_file_that_is_named_like_a_module_is_run_all_the_same(tmp_path: Path) -> None:
    """Python's modules, our own, installed ones and Feast's: what such a file defines is there."""
    names = ("types", "profile", "calendar", "gnomon", "yaml", "feast", "__main__", "platform/x", "json/tool", "a/b")
    files = {f"{name}.py": f"import feast\ne = feast.Entity(name='of_{n}')\n" for n, name in enumerate(names)}
    files["calendar.py"] += "import dataclasses\n@dataclasses.dataclass\nclass Day:\n    n: 'int' = 0\n"
    repository = make_repository(tmp_path / "repo", {"a.py": PLAIN, **files})
    found, app = imported(repository, tmp_path / "app.py")
    assert {e.name for e in app.all(gn.Entity)} == {"driver", *(f"of_{n}" for n in range(len(names)))}
    assert len(found.findings.imported) == 3 + len(names)
    (repository / "platform" / "__init__.py").write_text("import lost\n")
    (repository / "own").mkdir()
    (repository / "own" / "__init__.py").write_text("import lost\n")
    (repository / "own" / "views.py").write_text("")
    assert "own/__init__.py, line 1: ModuleNotFoundError: No module named 'lost'" in refusal(repository).message


def test_a_repository_cannot_take_the_place_of_pythons_modules(tmp_path: Path) -> None:
    """Files that are named like modules of Python's or of ours do no harm to the import itself."""
    files = {"a.py": PLAIN, "json.py": "1 / 0\n", "gnomon.py": "1 / 0\n", ".feastignore": "json.py\ngnomon.py\n"}
    _, app = imported(make_repository(tmp_path / "repo", files), tmp_path / "app.py")
    assert app.all(gn.FeatureView)


def test_nothing_is_written_into_the_repository(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo", {"a.py": PLAIN, "b.py": "import a\nprint('hello')\n"})
    before = sorted(repository.rglob("*"))
    imported(repository, tmp_path / "app.py")
    assert sorted(repository.rglob("*")) == before
