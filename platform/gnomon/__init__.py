"""Gnomon: one file of definitions in, the whole life of a model out.

`import gnomon as gn` gives the nouns of an app file and `connect()`. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gnomon.contracts.data_contracts import Between, Check, Fresh, InSet, Matches, NullRatio, RowCount, Unique
from gnomon.contracts.deployments import Deployment, Drift, Monitor, Quality
from gnomon.contracts.entities import Entity
from gnomon.contracts.expressions import col
from gnomon.contracts.features import Aggregation, Column, Derived, FeatureView, RequestFeature
from gnomon.contracts.kafka_topics import KafkaTopic
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Gate, Model, TabularMLP
from gnomon.contracts.sources import DataSource
from gnomon.contracts.sources import FieldSpec as Field
from gnomon.contracts.transforms import Clip, Compute, Fill, Lower, MapValues, NullIf, Replace, Trim, Upper

if TYPE_CHECKING:
    from gnomon.client import Client

__version__ = "0.1.0"

__all__ = [
    "Aggregation",
    "Between",
    "Check",
    "Client",
    "Clip",
    "Column",
    "Compute",
    "DataSource",
    "Deployment",
    "Derived",
    "Drift",
    "Entity",
    "FeatureView",
    "Field",
    "Fill",
    "Fresh",
    "Gate",
    "InSet",
    "KafkaTopic",
    "Label",
    "Lower",
    "MapValues",
    "Matches",
    "Model",
    "Monitor",
    "NullIf",
    "NullRatio",
    "Quality",
    "Replace",
    "RequestFeature",
    "RowCount",
    "TabularMLP",
    "Trim",
    "Unique",
    "Upper",
    "col",
    "connect",
]


def connect(url: str | None = None, token: str | None = None) -> Client:
    """Connect to a running platform; without arguments to the one that `gnomon up` started on this machine.

    Args:
        url: Address of the gateway, such as `http://127.0.0.1:8000`; `GNOMON_URL` when left out.
        token: Access token; `GNOMON_TOKEN`, or the file that `gnomon up` wrote, when left out.

    Returns:
        A client whose gateway answered; a wrong token is noticed at its first other call. Close it, or use it in a
        `with`.

    Raises:
        InvalidInput: A `GNOMON_…` variable has a value that cannot be used.
        Unavailable: Nothing answers there.
    """
    from gnomon.client import Client

    return Client.connect(url, token)


def __getattr__(name: str) -> Any:
    if name == "Client":
        from gnomon.client import Client

        return Client
    raise AttributeError(f"module 'gnomon' has no attribute '{name}'")
