"""May a proposal stay: the filters by name, the chain they form, your own beside them."""

from serl_trl.common.verdict import Verdict
from serl_trl.filters.gate import ProposalFilter, TextFilter, filter_names

__all__ = ["ProposalFilter", "TextFilter", "Verdict", "filter_names"]
