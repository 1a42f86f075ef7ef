"""Whom the shop knows."""

from feast import Entity, ValueType

customer = Entity(name="Customer", join_keys=["customer_id"], value_type=ValueType.STRING, owner="bob")
item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64, tags={"pii": "no", "team": "shop"})
region = Entity(name="region")
weight = Entity(name="weight", value_type=ValueType.DOUBLE)
