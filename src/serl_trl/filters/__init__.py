"""May a proposal stay: the filters by name, the chain they form, your own beside them."""

from typing import TYPE_CHECKING, Any

from serl_trl.common.verdict import Verdict
from serl_trl.filters.registry import TextFilter, filter_names

if TYPE_CHECKING:
    from serl_trl.filters.gate import ProposalFilter

__all__ = ["ProposalFilter", "TextFilter", "Verdict", "filter_names"]


def __getattr__(name: str) -> Any:
    # Loaded at first use: it compares texts, with libraries that a look at single texts spares.
    if name != "ProposalFilter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serl_trl.filters.gate import ProposalFilter

    return ProposalFilter
