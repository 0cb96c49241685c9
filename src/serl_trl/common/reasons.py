"""The reasons for which proposals and groups are refused, in words for people and for proposers."""

from serl_trl.common.plain_yaml import own_table

_WORDS = own_table(__file__)

REASONS: dict[str, str] = _WORDS["reasons"]
"""Why a proposal or a group was refused; a filter of the user's own has no row."""
ASKS: dict[str, str] = _WORDS["asks"]
"""What each new one must do instead, as a proposer is told; not every reason has a row."""
