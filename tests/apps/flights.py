"""Flights: will a flight be more than a quarter of an hour late, given where it goes from and to, and its history?"""

import gnomon as gn

origin = gn.Entity("origin_airport", key="origin")
destination = gn.Entity("destination_airport", key="destination")

flights = gn.DataSource(
    "flights",
    path="flights-10k.json",
    id=("date", "origin", "destination", "distance"),
    event_time="date",
    time_format="%Y/%m/%d %H:%M",
    timezone="UTC",
    known_delay="6h",  # a delay is known when the flight has landed
    fields={"origin": "string", "destination": "string", "delay": "int64", "distance": gn.Field("int64", min=1)},
)

late = gn.col("delay") > 15
departures = gn.FeatureView(
    "departures",
    entity=origin,
    source=flights,
    features=[
        gn.Aggregation("delay", "mean", window="14d"),
        gn.Aggregation(late.apply("float"), "mean", window="2d", name="late_share_2d"),
        gn.Aggregation("*", "count", window="1d"),
    ],
)
arrivals = gn.FeatureView(
    "arrivals",
    entity=destination,
    source=flights,
    features=[
        gn.Aggregation("delay", "mean", window="14d"),
        gn.Aggregation(late.apply("float"), "mean", window="2d", name="late_share_2d"),
    ],
)
hour = gn.RequestFeature("hour", request={"date": "timestamp"}, expression=gn.col("date").apply("hour"), dtype="int64")

lateness = gn.Model(
    "lateness",
    label=gn.Label("is_late", source=flights, positive=late, delay="6h"),
    features=[departures, arrivals, hour],
    request={"distance": "int64", "origin": "string", "destination": "string"},
    trainer=gn.TabularMLP(hidden=(16,), epochs=4, workers=2),
    gates=[gn.Gate("roc_auc", min=0.5)],
)
lateness_endpoint = gn.Deployment("lateness", model=lateness)
