"""Pushing a run to the Hub: private by default, tried a few times, and never a reason to fail."""

import fcntl
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder, FolderError
from serl_trl.common.records import ANY
from serl_trl.common.text import one_line
from serl_trl.data.tables import is_hub_id
from serl_trl.measure.session import SUMMARY
from serl_trl.runs.facts import RunFacts, read_license
from serl_trl.runs.reader import COMPARISON, Run, read_comparison, read_run
from serl_trl.share.card import (
    Subject,
    address_of,
    dataset_card,
    write_card_text,
    write_model_card,
)
from serl_trl.share.dataset import read_rows, without_secrets, write_dataset
from serl_trl.share.facts import facts_of
from serl_trl.share.published import (
    ReleaseError,
    RunFolder,
    check_secrets,
    find_run,
    known_secrets,
    list_files,
    stage_model,
    stage_results,
)
from serl_trl.train.checkpoint import Hold

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]
# Waits of 2, 4, 8 and 16 seconds: a Hub that is away for longer is told of, and the folder kept.
ATTEMPTS = 5
FIRST_WAIT_S = 2.0
# Answers of the Hub that another try may change: time-outs, conflicts, limits, its own troubles.
_PASSING = {408, 409, 423, 425, 429, 500, 502, 503, 504}


class NotPushedError(RuntimeError):
    """Why a folder did not reach the Hub; the local copy is whole."""


@dataclass(frozen=True)
class Upload:
    """A folder that is ready to go, and where to; `command` sends it later.

    `files` are the names in it, `left` what of the run's own folder stays behind, `withheld` the
    rows and texts that hold a secret, each with what kind. No other push removes the folder while
    `hold` is held. `message` is the commit's, in place of our own.
    """

    kind: Kind
    folder: Path
    repo_id: str
    private: bool
    command: str
    files: tuple[str, ...]
    left: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    hold: Hold | None = None
    message: str | None = None


def prepare_model(
    folder: Path,
    *,
    repo_id: str | None = None,
    private: bool = True,
    evaluation: Path | None = None,
) -> Upload:
    """Put what would be uploaded of the run in `folder` into a folder of its own.

    Its card is written anew; `evaluation` is a folder of `serl eval` about this model. Without
    `repo_id` that of the run is taken, else the folder's name.
    Raises `ReleaseError` when the run cannot be published as it is.
    """
    where, subject = _open(folder)
    repo_id = repo_id or _repo_of(where, subject.run)
    with _fresh(where, "model") as (target, held):
        release = stage_model(where, target, subject.facts)
        measured = {}
        if evaluation is not None:
            stage_results(evaluation, where, target)
            measured = _comparison_in(evaluation)
        # The licence of the base belongs in the card, and only the Hub knows it for sure.
        subject = replace(subject, facts=_with_license(subject.facts), repo_id=repo_id)
        withheld = write_model_card(target, subject, measured=measured, secrets=_secrets())
        files = _checked(target)
    command = later(folder, "push", repo_id, private=private)
    return Upload(
        "model", target, repo_id, private, command, files, release.left, tuple(withheld), held
    )


def prepare_dataset(folder: Path, *, repo_id: str | None = None, private: bool = True) -> Upload:
    """Put the self-written instructions of the run in `folder` into a folder of its own.

    Of a checkpoint it is what was written up to there. Raises `ReleaseError` when that is nothing.
    """
    where, subject = _open(folder)
    repo_id = repo_id or f"{_repo_of(where, subject.run)}-instructions"
    if not len(subject.run.ledger.proposals):
        raise ReleaseError(f"the ledger of {folder} holds no proposal; there is nothing to push.")
    secrets, withheld = _secrets(), []
    with _fresh(where, "dataset") as (target, held):
        rows = read_rows(subject.run, run_id=subject.facts.run_id)
        counts = write_dataset(target, without_secrets(rows, secrets, withheld))
        subject = replace(subject, facts=_with_license(subject.facts), repo_id=repo_id)
        withheld += write_card_text(target, dataset_card(subject, counts), secrets)
        files = _checked(target)
    command = later(folder, "push-dataset", repo_id, private=private)
    return Upload("dataset", target, repo_id, private, command, files, (), tuple(withheld), held)


def write_card(folder: Path, *, repo_id: str | None) -> None:
    """Write the card of the run in `folder`, with its figures, beside the model.

    Raises `ReleaseError` when no run wrote the folder.
    """
    _, subject = _open(folder)
    # A trainer writes the card of what it has just saved: of the run, also while it still runs.
    subject = replace(subject, repo_id=repo_id, checkpoint=None)
    write_model_card(folder, subject, secrets=_secrets())


def upload(ready: Upload, *, wait: Callable[[float], None] = time.sleep) -> str:
    """Send a prepared folder and return its address; tried again after passing failures.

    An existing public repository is not written to when `ready.private`. The folder is removed once
    it arrived. Raises `NotPushedError`.
    """
    from huggingface_hub.errors import HTTPError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            address = _send(ready)
        # A ValueError is a bad name or bad metadata, which is found before anything is sent.
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            reason = _reason(error)
            # A name or a login that the Hub refuses is refused again.
            if attempt == ATTEMPTS or not _may_pass(error):
                raise NotPushedError(reason) from error
        else:
            shutil.rmtree(ready.folder)
            return address
        seconds = FIRST_WAIT_S * 2 ** (attempt - 1)
        logger.warning(
            "The Hub could not be reached (%s); trying again in %.0f s, %d of %d.",
            reason,
            seconds,
            attempt + 1,
            ATTEMPTS,
        )
        wait(seconds)
    raise AssertionError("the last attempt returns or raises")


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, HfHubHTTPError):
        # The first line is what the Hub said; the rest names the request.
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return " ".join(said.split()).rstrip(".")
    told = isinstance(error, ValueError | NotPushedError)
    return one_line(error) if told else f"{type(error).__name__}: {one_line(error)}"


def _may_pass(error: Exception) -> bool:
    """Return whether another try may succeed."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING
    return not isinstance(error, OfflineModeIsEnabled | NotPushedError | ValueError)


def push_model(
    folder: Path,
    *,
    repo_id: str | None,
    private: bool,
    message: str | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> str | None:
    """Prepare and send the model of a run; `None` when it could not be pushed, which is logged.

    Never raises for what can be wrong with the run, the network or the Hub: training is over, and
    its result lies in the folder.
    """
    try:
        ready = prepare_model(folder, repo_id=repo_id, private=private)
        ready = replace(ready, message=message)
        return upload(ready, wait=wait)
    except (FolderError, NotPushedError, OSError) as error:
        logger.error(
            "The model was not pushed: %s. It lies whole in %s; push it later with: %s",
            one_line(error),
            folder,
            later(folder, "push", repo_id, private=private),
        )
        return None


def later(folder: Path, command: str, repo_id: str | None, *, private: bool) -> str:
    """Return the command line that pushes `folder`."""
    words = ["serl", command, str(folder), *(["--repo_id", repo_id] if repo_id else [])]
    return shlex.join(words if private else [*words, "--public"])


def _open(folder: Path) -> tuple[RunFolder, Subject]:
    where = find_run(folder)
    try:
        run = read_run(where.private.parent)
    except ValueError as error:
        raise ReleaseError(str(error)) from error
    if where.checkpoint is not None:
        run = _cut_at(run, where.checkpoint)
    return where, Subject(run, facts_of(run.facts, run.config), None, where.checkpoint)


def _cut_at(run: Run, step: int) -> Run:
    """Return what was known when the checkpoint of `step` was written; `run` is used up."""
    run.ledger.proposals.drop_from(step)
    run.ledger.groups.drop_from(step)
    # The last row, without a figure, says where the checkpoint lies when its step was not logged.
    metrics = [row for row in run.metrics if row["step"] <= step]
    # What was measured is the final model.
    return replace(run, metrics=[*metrics, {"step": float(step)}], evaluation={})


def _comparison_in(evaluation: Path) -> dict[str, Any]:
    """Return what `serl eval --compare` wrote into its folder for the trained model, or nothing.

    `settings` maps each benchmark to the settings under which that model was measured.
    """
    source = Folder(evaluation)
    if not source.has(COMPARISON):
        return {}
    summary = source.read_json(SUMMARY, {"benchmarks": {ANY: {"settings": dict}}})
    settings = {name: entry["settings"] for name, entry in summary["benchmarks"].items()}
    return read_comparison(evaluation) | {"settings": settings}


def _repo_of(where: RunFolder, run: Run) -> str:
    # A config may be somebody else's: what is no name on the Hub is not asked for there.
    named = run.config.get("hub_model_id")
    return named if named and is_hub_id(named) else where.name


@contextmanager
def _fresh(where: RunFolder, kind: Kind) -> Generator[tuple[Path, Hold]]:
    """Give an empty folder of this push's own, and the hold that keeps others from removing it.

    What earlier pushes of that kind left, and none holds any more, is removed.
    """
    run, name = Folder(where.private.parent), f"{PRIVATE_FOLDER}/upload"
    upload = run.make(name)
    for path in run.entries(name):
        # A folder that nobody holds was left by a push that failed or was killed.
        ours = path.name == kind or path.name.startswith(f"{kind}-")
        if ours and (path.is_symlink() or not path.is_dir() or _lock(path) is not None):
            run.remove(f"{name}/{path.name}")
    target = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=upload))
    held = _lock(target)
    assert held is not None, "nobody else knows its name"
    try:
        yield target, held
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _lock(folder: Path) -> Hold | None:
    """Hold a folder, or return `None` when another push does."""
    held = Hold(handle := os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        # Some network file systems have no locks; a push from one must still work.
        logger.debug("%s cannot be locked: %s", folder, error)
    return held


def _secrets() -> set[str]:
    from huggingface_hub import get_token

    return known_secrets(get_token())


def _checked(folder: Path) -> tuple[str, ...]:
    """Return the names of the files in `folder` when none of them holds a secret."""
    # The last look, at exactly the bytes that are sent.
    check_secrets(folder, _secrets())
    return tuple(list_files(folder))


def _with_license(facts: RunFacts) -> RunFacts:
    """Add the licence of a base on the Hub, where the Hub can be asked for it."""
    # Asked when pushing, not when training: a run may train without a network.
    if facts.base is None or facts.base_license:
        return facts
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    try:
        path = hf_hub_download(facts.base, "README.md", revision=facts.base_revision)
        found = read_license(Path(path).read_text(encoding="utf-8"))
    except (HTTPError, EntryNotFoundError, OSError, ValueError):
        return facts
    return replace(facts, base_license=found)


def _send(ready: Upload) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    repo = api.create_repo(
        ready.repo_id, repo_type=ready.kind, private=ready.private, exist_ok=True
    )
    # `exist_ok` takes a repository as it is: one that is public would publish what is private.
    if ready.private and not api.repo_info(repo.repo_id, repo_type=ready.kind).private:
        raise NotPushedError(
            f"{repo.repo_id} exists and is public; name another repository, make it private, or "
            "say --public"
        )
    _name_owner(ready, repo.repo_id)
    api.upload_folder(
        repo_id=repo.repo_id,
        repo_type=ready.kind,
        folder_path=ready.folder,
        commit_message=ready.message or f"Push the {ready.kind} of a SeRL run",
    )
    return str(repo)


def _name_owner(ready: Upload, repo_id: str) -> None:
    """Write the whole name of the repository into the code of a card made before it was known."""
    # Only the Hub knows who is logged in, and says so when the repository is made.
    card = ready.folder / "README.md"
    text = card.read_text(encoding="utf-8")
    text = text.replace(f'"{address_of(ready.repo_id)}"', f'"{address_of(repo_id)}"')
    Folder(ready.folder).write(card.name, text)
