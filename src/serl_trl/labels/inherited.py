"""Labels that a task inherited from how it was made: kept only where the vote reaches them.

A wrong inherited label then gives a group that teaches nothing, where a wrong vote would teach an
error. Source: SvS, arXiv 2508.14029, which asks the same of its variations.
"""

from collections.abc import Sequence
from dataclasses import replace

from serl_trl.answers.equality import same_answers
from serl_trl.common.verdict import Verdict
from serl_trl.labels.base import Labelled, Rollouts, Tools, Wrapper


class Inherited(Wrapper):
    """A labeller whose groups with an inherited label also stay only if their label is equal to it.

    Another label, and none, refuse the group for the reason "inherited". `label/inherited_reached`
    is the share of such groups whose label is the inherited one. A group with a gold answer goes by
    that where the labeller does, and other groups as if the wrapper were not there.
    """

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group, and refuse the kept ones whose label is not the inherited one."""
        labelled = self.labeller.label(groups, tools)
        inherits = any(group.task.inherited is not None for group in groups)
        # A labeller that returns too few is told so by whoever called this.
        if "gold" in self.needs or not inherits or len(labelled) != len(groups):
            return labelled
        pairs = [
            (group.vote.answer if each.label is None else each.label, group.task.inherited)
            for group, each in zip(groups, labelled, strict=True)
        ]
        # In one process: the verifier has a deadline.
        reached = tools.decide(
            lambda: same_answers(pairs, kind=tools.kind, verifier=tools.verifier)
        )
        return [
            each if inherited is None else _judged(each, reached=is_reached)
            for each, (_, inherited), is_reached in zip(labelled, pairs, reached, strict=True)
        ]


def _judged(labelled: Labelled, *, reached: bool) -> Labelled:
    metrics = {**labelled.metrics, "inherited_reached": float(reached)}
    stays = reached or not labelled.verdict.keep
    verdict = labelled.verdict if stays else Verdict(False, "inherited")
    return replace(labelled, verdict=verdict, metrics=metrics)
