"""Search over everything that is defined, by the words in names, tags, owners and descriptions.

Called by the gateway's route of that name with the applied apps. A result says what it is, whose, and what uses it, so
that one who looks for a feature finds those that exist, and one who changes a source sees what hangs on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gnomon.contracts.apps import KINDS, App
from gnomon.contracts.deployments import Deployment, Monitor
from gnomon.contracts.features import Derived, FeatureView, RequestFeature
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model
from gnomon.contracts.specs import Spec
from gnomon.errors import InvalidInput

_FIELDS = ("kind", "name", "tag", "owner", "description", "app")
_ORDER = [*(kind.kind for kind in KINDS[:3]), "feature", *(kind.kind for kind in KINDS[3:])]
_PART = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Found:
    """A definition, or a feature of a view.

    Attributes:
        kind: `source`, `feature_view`, `feature` and so on.
        name: Its name; of a feature `view.feature`.
        app: The app that defines it.
        description: What it is.
        owner: Who answers for it.
        tags: Its tags.
        used_by: What refers to it, as `kind name`, sorted.
        score: How well it matches; greater is better.
    """

    kind: str
    name: str
    app: str
    description: str
    owner: str
    tags: tuple[str, ...]
    used_by: tuple[str, ...]
    score: float = 0.0


def search_definitions(apps: Iterable[App], words: str, limit: int = 50) -> list[Found]:
    """Find definitions that have all of the words.

    Args:
        apps: Where to look.
        words: Separated by spaces, in any case; each is looked for in every field, or with `owner:`, `tag:`, `kind:`,
            `name:`, `description:` or `app:` before it in that one.
        limit: How many at most.

    Returns:
        The best first: a whole name before a part of one, a name before a tag, a tag before an owner, that before a
        description; of equals in the order of kinds, then by name.

    Raises:
        InvalidInput: There is no word.
    """
    wanted = [_split(word) for word in words.lower().split()]
    if not wanted:
        raise InvalidInput("there is nothing to search for", "give words, such as `payments` or `owner:ann`")
    hits = []
    for found in (each for app in apps for each in _definitions(app)):
        scores = [max((_score(found, field, word) for field in fields), default=0.0) for fields, word in wanted]
        if all(scores):
            hits.append(replace(found, score=sum(scores)))
    return sorted(hits, key=lambda hit: (-hit.score, _ORDER.index(hit.kind), hit.name, hit.app))[:limit]


def _split(word: str) -> tuple[Sequence[str], str]:
    field, colon, rest = word.partition(":")
    return ((field,), rest) if colon and rest and field in _FIELDS else (_FIELDS, word)


def _score(found: Found, field: str, word: str) -> float:
    if field == "name":
        names = {found.name, found.name.rpartition(".")[2]}
        return 10.0 if word in names else _text_score(found.name, word, part=6.0, within=4.0)
    if field == "tag":
        values = {value for tag in found.tags for value in (tag.lower(), tag.lower().rpartition("=")[2])}
        return 5.0 if word in values else max((3.0 for value in values if word in value), default=0.0)
    if field == "owner":
        return _text_score(found.owner, word, part=3.0, within=2.5)
    if field == "description":
        return _text_score(found.description, word, part=2.0, within=1.0)
    return float(word in (found.kind, found.kind.replace("feature_", "")) if field == "kind" else word == found.app)


def _text_score(text: str, word: str, *, part: float, within: float) -> float:
    text = text.lower()
    return part if word in _PART.split(text) or word == text else within if word in text else 0.0


def _definitions(app: App) -> Iterator[Found]:
    for spec in app.definitions:
        users = tuple(sorted(_users(app, spec)))
        yield Found(spec.kind, spec.name, app.name, spec.description, spec.owner, spec.tags, users)
        if isinstance(spec, FeatureView):
            yield from _features(app, spec)


def _features(app: App, view: FeatureView) -> Iterator[Found]:
    for feature in view.features:
        users = {
            f"feature {view.name}.{other.name}" for other in view.features
            if isinstance(other, Derived) and feature.name in other.expression.columns()
        } | set(_readers(app, view.name, feature.name))  # fmt: skip
        yield Found(
            "feature", f"{view.name}.{feature.name}", app.name, feature.description or "", feature.owner or "",
            feature.tags or (), tuple(sorted(users)),
        )  # fmt: skip


def _users(app: App, spec: Spec) -> set[str]:
    """Return what refers to a definition."""
    users: set[str] = set()
    for view in app.all(FeatureView):
        named = {"entity": view.entity, "source": (view.source,)}
        if spec.name in named.get(spec.kind, ()):
            users.add(f"feature_view {view.name}")
    for kind, owner, field in ((Label, "source", "source"), (Model, "label", "label"), (Deployment, "model", "model"),
                               (Monitor, "deployment", "deployment")):  # fmt: skip
        if spec.kind == owner:
            users |= {f"{kind.kind} {other.name}" for other in app.all(kind) if getattr(other, field) == spec.name}
    if isinstance(spec, FeatureView | RequestFeature):
        users |= set(_readers(app, spec.name))
    return users


def _readers(app: App, name: str, feature: str = "") -> Iterator[str]:
    """Yield the models and request features that read a view, one feature of it, or a request feature."""

    def reads(reference: str) -> bool:
        view, _, one = reference.partition(".")
        return view == name and (not feature or not one or one == feature)

    for model in app.all(Model):
        if any(reads(reference) for reference in model.features):
            yield f"model {model.name}"
    for reader in app.all(RequestFeature):
        if any(reads(reference) for reference in reader.reads() if "." in reference):
            yield f"request_feature {reader.name}"
