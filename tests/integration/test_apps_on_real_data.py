"""Two app files on real data, from file to prediction: one by the command line, one by `ray job submit`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest
import yaml
from tests.local_platform import ROOT, LocalPlatform
from tests.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def prepared(app: str, data: Path, folder: Path) -> Path:
    """Put an app file beside its data, as a user has it; return the app file."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in data.iterdir():
        shutil.copy(file, folder)
    return Path(shutil.copy(ROOT / "tests" / "apps" / f"{app}.py", folder))


def test_flights_by_the_command_line(platform: LocalPlatform, shared_data: Path, tmp_path: Path) -> None:
    app = prepared("flights", shared_data / "events" / "flights", tmp_path)

    planned = platform.json("plan", str(app))
    assert {c["action"] for c in planned["changes"]} == {"create"}
    assert platform.json("apply", str(app))["revision"] == 1
    assert "nothing to do" in platform.done("apply", str(app))

    (report,) = platform.json("ingest", "flights")
    assert report["rows_read"] == report["rows_added"] + report["duplicates"] + report["quarantined"] == 10_000
    (again,) = platform.json("ingest", "flights")
    assert again["rows_added"] == 0, "the same file again adds nothing"
    assert {r["view"] for r in platform.json("materialize", "departures", "arrivals")} == {"departures", "arrivals"}

    trained = platform.json("train", "lateness")
    quality = {m["name"]: m for m in trained["metrics"]}
    print("flights, held-out later rows:", json.dumps(quality["roc_auc"]))
    assert trained["holdout_rows"] > 1000
    assert quality["roc_auc"]["low"] <= quality["roc_auc"]["value"] <= quality["roc_auc"]["high"]
    assert quality["roc_auc"]["value"] > 0.55

    assert platform.json("deploy", "lateness")["version"] == trained["version"]
    fields = ["origin=DTW", "destination=LAS", "distance=1750", "date=2001-04-01T18:00:00Z"]
    answer = platform.json("predict", "lateness", *fields)
    assert 0.0 <= answer["value"] <= 1.0
    assert set(answer["status"]) == set(answer["ages_s"])
    assert len(answer["status"]) == 5
    assert platform.json("outcome", "lateness", answer["id"], "1")["added"] == 1
    assert platform.json("outcome", "lateness", answer["id"], "1")["added"] == 0, "reported again it changes nothing"

    online = platform.json("features", "departures", "origin=DTW")["features"]
    assert online["delay_mean_14d"]["status"] in ("present", "null")
    versions = platform.json("models", "lateness")
    assert [v["aliases"] for v in versions] == [["champion"]]
    assert versions[0]["lineage"]["source_versions"] == {"flights": report["table_version"]}
    status = platform.json("status")
    assert {d["name"]: d["state"] for d in status["deployments"]}["lateness"] == "healthy"
    assert any(line["event"] == "operation succeeded" for line in platform.json("logs", "--lines", "500"))


def submit(platform: LocalPlatform, *job: str) -> str:
    """Run a file of jobs/ by `ray job submit` from the project's root; return its output."""
    exports = platform.json("env")
    done = platform.program(
        "ray", "job", "submit", "--working-dir", str(ROOT / "jobs"), "--", "python", *job,
        variables=exports, timeout_s=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_credit_by_ray_job_submit(platform: LocalPlatform, shared_data: Path, tmp_path: Path) -> None:
    app = prepared("credit", shared_data / "events" / "feast_credit", tmp_path)
    assert '"revision": 1' in submit(platform, "apply.py", str(app))
    assert '"source": "loans"' in submit(platform, "ingest.py", "loans")
    assert len(platform.json("ingest", "zipcodes", "credit_history")) == 2
    assert '"view": "area"' in submit(platform, "materialize.py", "area")
    assert len(platform.json("materialize", "history")) == 1
    trained = submit(platform, "train.py", "default_risk", "--id", "credit-training-1")
    again = submit(platform, "train.py", "default_risk", "--id", "credit-training-1")
    assert '"version": 1' in trained
    assert '"version": 1' in again, "the same id is the same operation"
    assert '"version": 1' in submit(platform, "deploy.py", "default_risk")

    (version,) = platform.json("models", "default_risk")
    quality = {m["name"]: m["value"] for m in version["metrics"]}
    print("credit, held-out later rows:", json.dumps(quality))
    assert quality["roc_auc"] > 0.75
    loan = {
        "dob_ssn": "19530219_5179", "zipcode": 76104, "person_age": 22, "person_income": 59_000,
        "person_home_ownership": "RENT", "person_emp_length": 123.0, "loan_intent": "PERSONAL", "loan_amnt": 35_000,
        "loan_int_rate": 16.02,
    }  # fmt: skip
    with platform.client() as client:
        answer = client.predict("default_risk", **loan)
        assert answer["status"]["area.population"] == "present"
    assert '"decision"' in submit(platform, "retrain.py", "default_risk")


def test_serve_deploy_of_the_serving_app(platform: LocalPlatform, tmp_path: Path) -> None:
    versions = platform.json("models", "lateness")
    assert versions, "needs the flights model of the test above"
    configuration = yaml.safe_load((ROOT / "cluster_configs" / "serve_endpoint.yaml").read_text())
    (application,) = configuration["applications"]
    application |= {"name": "by-hand", "route_prefix": "/by-hand", "args": {"deployment": "lateness"}}
    configuration.pop("http_options", None)
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump(configuration))
    variables = {**platform.json("env"), "PYTHONPATH": str(ROOT)}
    done = platform.program("serve", "deploy", str(file), variables=variables, folder=ROOT)
    assert done.returncode == 0, done.stderr

    url, token = platform.record().url, (platform.home / "token").read_text().strip()
    row = {"origin": "DTW", "destination": "LAS", "distance": 1750, "date": "2001-04-01T18:00:00Z"}

    def predicted() -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.post(f"{url}/by-hand/predict", json={"rows": [row]}, headers=headers, timeout=30)

    answer = until(lambda: (r := predicted()).status_code == 200 and r, timeout_s=120)
    assert answer.json()["version"] == versions[-1]["number"]
    listed = platform.program("serve", "status", variables=variables, folder=ROOT)
    assert "endpoint-lateness" in listed.stdout, "what the platform serves is left alone"
