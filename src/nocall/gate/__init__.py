"""The gate: may this number be called, now? One set of rules for every way to ask.

`check_many` and `check_as_of` run in a transaction; `Checker` answers the same question for the
hot path, many requests to a statement.
"""

from nocall.gate.check import AsOf, check_as_of, check_many
from nocall.gate.checker import Checker
from nocall.gate.rules import RULE_SET

__all__ = ["RULE_SET", "AsOf", "Checker", "check_as_of", "check_many"]
