"""Jobs done by worker processes of this machine."""

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

from ...processes import end_with_parent
from .jobs import Job, Outcome, Outcomes, Plan, Stopped, work
from .memory import keep_memory
from .record import remove_pair

POLL_S = 0.2  # between looks at whether to stop
_stop: Event | None = None  # of a worker


def local(plan: Plan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Work in `workers` processes, each with one thread of PyTorch; one worker is this process itself.

    Once `stopped` says so, the samples at work are finished and the rest left.
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


def _pool(plan: Plan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    # Fresh processes: forked ones would inherit locks of PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(stop,))
    coming = iter(jobs)
    waiting: deque[Future[Outcome]] = deque()
    try:
        while True:
            # Enough to keep all at work, few enough to end soon.
            for job in islice(coming, 0 if stop.is_set() else 3 * workers + 1 - len(waiting)):
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


def _withdraw(plan: Plan, waiting: Iterable[Future[Outcome]]) -> None:
    """Remove what was made since: in the manifest it would stand before what is lacking now."""
    for future in waiting:
        for line in future.result().lines:
            remove_pair(plan.folder, json.loads(line)["name"])


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back, so that a process that starts meanwhile never gets one; it reaches us afterwards."""
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
    end_with_parent()  # a parent that was killed can't tell; they would wait for work for ever
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process; the parent decides
    torch.set_num_threads(1)
    keep_memory()
    _stop = stop


def _work(plan: Plan, job: Job) -> Outcome:
    return work(plan, job, _stop.is_set if _stop else lambda: False)
