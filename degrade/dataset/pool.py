"""The engine that runs jobs in worker processes of this machine."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import torch

from .jobs import Job, Outcome, Outcomes, PairPlan, Stopped, work
from .worker import start_worker


def local(plan: PairPlan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Run jobs in `workers` processes with one PyTorch thread each; a single worker is this process itself.

    Once `stopped()` is true, running jobs are finished and the others dropped.
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
            yield work(plan, job)
    finally:
        torch.set_num_threads(threads)


def _pool(plan: PairPlan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    # Fresh processes: forked ones would inherit locks of PyTorch's threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
    waiting: deque[Future[Outcome]] = deque()
    try:
        for job in jobs:
            if stopped():
                break
            with _without_interrupts():
                waiting.append(pool.submit(work, plan, job))
            if len(waiting) > 3 * workers:  # enough to keep all at work, few enough to end soon
                yield waiting.popleft().result()
        while waiting:
            if stopped():
                for future in waiting:
                    future.cancel()  # does nothing to those at work
            if waiting[0].cancelled():
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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
