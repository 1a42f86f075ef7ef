"""Rates of currencies, and what they are written like."""

import re

RATES = {"EUR": 1.0, "USD": 0.9}
WRITTEN = re.compile("[A-Z]{3}")
