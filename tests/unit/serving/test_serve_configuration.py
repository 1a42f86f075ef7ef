"""The Serve configuration against Ray's own schema, and against the names that the control plane uses."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from gnomon.errors import InvalidInput, NotFound

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray Serve's own models use what pydantic calls deprecated
    from ray import serve
    from ray.serve.schema import ServeDeploySchema

    from gnomon.serving.endpoints import application_name, route_prefix

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("endpoint_builder", ROOT / "serve_apps" / "endpoint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configuration_is_one_of_rays() -> None:
    text = (ROOT / "cluster_configs" / "serve_endpoint.yaml").read_text()
    config = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (application,) = config.applications
    deployment = application.args["deployment"]
    assert application.name == application_name(deployment)
    assert application.route_prefix == route_prefix(deployment)
    module, _, function = application.import_path.partition(":")
    assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    assert function == "app"


@pytest.fixture
def arguments(world: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("SERVING_WORLD", str(folder))
    return {"deployment": "fraud", "factory": world.FACTORY}


def test_the_builder_describes_the_version_asked_for(builder: ModuleType, arguments: dict[str, str]) -> None:
    application = builder.app({**arguments, "version": 2})
    assert isinstance(application, serve.Application)
    assert application._bound_deployment.user_config["version"] == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"version": 99}, NotFound, "99"),
        ({"deployment": "fruad"}, NotFound, "did you mean 'fraud'"),
        ({"deployment": None}, InvalidInput, "cannot be used"),
        ({"versoin": 1}, InvalidInput, "versoin"),
        ({}, InvalidInput, "no version of 'fraud_model' serves yet"),
    ],
)
def test_wrong_arguments_are_explained(
    builder: ModuleType, arguments: dict[str, str], change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        builder.app({**arguments, **change})
