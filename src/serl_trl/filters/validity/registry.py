"""The signals that ask the model, by name, with their options in brackets: `abstention(num=4)`."""

from collections.abc import Collection

from serl_trl.common.plugin import Plugin, Role, find
from serl_trl.filters.validity.abstention import Abstention
from serl_trl.filters.validity.asked import AskedSignal, check_options
from serl_trl.filters.validity.restatable import Restatable
from serl_trl.filters.validity.self_judge import SelfJudge
from serl_trl.filters.validity.two_views import TwoViews

ASKED_SIGNALS: dict[str, type[AskedSignal]] = {
    "abstention": Abstention,
    "restatable": Restatable,
    "two_views": TwoViews,
    "self_judge": SelfJudge,
}
"""The signals of this package. A new one is a file beside these and a row here."""

_ROLE = Role(
    option="validity",
    takes="a signal (an AskedSignal of serl_trl.filters.validity.asked)",
    known=ASKED_SIGNALS,
    methods=("judge",),
    makes=True,
)


def find_asked(text: str, plugins: Collection[str] = ()) -> Plugin:
    """Return the signal that `text` names, as `name` or `my_package.module.Class(option=value)`.

    Calls nothing of a plug-in; `make(vars(args))` makes it with the prompt texts of a run. Raises
    `ValueError` for an unknown name or option, and a value that a signal of this package refuses.
    """
    plugin = find(text, _ROLE, plugins)
    if not plugin.foreign:
        # Its values are seen here, before weights load.
        check_options(plugin.make())
    return plugin
