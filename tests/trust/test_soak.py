"""One host that restores photo after photo: no slower, no larger and with no more open files at the end."""

import io
import os
import random
import statistics
import time

import psutil
import pytest
from PIL import Image

pytestmark = [pytest.mark.comfy, pytest.mark.deep]

FULL = os.environ.get("UGCSR_FUZZ") == "full"
PHOTOS = 300 if FULL else 24
# From the end of the warm-up to the last photo. Few photos on a busy machine tell less than many.
SLOWER = 0.3 if FULL else 0.5
GROWTH_MB = 50


def growth(values):
    """By how much values rise from the first to the last: the median slope of all pairs (Theil and Sen)."""
    slopes = [
        (later - values[i]) / (j - i) for i in range(len(values)) for j, later in enumerate(values) if j > i
    ]
    return statistics.median(slopes) * (len(values) - 1)


def test_growth_is_that_of_the_line_whatever_a_few_outliers_do():
    line = [10 + 0.5 * index for index in range(21)]
    line[7], line[15] = 900, -900
    assert growth(line) == pytest.approx(10)


def test_photo_after_photo_takes_the_same_time_memory_and_files(host_server, client, anatomy, pictures):
    host = psutil.Process(host_server.process.pid)
    seconds, cpu, resident, files = [], [], [], []
    for number in range(PHOTOS):
        name = client.upload_as(f"soak_{number}.png", noisy(number))
        used, started = sum(host.cpu_times()[:2]), time.monotonic()
        (picture,) = pictures(client.run(anatomy(name))["13"])
        seconds.append(time.monotonic() - started)
        cpu.append(sum(host.cpu_times()[:2]) - used)
        resident.append(host.memory_info().rss / 2**20)
        files.append(host.num_fds() if psutil.POSIX else host.num_handles())
        assert picture.size == (160, 96)
    seconds, cpu, resident, files = (kept[PHOTOS // 4 :] for kept in (seconds, cpu, resident, files))
    print(
        f"{PHOTOS} photos: {statistics.median(seconds):.2f} s each, {growth(seconds):+.2f} s from first to "
        f"last; processor {statistics.median(cpu):.2f} s, {growth(cpu):+.2f} s; {resident[-1]:.0f} MB, "
        f"{growth(resident):+.1f} MB; {files[-1]} open files, {growth(files):+.1f}"
    )
    # The processor's time is the host's own, whatever else the machine does.
    assert growth(cpu) < SLOWER * statistics.median(cpu)
    assert growth(resident) < GROWTH_MB
    assert growth(files) < 1
    assert files[-1] <= files[0] + 5  # a connection may still be on its way out


def noisy(seed):
    """A photo of 40x24 px that no other seed makes, as PNG."""
    content = io.BytesIO()
    Image.frombytes("RGB", (40, 24), random.Random(seed).randbytes(40 * 24 * 3)).save(content, "PNG")
    return content.getvalue()
