"""The files in `cluster_configs/` hold what Ray accepts, by Ray's own schemas, and nothing that is secret."""

from __future__ import annotations

import ast
import copy
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's imports
    import click
    import jsonschema
    from pydantic import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config
    from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "cluster_configs"
CLUSTERS = [CONFIGS / "local.yaml"]
SERVE = [CONFIGS / "serve_endpoint.yaml"]

Config = dict[str, Any]


def load(path: Path) -> Config:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(config, dict)
    return config


def check_cluster(config: Config) -> Config:
    """Do what `ray up` does before it touches a machine."""
    prepared: Config = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_every_file_is_checked() -> None:
    assert sorted(CONFIGS.glob("*.yaml")) == sorted([*CLUSTERS, *SERVE])


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_ray_up_accepts_the_cluster(path: Path) -> None:
    prepared = check_cluster(load(path))
    assert prepared["max_workers"] == len(prepared["provider"]["worker_ips"])
    start = " ".join(prepared["head_start_ray_commands"])
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start, "without it the launcher starts no workers"


def _unknown_field(config: Config) -> None:
    config["workers"] = 2


def _wrong_type(config: Config) -> None:
    config["worker_start_ray_commands"] = "ray start"


def _no_user(config: Config) -> None:
    config["auth"]["ssh_user"] = None


def _no_head(config: Config) -> None:
    del config["provider"]["head_ip"]


def _node_types(config: Config) -> None:
    config["available_node_types"] = {"head": {"resources": {}}}


def _more_workers_than_allowed(config: Config) -> None:
    config["max_workers"] = 1


@pytest.mark.parametrize(
    "spoil", [_unknown_field, _wrong_type, _no_user, _no_head, _node_types, _more_workers_than_allowed]
)
def test_a_spoiled_cluster_is_refused(spoil: Callable[[Config], None]) -> None:
    config = load(CONFIGS / "local.yaml")
    spoil(config)
    with pytest.raises((jsonschema.ValidationError, click.ClickException, ValueError, SystemExit)):
        check_cluster(config)


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_the_cluster_names_files_of_this_checkout(path: Path) -> None:
    named = set(re.findall(r"~/gnomon/([\w.-]+)", path.read_text(encoding="utf-8")))
    assert named == {".venv", "requirements.lock"}
    assert (ROOT / "requirements.lock").is_file()


@pytest.mark.parametrize("path", [*CLUSTERS, *SERVE], ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"-----BEGIN|[0-9a-fA-F]{32}|://[^\s/:@]+:[^\s@]+@", text)
    assert not re.search(r"(?i)(password|secret|token|api_key)['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9+/_-]{16}", text)


@pytest.mark.parametrize("path", SERVE, ids=lambda path: path.name)
def test_serve_deploy_accepts_the_file(path: Path) -> None:
    config = load(path)
    deployed = ServeDeploySchema.model_validate(config)
    assert config.keys() <= ServeDeploySchema.model_fields.keys(), "Ray passes over names that it does not know"
    for application in config["applications"]:
        assert application.keys() <= ServeApplicationSchema.model_fields.keys()
    assert deployed.http_options.host == "127.0.0.1"
    for application in deployed.applications:
        module, _, builder = application.import_path.partition(":")
        source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert builder in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        deployment = application.args["deployment"]
        assert (application.name, application.route_prefix) == (f"endpoint-{deployment}", f"/endpoints/{deployment}")


@pytest.mark.parametrize(
    ("field", "value"),
    [("import_path", "endpoint"), ("import_path", "serve_apps.endpoint:"), ("args", "fraud"), ("route_prefix", 8000)],
)
def test_a_spoiled_serve_file_is_refused(field: str, value: object) -> None:
    config = load(CONFIGS / "serve_endpoint.yaml")
    config["applications"][0][field] = value
    with pytest.raises(ValidationError):
        ServeDeploySchema.model_validate(config)
