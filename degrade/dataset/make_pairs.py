"""A run that makes the missing pairs of a data set and lists them in the manifest, in order."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from .jobs import Engine, Job, Outcomes, PairPlan, Stopped
from .pair_folder import SIDES, PairFolder


@dataclass
class Summary:
    """The result of a run.

    Attributes:
        made: number of new pairs.
        problems: number of photos and pairs that could not be used.
        unused: sources of those photos.
        mix: number of pairs in the data set, by origin.
        fatal: the error that ended the run early, if there was one.
    """

    made: int = 0
    problems: int = 0
    unused: list[str] = field(default_factory=list)
    mix: Mapping[str, int] = field(default_factory=dict)
    fatal: str | None = None


def check_folder(folder: Path, resume: bool) -> None:
    """Check that a folder is new, or holds a data set that shall be continued.

    Raises:
        ValueError: if pairs are there and `resume` is not set, or the files are not of this command.
    """
    manifest = folder / "manifest.jsonl"
    begun = any(any((folder / side).glob("*.*")) for side in SIDES)
    begun = begun or (manifest.exists() and manifest.stat().st_size > 0)
    if begun and not resume:
        raise ValueError(
            f"{folder}: there are pairs already. Add --resume to go on with them, or use another folder."
        )
    if begun and not (folder / "dataset.json").exists():
        raise ValueError(f"{folder}: its files were not made by this command; use another folder.")


def make_pairs(
    plan: PairPlan,
    jobs: Sequence[Job],
    engine: Engine,
    workers: int = 1,
    stopped: Stopped = lambda: False,
) -> Summary:
    """Make the pairs of `jobs` that the data set lacks, with a progress bar on a terminal.

    A photo that can't be used gets a line on stderr. Once `stopped()` is true, the current samples are
    finished and their pairs entered.

    Raises:
        ValueError: if the data set holds pairs of other settings or photos.
        RuntimeError: if another run is writing there.
    """
    summary = Summary()
    try:
        with PairFolder(plan.folder, plan.settings()) as data:
            summary.mix = data.mix
            lacking = list(_lacking(jobs, data))
            if lacking:
                with closing(engine(plan, lacking, workers, stopped)) as outcomes:
                    _enter(lacking, outcomes, data, summary)
    except OSError as error:  # of the data set; a photo's are its own problem
        summary.fatal = error.strerror or str(error)
    return summary


def _lacking(jobs: Sequence[Job], data: PairFolder) -> Iterator[Job]:
    for job in jobs:
        samples = []
        for name, seed in job.samples:
            if name not in data.pairs:
                samples.append((name, seed))
            elif data.pairs[name] != (job.source, None if job.damaged else seed):
                source, before = data.pairs[name]
                raise ValueError(
                    f"{data.folder}: {name} was made of {source} with seed {before}, now it would be of "
                    f"{job.source} with seed {seed}. The photos have changed; put them back as they were, or "
                    "use another folder."
                )
        if samples:
            yield replace(job, samples=tuple(samples))


def _enter(jobs: Sequence[Job], outcomes: Outcomes, data: PairFolder, summary: Summary) -> None:
    total = len(data.pairs) + sum(len(job.samples) for job in jobs)
    with tqdm(total=total, initial=len(data.pairs), unit=" pairs", disable=None, dynamic_ncols=True) as bar:
        for job, outcome in zip(jobs, outcomes, strict=False):
            for line in outcome.lines:
                data.append(line)
                summary.made += 1
            for line in (*outcome.problems, *([outcome.note] if outcome.note else [])):
                tqdm.write(line, file=sys.stderr)
            summary.problems += len(outcome.problems)
            if outcome.problems and job.source not in summary.unused[-1:]:
                summary.unused.append(job.source)
            bar.update(len(job.samples))
            if outcome.fatal:
                summary.fatal = outcome.fatal
                return
