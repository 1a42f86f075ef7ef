"""Loans: will a loan default, given the application, the neighbourhood and the person's credit history?"""

import gnomon as gn

person = gn.Entity("person", key="dob_ssn")
neighbourhood = gn.Entity("neighbourhood", key="zipcode")

loans = gn.DataSource(
    "loans", path="loan_table.parquet", id="loan_id", event_time="event_timestamp", known_time="created_timestamp"
)
zipcodes = gn.DataSource(
    "zipcodes", path="zipcode_table.parquet", id=("zipcode", "event_timestamp"), event_time="event_timestamp"
)
credit_history = gn.DataSource(
    "credit_history",
    path="credit_history_sample.csv",
    id=("dob_ssn", "event_timestamp"),
    event_time="event_timestamp",
    timezone="UTC",
)

area = gn.FeatureView(
    "area",
    entity=neighbourhood,
    source=zipcodes,
    features=[gn.Column("population"), gn.Column("total_wages"), gn.Column("tax_returns_filed"), gn.Column("state")],
)
history = gn.FeatureView(
    "history",
    entity=person,
    source=credit_history,
    features=[gn.Column("hard_pulls"), gn.Column("missed_payments_1y"), gn.Column("bankruptcies")],
    max_age="3650d",
)

default_risk = gn.Model(
    "default_risk",
    label=gn.Label("defaulted", source=loans, column="loan_status", delay="0d"),
    features=[area, history],
    request={
        "person_age": "int64",
        "person_income": "int64",
        "person_home_ownership": "string",
        "person_emp_length": "float64",
        "loan_intent": "string",
        "loan_amnt": "int64",
        "loan_int_rate": "float64",
    },
    trainer=gn.TabularMLP(hidden=(32,), epochs=4, workers=2),
    gates=[gn.Gate("roc_auc", min=0.6)],
)
default_risk_endpoint = gn.Deployment("default_risk", model=default_risk)
