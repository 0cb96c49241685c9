"""Self-play built from the options of a run and its seed set."""

import functools
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from datasets import Dataset

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import get_kind, holds_several
from serl_trl.common.text import examples, visible
from serl_trl.common.tokens import count_tokens, special_tokens_of
from serl_trl.data.python_inputs import read_rows
from serl_trl.data.rows import as_rows, only, ready
from serl_trl.data.seeds import SeedSet, check_seed_set, find_oracle, gold_problem
from serl_trl.filters.embeddings import Encoder, load_encoder
from serl_trl.filters.gate import FilterOptions, ProposalFilter
from serl_trl.filters.registry import TextFilter, find_filters
from serl_trl.filters.seeds import knows_words_of
from serl_trl.filters.validity.choice import NO_GATE, Choice, read_choice
from serl_trl.filters.validity.gate import shipped
from serl_trl.filters.validity.text import signals_of
from serl_trl.labels.asking import Asking
from serl_trl.labels.band import Band
from serl_trl.labels.base import POLICY, TEACHER, Labeller, Teacher, teacher_in
from serl_trl.labels.by_gold import ByGold
from serl_trl.labels.inherited import Inherited
from serl_trl.labels.pilot import Pilot, fits_pilot
from serl_trl.labels.registry import find_labeller
from serl_trl.labels.validity import NUM_LEARNT, Gate, Validity, steps_aside
from serl_trl.loop.books import Books
from serl_trl.loop.labelling import Labelling
from serl_trl.loop.pilots import Piloting
from serl_trl.loop.proposing import Proposing, Stream
from serl_trl.loop.seams import Options
from serl_trl.loop.selfplay import SelfPlay
from serl_trl.propose.pool import InstructionPool
from serl_trl.propose.prompts import rollout_messages
from serl_trl.propose.sources.base import LABELLED, UNLABELLED
from serl_trl.propose.sources.registry import Share, find_sources, missing_sets
from serl_trl.train.beside import find_teacher
from serl_trl.train.config import SeRLConfig
from serl_trl.train.host import Host, inside
from serl_trl.train.policy import TrainerPolicy, context_tokens
from serl_trl.train.swaps import replaced
from serl_trl.train.template_roles import (
    COMPLETION_TEMPLATE,
    no_template_problem,
    prepare_template,
    template_warnings,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """What the options name, found before anything is loaded; sources are made later."""

    kind: AnswerKind
    labeller: Labeller
    sources: list[Share]
    oracle: Callable[[str], str | None] | None
    filters: list[str | TextFilter]
    validity: Choice
    teacher: Teacher | None

    @classmethod
    def read(cls, args: SeRLConfig) -> "Chosen":
        """Find all that `args` name. Raises `ValueError` for what does not exist."""
        plugins = args.plugins or ()
        of_texts, language = bool(args.task_template), args.language
        filters = find_filters(args.proposal_filters, plugins, language=language, of_texts=of_texts)
        labeller = find_labeller(args.label_reward, plugins).make(vars(args))
        sources = find_sources(args.sources, plugins)
        gate = read_choice(args.validity, plugins, group_size=args.num_generations)
        writes = any(share.writes for share in sources)
        if not args.use_selfplay or steps_aside(labeller, args.task_template, writes=writes):
            gate = NO_GATE
        return cls(
            kind=get_kind(args.answer_kind, plugins=plugins),
            labeller=labeller,
            sources=sources,
            oracle=find_oracle(args.gold_oracle, plugins).make() if args.gold_oracle else None,
            filters=[each if isinstance(each, str) else each.make() for each in filters],
            validity=gate,
            teacher=find_teacher(teacher_in(labeller), gate, vars(args)),
        )

    @property
    def writes(self) -> bool:
        """Whether any source writes new instructions."""
        return any(share.writes for share in self.sources)


def refuse_missing_gold(seeds: SeedSet, args: SeRLConfig, chosen: Chosen) -> None:
    """Raise `ValueError` where the labeller needs gold answers that the run cannot have."""
    if "gold" not in chosen.labeller.needs or args.gold_oracle:
        return
    if problem := gold_problem(seeds, proposes=args.use_selfplay and chosen.writes):
        raise ValueError(str(problem))


def read_row_sets(chosen: Chosen, labelled: Any, unlabelled: Any) -> dict[str, SeedSet]:
    """Read the sets of rows that the sources need; another that is given is not read.

    Raises `ValueError` for one that is missing or bad.
    """
    given = {LABELLED: labelled, UNLABELLED: unlabelled}
    needed = frozenset().union(*(share.needs for share in chosen.sources))
    known = {name: rows for name, rows in given.items() if rows is not None and name in needed}
    if problems := [str(each) for each in missing_sets(needed, known)]:
        raise ValueError("\n".join(problems))
    sets = read_rows(known)
    return {name: ready(name, rows, chosen.kind) for name, rows in sets.items()}


def make_selfplay(trainer: Host, chosen: Chosen) -> SelfPlay:
    """Build the self-play of a `trainer` from its options."""
    args, seeds = trainer.args, trainer.seed_set
    values = {f.name: getattr(args, f.name) for f in fields(Options)}
    rng = random.Random(args.seed)
    books = Books(trainer.ledger, trainer.watcher.waiting_for)
    # Once for the filter and the gate: spelling hundreds of seeds takes a second.
    spelt = "validity" in chosen.filters and knows_words_of(seeds.instructions)
    labelling = Labelling(
        ByGold(_gated(trainer, chosen, spelt=spelt)),
        kind=chosen.kind,
        verifier=inside(trainer).verifier,
        policy=trainer.policy,
        books=books,
        rng=rng,
    )
    labelling.golds = dict(zip(seeds.instructions, seeds.answers, strict=True))
    labelling.oracle = chosen.oracle
    proposal_filter = _filter(trainer, chosen, spelt=spelt)
    leave_out_overlaps(trainer, proposal_filter)
    proposing = Proposing(
        _streams(trainer, chosen),
        pool=InstructionPool(seeds.instructions),
        proposal_filter=proposal_filter,
        policy=trainer.policy,
        books=books,
        rng=rng,
        spare=args.use_band,
    )
    options = Options(**values)
    selfplay = SelfPlay(options, proposing, labelling, policy=trainer.policy, books=books, rng=rng)
    selfplay.piloting = _piloting(trainer, chosen)
    return selfplay


def _piloting(trainer: Host, chosen: Chosen) -> Piloting | None:
    """Return how groups are piloted; `None` where no band, or no vote of their own, decides."""
    args = trainer.args
    if not args.pilot_votes or not args.use_band or not fits_pilot(chosen.labeller.needs):
        return None
    ends, size = args.band, args.num_generations
    pilot = Pilot(args.pilot_votes, size, ends.low, ends.high, args.pilot_chance)
    return Piloting(pilot, chosen.kind, inside(trainer).verifier, trainer.policy)


def _gated(trainer: Host, chosen: Chosen, *, spelt: bool) -> Labeller:
    """Return the labeller inside its band and its gate on questions, where it has them."""
    args, labeller = trainer.args, Inherited(chosen.labeller)
    if args.use_band:
        labeller = Band(labeller, args.band.low, args.band.high)
    if not chosen.validity.on:
        return labeller
    seeds, strict = trainer.seed_set.instructions, chosen.validity.strict
    texts = signals_of(chosen.filters, spelt=spelt)
    gate = Gate(shipped(), strict, texts, chosen.validity.weigh)
    asked = tuple(each.make(vars(args)) for each in chosen.validity.asked)
    asking = Asking(asked, TEACHER if chosen.teacher else POLICY)
    # Evenly over the set: neighbours may be alike.
    rows = range(0, len(seeds), max(1, -(-len(seeds) // NUM_LEARNT))) if strict or asked else ()
    given = [(seeds[row], rollout_messages(seeds[row], args.style)) for row in rows]
    return Validity(labeller, gate, asking, given)


def _streams(trainer: Host, chosen: Chosen) -> list[Stream]:
    offered = {
        **vars(trainer.args),
        "style": trainer.args.style,
        "kind": chosen.kind,
        "max_request_tokens": _request_budget(trainer),
        "count_tokens": trainer.policy.count_request_tokens,
        **{name: as_rows(rows) for name, rows in inside(trainer).row_sets.items()},
    }
    return [
        Stream(each.source.make(offered), each.share, name=each.name) for each in chosen.sources
    ]


def _filter(trainer: Host, chosen: Chosen, *, spelt: bool) -> ProposalFilter:
    args, policy = trainer.args, trainer.policy
    tokenizer = inside(trainer)._tokenizer
    named = {f.name: getattr(args, f.name) for f in fields(FilterOptions) if hasattr(args, f.name)}
    own = {
        "names": tuple(
            each if isinstance(each, str) else _asked_once(policy, each) for each in chosen.filters
        ),
        "several_answers": holds_several(args.answer_kind),
        "spelt": spelt,
        "max_tokens": args.max_instruction_tokens,
        "count_tokens": functools.partial(count_tokens, tokenizer),
        "special_tokens": special_tokens_of(tokenizer),
        # Options write 0 for off, as the other caps do.
        "max_per_template": args.max_per_template or None,
        "embedding": _encoder(trainer),
        "contamination": trainer.evaluation_sets,
    }
    # Labelled rows may be examples, and a copy of one would be voted on against its gold answer.
    labelled = inside(trainer).row_sets.get(LABELLED, ())
    texts = dict.fromkeys([*trainer.seed_set.instructions, *getattr(labelled, "instructions", ())])
    return ProposalFilter(list(texts), **{**named, **own})


def _asked_once(policy: TrainerPolicy, judge: TextFilter) -> TextFilter:
    """Ask a filter of the user in one process: it may go by clock or chance."""
    return lambda text: policy.decide(lambda: judge(text))


def _encoder(trainer: Host) -> Encoder | None:
    """The embedding model, asked in one process: devices differ in the last digits."""
    if not trainer.args.embedding_model:
        return None
    main = trainer.is_world_process_zero()
    encode = load_encoder(trainer.args.embedding_model) if main else None
    return lambda texts: trainer.policy.decide(lambda: encode(texts) if encode else [])


def _request_budget(trainer: Host) -> int | None:
    """Tokens a request may have so that its answer fits the context; `None`: no limit."""
    context, most = context_tokens(trainer), trainer.args.proposer_max_tokens
    if context is None:
        return None
    # The proposer's answer alone would fill the context.
    if context <= most:
        raise ValueError(
            f"proposer_max_tokens={most} leaves no room for a request in the model's context of "
            f"{context} tokens; lower it."
        )
    return context - most


def prepare_prompts(trainer: Host, chosen: Chosen) -> None:
    """Make the chat template show all that we write, and check the seeds against it.

    Raises `ValueError` without a template, and where a seed cannot be trained from.
    """
    args, tokenizer = trainer.args, inside(trainer)._tokenizer
    kwargs: Any = inside(trainer).chat_template_kwargs

    def render(messages: Any) -> str:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **kwargs
        )

    if args.prompt_style == "completion":
        replaced("tokenizer", tokenizer, chat_template=COMPLETION_TEMPLATE)
    elif not tokenizer.chat_template:
        raise ValueError(no_template_problem(visible(str(trainer.model.name_or_path))))
    notes = prepare_template(tokenizer, render)
    notes += template_warnings(tokenizer, render, set(inside(trainer).eos_token_ids), kwargs)
    for note in notes if trainer.is_world_process_zero() else ():
        logger.warning("%s", note)
    # Where no source writes, no request is made and one seed is enough.
    sets = [(trainer.seed_set, args.num_shots if chosen.writes else 1)]
    problems = [
        problem
        for rows, num_shots in [*sets, *((each, 1) for each in inside(trainer).row_sets.values())]
        for problem in check_seed_set(
            rows,
            num_shots=num_shots,
            max_tokens=args.max_instruction_tokens,
            count_tokens=functools.partial(count_tokens, tokenizer),
            special_tokens=special_tokens_of(tokenizer),
        )
    ]
    if problems:
        raise ValueError("\n".join(map(str, problems)))


def rows_dataset(rows: Sequence[Mapping[str, Any]], args: SeRLConfig) -> Dataset | None:
    """Return instructions and gold answers as TRL reads them; `None` where there are none."""
    if not rows:
        return None
    return Dataset.from_dict(
        {
            "prompt": [rollout_messages(row["instruction"], args.style) for row in rows],
            "instruction": [row["instruction"] for row in rows],
            "gold_answer": [row["answer"] for row in rows],
        }
    )


def all_evaluation_sets(
    named: Mapping[str, Sequence[str]] | None, probe_set: Sequence[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return all problems that must not be trained on, by the name of their set."""
    sets = {name: list(problems) for name, problems in (named or {}).items()}
    if probe_set:
        sets["probe_set"] = [problem["instruction"] for problem in probe_set]
    return sets


def note_contaminated_seeds(trainer: Host) -> None:
    """Warn of seeds that overlap an evaluation set: they are the user's, and stay."""
    seeds = trainer.seed_set.instructions
    verdicts = [trainer.selfplay.proposing.filter.overlap(seed) for seed in seeds]
    rows = [row for row, verdict in enumerate(verdicts) if not verdict.keep]
    # All of them in the ledger, the first ten in the warning.
    for row in rows:
        record = {"type": "seed_overlap", "row": row, **(verdicts[row].detail or {})}
        trainer.ledger.write(record)
    if rows and trainer.is_world_process_zero():
        logger.warning(
            "%d of %d seeds overlap an evaluation set (rows %s%s); they stay in the seed set, so "
            "what is measured on that set is not held out from them.",
            len(rows),
            len(verdicts),
            ", ".join(map(str, rows[:10])),
            ", ..." if len(rows) > 10 else "",
        )


def leave_out_overlaps(trainer: Host, proposal_filter: ProposalFilter) -> None:
    """Leave out the labelled and unlabelled rows that overlap an evaluation set, and name them.

    Raises `ValueError` where none of a set is left.
    """
    for option, rows in inside(trainer).row_sets.items():
        verdicts = [proposal_filter.overlap(text) for text in rows.instructions]
        kept = [row for row, verdict in enumerate(verdicts) if verdict.keep]
        if len(kept) == len(rows):
            continue
        lines = []
        for row, verdict in enumerate(verdicts):
            if not verdict.keep:
                detail = verdict.detail or {}
                record = {"set": option, "place": rows.places[row], **detail}
                trainer.ledger.write({"type": "row_overlap", **record})
                lines.append(
                    f"{rows.places[row]}: row {detail['row']} of {detail['evaluation_set']}."
                )
        said = f"{option}: {len(lines)} of {len(rows)} rows overlap an evaluation set"
        if not kept:
            raise ValueError(f"{said}, and none is left:\n{examples(lines)}")
        if trainer.is_world_process_zero():
            logger.warning("%s and are left out:\n%s", said, examples(lines))
        inside(trainer).row_sets[option] = only(rows, kept)


def note_filters_aside(trainer: Host) -> None:
    """Say which filters step aside, for the run's language and because instructions are texts."""
    aside = trainer.args.filters_aside if trainer.is_world_process_zero() else {}
    for reason in dict.fromkeys(aside.values()):
        named = ", ".join(name for name, why in aside.items() if why == reason)
        logger.warning("%s step aside, each because %s.", named, reason)


def note_long_votes(trainer: Host) -> None:
    """Warn where the vote, for which other processes wait, may outlast what they wait."""
    args = trainer.args
    # A round rolls out up to four times what it needs; see `SelfPlay._round`.
    prompts = args.prompts_per_batch * min(4, args.max_refill_rollouts)
    # Votes and gold answers are two batches of the verifier.
    batches = 2 if args.gold_oracle or any(trainer.seed_set.answers) else 1
    completions = prompts * args.num_generations
    longest = batches * inside(trainer).verifier.longest_s(completions)
    if longest >= args.ddp_timeout:
        logger.warning(
            "ddp_timeout=%s seconds is not above the %.0f that one vote may take at worst (%d "
            "completions, all answers different and slow to compare); the other processes wait for "
            "it, so raise ddp_timeout above that.",
            args.ddp_timeout,
            longest,
            completions,
        )
