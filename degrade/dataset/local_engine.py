"""The engine that runs jobs in worker processes of this machine."""

import json
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.synchronize import Event

import torch

from .jobs import Job, Outcome, Outcomes, PairPlan, Stopped, work
from .pair_folder import remove_pair
from .worker import start_worker

POLL_S = 0.2  # between calls of `stopped`
_stop: Event | None = None  # set in a worker, tells it to stop


def local(plan: PairPlan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Run jobs in `workers` processes with one PyTorch thread each; a single worker is this process itself.

    Once `stopped()` is true, the current samples are finished and the others dropped.
    """
    workers = min(workers, len(jobs))
    if workers > 1:
        try:
            yield from _pool(plan, jobs, workers, stopped)
        except BrokenProcessPool:
            yield Outcome(fatal="a worker was killed, perhaps for want of memory; fewer --workers need less")
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker, so that the sums come out the same
    try:
        for job in jobs:
            if stopped():
                return
            yield work(plan, job, stopped)
    finally:
        torch.set_num_threads(threads)


def _pool(plan: PairPlan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    # Fresh processes: forked ones would inherit locks of PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(stop,))
    remaining = iter(jobs)
    waiting: deque[Future[Outcome]] = deque()
    try:
        while True:
            if stopped():
                stop.set()
            # Enough to keep all workers busy, few enough to end soon.
            for job in islice(remaining, 0 if stop.is_set() else 3 * workers + 1 - len(waiting)):
                with _without_interrupts():
                    waiting.append(pool.submit(_work, plan, job))
            if not waiting:
                return
            while not wait([waiting[0]], POLL_S).done:
                if stopped():
                    stop.set()
            outcome = waiting.popleft().result()
            yield outcome
            if outcome.stopped:
                return _withdraw(plan, waiting)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _withdraw(plan: PairPlan, waiting: Iterable[Future[Outcome]]) -> None:
    """Remove the pairs of later jobs, which would be in the manifest before the missing ones."""
    for future in waiting:
        for line in future.result().lines:
            remove_pair(plan.folder, json.loads(line)["name"])


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT, so that a process started meanwhile inherits the block; the signal arrives afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(stop: Event) -> None:
    global _stop
    start_worker()
    _stop = stop


def _work(plan: PairPlan, job: Job) -> Outcome:
    return work(plan, job, _stop.is_set if _stop else lambda: False)
