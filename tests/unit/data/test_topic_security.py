"""Topics behind TLS and SASL: properties and secrets reach the client, wrong ones are told apart and never shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.kafka_broker import KafkaBroker, running

import gnomon as gn
from gnomon.contracts.columns import Dtype
from gnomon.data.source_schema import read_schema
from gnomon.errors import Forbidden, InvalidInput, Unavailable

_PASSWORD = "correct-horse"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate of 127.0.0.1 that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "broker.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@pytest.fixture(scope="module")
def broker(certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with running(KafkaBroker(tmp_path_factory.mktemp("kafka"), (certificate, "gnomon", _PASSWORD))) as made:
        made.create_topic("secured")
        made.send("secured", '{"id": "a", "at": "2025-06-01T00:00:00Z", "n": 1}')
        yield made


def columns(broker: KafkaBroker, certificate: Path, **changed: str) -> dict[str, Dtype]:
    options = {
        "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "gnomon",
        "ssl.ca.location": str(certificate), **changed,
    }  # fmt: skip
    secrets = {"sasl.password": "TAPS_PASSWORD"}
    kafka = gn.KafkaTopic("secured", servers=broker.secured_servers, options=options, secrets=secrets)
    return read_schema(gn.DataSource("events", kafka=kafka, id="id", event_time="at"), "/")


def test_the_right_password_and_certificate(
    broker: KafkaBroker, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("TAPS_PASSWORD", _PASSWORD)
    assert columns(broker, certificate) == {"id": "string", "at": "timestamp", "n": "int64"}


def test_a_wrong_password(broker: KafkaBroker, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPS_PASSWORD", "wrong-horse")
    with pytest.raises(Forbidden, match="refuses us") as caught:
        columns(broker, certificate)
    assert "TAPS_PASSWORD" in caught.value.hint
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"}, "certificate"),
        ({"security.protocol": "PLAINTEXT"}, "does not answer"),
    ],
)
def test_a_wrong_certificate_or_protocol(
    broker: KafkaBroker, certificate: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("TAPS_PASSWORD", _PASSWORD)
    with pytest.raises(Unavailable, match=said) as caught:
        columns(broker, certificate, **changed)
    assert _PASSWORD not in str(caught.value)


def test_a_secret_in_a_property_that_is_refused_is_not_shown(
    broker: KafkaBroker, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("TAPS_PROTOCOL", "a-secret")
    kafka = gn.KafkaTopic("secured", servers=broker.servers, secrets={"security.protocol": "TAPS_PROTOCOL"})
    with pytest.raises(InvalidInput, match="refuses its properties") as caught:
        read_schema(gn.DataSource("events", kafka=kafka, id="id", event_time="at"), "/")
    assert "a-secret" not in str(caught.value)
