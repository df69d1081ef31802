import io
import random
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from ugc_sr.degrade.__main__ import main as degrade
from ugc_sr.train.data import Data, Part
from ugc_sr.train.data.command import main as pack
from ugc_sr.train.data.folders import pair_folder
from ugc_sr.train.data.mix import Mix
from ugc_sr.train.data.shards import TOGETHER, Shards, write_shards


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    for seed in range(12):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        for side, size in (("hr", (80, 64)), ("lr", (20, 16))):
            (folder / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize(size, Image.Resampling.BOX).save(folder / side / f"día.{seed}.png")
    (folder / "hr" / "día.3.txt").write_text("a cat\n")
    return folder


@pytest.fixture
def shards(tmp_path, pairs):
    """Tiny shards: a new one begins after 50,000 bytes."""
    folder = tmp_path / "shards"
    list(write_shards(pair_folder(pairs, 4), folder, megabytes=0.05))
    assert len(list(folder.glob("*.tar"))) > 2
    return folder


def mix_of(path, recipe=None, **options):
    return Mix(Data((Part("it", recipe=recipe, path=str(path)),), **options), "0:s")


def draw(mix, count, crop=8):
    return [mix.sample(number, seed=1000 + number, crop=crop) for number in range(count)]


def tar_of(file, *names):
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    with tarfile.open(file, "w") as tar:
        for name in names:
            head = tarfile.TarInfo(name)
            head.size = len(content.getvalue())
            tar.addfile(head, io.BytesIO(content.getvalue()))
    return file.parent


def test_shards_hold_the_very_photos_and_captions_of_the_folder(pairs, shards):
    files, packed = pair_folder(pairs, 4), Shards(shards)
    assert sorted(packed.names) == sorted(name.replace(".", "_") for name in files.names)
    for index, name in enumerate(files.names):
        there = packed.names.index(name.replace(".", "_"))
        assert packed.caption(there) == files.caption(index) == ("a cat" if name.endswith(".3") else "")
        for side in ("hr", "lr"):
            assert np.array_equal(packed.open(there, side).rgb(), files.open(index, side).rgb())


def test_samples_of_shards_fit_and_all_come_before_any_comes_again(shards):
    drawn = draw(mix_of(shards), 12)
    assert len({name for name, _, _ in drawn}) == 12
    for _, sample, _ in drawn:
        averaged = torch.nn.functional.avg_pool2d(sample.hr.float(), 4)
        assert (averaged - sample.lr).abs().max() <= 1


def test_webdataset_reads_our_shards(pairs, shards):
    import webdataset

    tars = sorted(str(file) for file in shards.glob("*.tar"))
    read = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    assert sorted(sample["__key__"] for sample in read) == sorted(f"día_{seed}" for seed in range(12))
    for sample in read:
        with Image.open(pairs / "lr" / f"{sample['__key__'].replace('_', '.')}.png") as photo:
            assert sample["lr.png"].tobytes() == photo.tobytes()


def test_we_read_shards_of_webdataset(tmp_path, pairs):
    import webdataset

    files = pair_folder(pairs, 4)
    (tmp_path / "theirs").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "theirs" / "%03d.tar"), maxcount=5, verbose=0) as writer:
        for index in range(12):
            hr, lr = files.open(index, "hr").rgb(), files.open(index, "lr").rgb()
            record = {"gt.png": hr, "lq.png": lr, "txt": f"text {index}", "json": {"any": 1}, "cls": 3}
            writer.write({"__key__": f"some/where/{index}", **record})
    packed = Shards(tmp_path / "theirs")
    assert packed.names == [f"some/where/{index}" for index in range(12)]
    assert [packed.caption(index) for index in (0, 11)] == ["text 0", "text 11"]
    assert np.array_equal(packed.open(7, "lr").rgb(), files.open(7, "lr").rgb())


def test_clean_photos_in_shards_are_damaged_as_they_are_drawn(tmp_path, pairs):
    assert pack([str(pairs / "hr"), str(tmp_path / "clean")]) == 0
    drawn = draw(mix_of(tmp_path / "clean", "mild"), 3)
    assert all(sample.lr.shape == (3, 8, 8) for _, sample, _ in drawn)
    with pytest.raises(ValueError, match="samples without lr in the shards of it; expected pairs"):
        mix_of(tmp_path / "clean")


def test_the_order_reads_a_few_shards_at_a_time(tmp_path):
    """Neighbours in the order lie in at most `TOGETHER` shards, which come in random order."""
    for number in range(3 * TOGETHER):
        tar_of(tmp_path / f"{number:03}.tar", *(f"{name}.hr.png" for name in range(4)))
    packed = Shards(tmp_path)
    order = packed.order(random.Random(0))
    assert sorted(order) == list(range(len(packed.names)))
    shards = [index // 4 for index in order]
    chapters = [shards[first : first + 4 * TOGETHER] for first in range(0, len(shards), 4 * TOGETHER)]
    assert [len(set(chapter)) for chapter in chapters] == [TOGETHER] * 3
    assert shards != sorted(shards)
    assert chapters[0] != sorted(chapters[0])


def test_a_list_names_shards_on_several_disks(tmp_path, shards):
    tars = sorted(shards.glob("*.tar"))
    (tmp_path / "disk").mkdir()
    moved = tars[0].rename(tmp_path / "disk" / "moved.tar")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{file}\n" for file in [moved, *tars[1:]]))
    assert len(draw(mix_of(listed), 12)) == 12
    listed.write_text("nowhere.tar\n")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tar: there is no such shard"):
        mix_of(listed)


def test_the_same_pairs_give_the_same_shards(tmp_path, pairs):
    for folder in ("a", "b"):
        assert pack([str(pairs), str(tmp_path / folder)]) == 0
    assert (tmp_path / "a" / "000000.tar").read_bytes() == (tmp_path / "b" / "000000.tar").read_bytes()


def test_a_broken_member_is_skipped_by_name(shards):
    packed = Shards(shards)
    tar = shards / "000000.tar"
    content = bytearray(tar.read_bytes())
    offset, size = packed._place[0, 1]
    content[offset : offset + size] = bytes(int(size))
    tar.write_bytes(content)
    drawn = draw(mix_of(shards), 12)
    assert [list(bad) for _, _, bad in drawn if bad] == [[f"it/{packed.names[0]}"]]
    assert any(f"000000.tar/{packed.names[0]}.lr" in why for _, _, bad in drawn for why in bad.values())


def test_half_a_shard_is_refused(shards):
    tar = shards / "000001.tar"
    for content in (tar.read_bytes()[:5000], b"no tar at all, but long enough to be looked at" * 20):
        tar.write_bytes(content)
        with pytest.raises(ValueError, match=r"000001\.tar: not a complete tar file"):
            mix_of(shards)


def test_shards_without_samples_are_refused(tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(FileNotFoundError, match=r"no sample in its shards; expected members like NAME\.hr"):
        mix_of(tmp_path)


def test_packing_tells_what_came_of_it_and_spares_what_is_there(tmp_path, pairs, capsys):
    assert pack([str(pairs), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"12 samples in 1 shards in {tmp_path / 'out'}\n"
    assert pack([str(pairs), str(tmp_path / "out")]) == 2
    assert "there are shards already; use another folder" in capsys.readouterr().err
    assert pack([str(tmp_path / "nowhere"), str(tmp_path / "new")]) == 2
    assert "there is no such folder or list" in capsys.readouterr().err


@pytest.mark.deep
@pytest.mark.skipif(sys.platform == "win32", reason="Windows can't limit the size of a file")
def test_a_full_disk_leaves_no_half_a_shard(tmp_path, pairs):
    script = (
        "import resource, sys\n"
        "from ugc_sr.train.data.command import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, str(pairs), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large. Not everything was packed" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_dots_in_members_swallow_no_sample(tmp_path):
    names = ("a/IMG.2024.01.jpg", "a/IMG.2024.02.JPG", "b/IMG.2024.01.hr.png", "b/IMG.2024.01.lr.png", "c.hr")
    packed = Shards(tar_of(tmp_path / "0.tar", *names, "b/IMG.2024.01.txt", "d.json", "e.lr.png"))
    assert packed.names == ["a/IMG.2024.01", "a/IMG.2024.02", "b/IMG.2024.01", "c"]
    assert [packed.caption(index)[:1] for index in range(4)] == ["", "", "\ufffd", ""]
    assert packed.problems == {"e": f"no photo of that name in {tmp_path}/0.tar, only its lr"}


def test_members_of_a_sample_need_not_lie_together(tmp_path):
    packed = Shards(tar_of(tmp_path / "0.tar", "a.hr.png", "b.hr.png", "a.lr.png", "b.lr.png"))
    assert (packed.names, packed.paired) == (["a", "b"], True)


@pytest.mark.parametrize(
    "names",
    [("a.jpg", "a.png"), ("a.png", "b.png", "a.png"), ("a.jpg", "a.seg.png"), ("a.hr.png", "a.gt.png")],
)
def test_two_photos_that_could_be_one_sample_are_refused_by_name(tmp_path, names):
    with pytest.raises(ValueError, match=rf"0\.tar: {names[0]} and {names[-1]} could be of one sample"):
        Shards(tar_of(tmp_path / "0.tar", *names))


def test_pairs_of_one_photo_are_held_out_together_from_shards_too(tmp_path, pairs):
    command = f"{pairs}/hr {tmp_path}/made --recipe mild --per-image 2 --workers 1"
    assert degrade(command.split()) == 0
    assert pack([f"{tmp_path}/made", f"{tmp_path}/out"]) == 0
    packed = Shards(tmp_path / "out")
    assert len(packed.names) == 24
    assert sorted(packed.groups) == sorted(f"día.{seed}.png" for seed in range(12) for _ in range(2))
