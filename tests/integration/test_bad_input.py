"""What bad input gets, on a real platform: a message with the value and a remedy, and nothing half-done."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.local_platform import BIN, LocalPlatform
from tests.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

APP = """
import gnomon as gn
shop = gn.Entity("{n}_shop", key="shop_id")
sales = gn.DataSource("{n}_sales", path="{path}", id="sale_id", event_time="sold_at"{source})
view = gn.FeatureView("{n}_turnover", entity=shop, source=sales, features=[{feature}])
label = gn.Label("{n}_returned", source=sales, column="returned", delay="{delay}")
model = gn.Model("{n}_returns", features=[view], label=label)
endpoint = gn.Deployment("{n}_returns", model=model)
"""
GOOD = {"path": "sales.csv", "source": ', timezone="UTC"', "delay": "1d"}
GOOD |= {"feature": 'gn.Aggregation("price", "mean", window="7d")'}
HEADER = "sale_id,shop_id,price,returned,sold_at\n"
ROWS = "s1,1,9.5,0,2026-01-01T10:00:00\ns2,1,3.5,1,2026-01-02T10:00:00\n"


@pytest.fixture
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(tmp_path, "t" + str(abs(hash(request.node.name)) % 10**8))


class Shop:
    """An app file under a name of its own, with a CSV file beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.csv = folder / "sales.csv"
        self.csv.write_text(HEADER + ROWS)

    def app(self, **changes: str) -> Path:
        file = self.folder / f"{self.name}.py"
        file.write_text(APP.format(n=self.name, **{**GOOD, **changes}))
        return file

    @property
    def sales(self) -> str:
        return f"{self.name}_sales"


def refused(platform: LocalPlatform, *command: str, naming: list[str], status: int = 2) -> str:
    """Require that a command fails with this status and names these values and a remedy."""
    done = platform.run(*command)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    for value in naming:
        assert value in done.stderr, done.stderr
    assert "try: " in done.stderr, done.stderr
    return done.stderr


def test_unknown_column(platform: LocalPlatform, shop: Shop) -> None:
    app = shop.app(feature='gn.Aggregation("prise", "mean", window="7d")')
    refused(platform, "plan", str(app), naming=["prise", "did you mean 'price'"])
    refused(platform, "apply", str(app), naming=["prise"])
    assert shop.name not in {a["name"] for a in platform.json("status")["apps"]}


def test_wrong_type(platform: LocalPlatform, shop: Shop) -> None:
    app = shop.app(feature='gn.Aggregation("sale_id", "mean", window="7d")')
    refused(platform, "apply", str(app), naming=["sale_id", "string", "int64, float64 or bool"])


def test_duplicate_name(platform: LocalPlatform, shop: Shop) -> None:
    app = shop.app()
    app.write_text(app.read_text() + f'other = gn.Entity("{shop.name}_shop", key="sale_id")\n')
    refused(platform, "apply", str(app), naming=[f"{shop.name}_shop", "another name"])


def test_name_of_another_app(platform: LocalPlatform, shop: Shop) -> None:
    app = shop.app()
    platform.done("apply", str(app))
    copy = app.with_name("copy_" + app.name)
    shutil.copy(app, copy)
    refused(platform, "apply", str(copy), naming=[shop.name])


def test_window_without_unit(platform: LocalPlatform, shop: Shop) -> None:
    app = shop.app(feature='gn.Aggregation("price", "mean", window=7)')
    message = platform.run("apply", str(app))
    assert message.returncode == 2
    assert "7 is not a duration" in message.stderr
    assert "'7d'" in message.stderr


def test_label_in_the_future(platform: LocalPlatform, shop: Shop) -> None:
    shop.csv.write_text(HEADER + "s1,1,9.5,0,2126-01-01T10:00:00\n" + ROWS)
    platform.done("apply", str(shop.app()))
    (report,) = platform.json("ingest", shop.sales)
    assert (report["rows_added"], report["quarantine_rules"]) == (2, {"future": 1})


def test_labels_not_final_yet(platform: LocalPlatform, shop: Shop) -> None:
    platform.done("apply", str(shop.app(delay="36500d")))
    platform.done("ingest", shop.sales)
    message = platform.run("train", f"{shop.name}_returns")
    assert message.returncode == 2, message.stderr
    assert "36500d" in message.stderr
    assert platform.json("models", f"{shop.name}_returns") == []


def test_app_file_that_raises(platform: LocalPlatform, shop: Shop) -> None:
    app = shop.app()
    app.write_text(app.read_text() + "1 / 0\n")
    refused(platform, "apply", str(app), naming=["line 9", "ZeroDivisionError"])
    app.write_text("import gnomon as gn\ndef broken(:\n")
    refused(platform, "apply", str(app), naming=["line 2", "SyntaxError"])
    app.write_text("raise SystemExit(0)\n")
    refused(platform, "apply", str(app), naming=["SystemExit"])
    refused(platform, "apply", str(app.with_name("nothing.py")), naming=["nothing.py"])


def test_empty_file(platform: LocalPlatform, shop: Shop) -> None:
    shop.csv.write_text("")
    refused(platform, "apply", str(shop.app()), naming=["sales.csv", "empty"])


def test_csv_with_a_bad_row(platform: LocalPlatform, shop: Shop) -> None:
    platform.done("apply", str(shop.app()))
    shop.csv.write_text(HEADER + ROWS + "s3,1,9.5\n" + "s4,2,1.0,0,2026-01-03T10:00:00\n")
    (report,) = platform.json("ingest", shop.sales)
    assert (report["rows_added"], report["quarantined"]) == (3, 1)
    assert report["quarantine_rules"] == {"cells": 1}


def test_parquet_cut_in_half(platform: LocalPlatform, shop: Shop) -> None:
    file = shop.folder / "sales.parquet"
    times = pa.array([1_767_261_600_000_000], pa.timestamp("us", tz="UTC"))
    row = {"sale_id": ["s1"], "shop_id": [1], "price": [1.0], "returned": [0], "sold_at": times}
    pq.write_table(pa.table(row), file)
    app = shop.app(path="sales.parquet", source="")
    platform.done("apply", str(app))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(platform, "ingest", shop.sales, naming=["sales.parquet"])
    assert next(s for s in platform.json("status")["sources"] if s["name"] == shop.sales)["version"] == -1


def test_event_without_id(platform: LocalPlatform, shop: Shop) -> None:
    shop.csv.write_text(HEADER + ROWS + ",1,9.5,0,2026-01-01T10:00:00\n")
    platform.done("apply", str(shop.app()))
    (report,) = platform.json("ingest", shop.sales)
    assert (report["rows_added"], report["quarantine_rules"]) == (2, {"null_id": 1})


def test_times_without_zone(platform: LocalPlatform, shop: Shop) -> None:
    platform.done("apply", str(shop.app(source="")))
    refused(platform, "ingest", shop.sales, naming=["sold_at", "2026-01-01", "timezone="])


def test_missing_source_file(platform: LocalPlatform, shop: Shop) -> None:
    refused(platform, "apply", str(shop.app(path="nothing-*.csv")), naming=["nothing-*.csv"])


def test_predict_before_any_model(platform: LocalPlatform, shop: Shop) -> None:
    platform.done("apply", str(shop.app()))
    refused(platform, "predict", f"{shop.name}_returns", "shop_id=1", naming=["never been trained", "gnomon train"])
    refused(platform, "predict", "nobody_knows_it", "shop_id=1", naming=["nobody_knows_it"])
    refused(platform, "deploy", f"{shop.name}_returns", naming=["no version", "gnomon train"])


def test_unknown_targets(platform: LocalPlatform) -> None:
    for command in (["ingest", "nowhere"], ["materialize", "nowhere"], ["train", "nowhere"], ["retrain", "nowhere"]):
        refused(platform, *command, naming=["nowhere"])
    refused(platform, "operations", "no-such-operation", naming=["no-such-operation"])


def test_malformed_arguments(platform: LocalPlatform) -> None:
    refused(platform, "predict", "x", "novalue", naming=["novalue", "NAME=VALUE"])
    refused(platform, "outcome", "x", naming=["prediction id"])
    assert platform.run("ingest", "--no-such-option").returncode == 2


def test_no_token_no_answer(platform: LocalPlatform) -> None:
    url = platform.record().url
    paths = ("/", "/docs", "/metrics", "/openapi.json", "/api/v1/status", "/api/v1/operations", "/endpoints/x/predict")
    for path in paths:
        answer = httpx.get(url + path)
        assert answer.status_code == 401, path
        assert answer.json()["error"]["code"] == "unauthenticated"
    assert httpx.get(url + "/health").status_code == 200
    assert httpx.get(url + "/api/v1/status", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(url + "/login/wrong").status_code == 401


def test_malformed_requests(platform: LocalPlatform) -> None:
    url, token = platform.record().url, (platform.home / "token").read_text().strip()
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as http:
        for body in (b"", b"{", b"[]", b'{"kind": "explode", "target": "x"}', b'{"kind": "ingest"}'):
            answer = http.post("/api/v1/operations", content=body)
            assert answer.status_code == 400, body
            assert answer.json()["error"]["message"]
        strange = {"kind": "deploy", "target": "x", "arguments": {"version": "one"}}
        assert http.post("/api/v1/operations", json=strange).status_code in (400, 404)
        assert http.get("/api/v1/nowhere").status_code == 404


def test_pages_and_metrics(platform: LocalPlatform) -> None:
    token = (platform.home / "token").read_text().strip()
    with httpx.Client(base_url=platform.record().url, follow_redirects=True) as browser:
        page = browser.get(platform.done("status", "--link").strip())
        assert page.status_code == 200
        assert "Gnomon" in page.text
        assert token not in page.text
        assert "POST" in browser.get("/docs").text
        metrics = until(lambda: (t := browser.get("/metrics").text) and "ray_" in t and t, timeout_s=60)
        assert 'gnomon_part_up{part="control plane"} 1.0' in metrics
        assert browser.get("/openapi.json").json()["info"]["title"] == "Gnomon"


def test_second_up_of_one_home(platform: LocalPlatform) -> None:
    refused(platform, "up", naming=[str(platform.home), "already runs", "gnomon down"])
    assert platform.json("status")["parts"], "the first is not harmed"


def test_two_ups_at_once(tmp_path: Path) -> None:
    home = LocalPlatform(tmp_path / "home")
    command = [str(BIN / "gnomon"), "up"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, env=home.environment, **pipes) as one,
        subprocess.Popen(command, env=home.environment, **pipes) as two,
    ):
        results = [(p.communicate(timeout=300), p.returncode) for p in (one, two)]
    try:
        assert sorted(status for _, status in results) == [0, 2], results
        assert any("a platform" in error for (_, error), status in results if status == 2)
    finally:
        home.down()
    assert home.processes() == []


def test_port_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        home = LocalPlatform(tmp_path / "home", {"GNOMON_PORT": taken})
        refused(home, "up", naming=[taken, "GNOMON_PORT"])
    assert home.processes() == []
    refused(home, "status", naming=["no platform runs"], status=3)
    refused(home, "down", naming=["no platform runs"], status=3)


def test_setting_that_cannot_be_used(tmp_path: Path) -> None:
    home = LocalPlatform(tmp_path / "home", {"GNOMON_PORT": "eighty"})
    refused(home, "up", naming=["GNOMON_PORT", "eighty"])


def test_interrupted_while_starting(tmp_path: Path) -> None:
    home = LocalPlatform(tmp_path / "home")
    command, pipe = [str(BIN / "gnomon"), "up"], subprocess.PIPE
    with subprocess.Popen(command, env=home.environment, stdout=pipe, stderr=pipe, text=True) as starting:
        assert starting.stdout is not None
        for line in starting.stdout:
            if "Ray" in line:
                break
        starting.send_signal(signal.SIGINT)
        assert starting.wait(timeout=120) == 130
    until(lambda: home.processes() == [], timeout_s=60)


def test_interrupted_while_waiting(platform: LocalPlatform, shop: Shop) -> None:
    platform.done("apply", str(shop.app()))
    command = [str(BIN / "gnomon"), "ingest", shop.sales]
    with subprocess.Popen(command, env=platform.environment, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=30) == 130
        told = waiting.stderr.read()
        assert "interrupted; operation " in told
        assert "`gnomon cancel " in told
    with platform.client() as client:
        operations = [o for o in client.operations.newest(100) if o["target"] == shop.sales]
        result = client.operations.wait(operations[0])
    assert result["rows_added"] == 2, "what was asked for goes on"


def test_online_server_dead(tmp_path: Path) -> None:
    """With a server of our own in place of the embedded one, so that nothing starts it again."""
    from gnomon.runtime.embedded_valkey import EmbeddedValkey

    valkey = EmbeddedValkey(tmp_path / "valkey")
    valkey.start()
    home = LocalPlatform(tmp_path / "home", {"GNOMON_ONLINE_URL": valkey.url})
    home.up()
    try:
        (tmp_path / "app").mkdir()
        shop = Shop(tmp_path / "app", "dead")
        home.done("apply", str(shop.app()))
        home.done("ingest", shop.sales)
        valkey.stop()
        refused(home, "materialize", "dead_turnover", naming=["127.0.0.1"], status=3)
        refused(home, "features", "dead_turnover", "shop_id=1", naming=["127.0.0.1"], status=3)
        parts = {p["name"]: p["state"] for p in home.json("status")["parts"]}
        assert parts["online store"] == "away"
        secret = valkey.url.split(":")[2].split("@")[0]
        logged = "".join(f.read_text(errors="replace") for f in (home.home / "logs").iterdir())
        assert secret not in logged, "a password in the logs"
    finally:
        home.down()


def test_no_disk_space(tmp_path: Path) -> None:
    """A home on a file system of 64 MB: ingestion says so, keeps nothing half-done, works with room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs (root)")
    home = LocalPlatform(disk / "home")
    try:
        home.up()
        folder = tmp_path / "app"
        folder.mkdir()
        shop = Shop(folder, "full")
        home.done("apply", str(shop.app()))
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(os.urandom(1 << 16)):
                pass
        done = home.run("ingest", shop.sales, timeout_s=120)
        assert done.returncode in (1, 3), done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        ballast.unlink()
        until(lambda: home.run("ingest", shop.sales).returncode == 0, timeout_s=120)
        (source,) = home.json("status")["sources"]
        assert source["version"] >= 0
        (again,) = home.json("ingest", shop.sales)
        assert again["rows_added"] == 0, "all rows are there, once"
    finally:
        home.down()
        subprocess.run(["umount", "-l", str(disk)], check=False)
