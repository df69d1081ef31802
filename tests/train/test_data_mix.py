import collections
import json
import random
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ugc_sr.degrade.__main__ import main as degrade
from ugc_sr.train.data import Data, Part
from ugc_sr.train.data.folders import pair_folder, photo_folder
from ugc_sr.train.data.mix import Mix
from ugc_sr.train.data.sample import Sample

# Damage by averaging alone: every LR pixel is the mean of its 4x4 pixels of HR, wherever a crop was cut.
AVERAGE = {
    "name": "average",
    "scale": 4,
    "source": "a test",
    "steps": [{"op": "shrink", "parameters": {"mode": "area"}}],
}


def paint(seed, width=160, height=128):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path, request):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(8):
        paint(seed, width=getattr(request, "param", 160)).save(folder / f"p{seed}.png")
    return folder


@pytest.fixture
def average(tmp_path):
    file = tmp_path / "average.json"
    file.write_text(json.dumps(AVERAGE))
    return str(file)


@pytest.fixture
def pairs(tmp_path, photos, average):
    folder = tmp_path / "pairs"
    assert degrade([str(photos), str(folder), "--recipe", average, "--workers", "1"]) == 0
    return folder


@pytest.fixture
def plain(tmp_path, pairs):
    """The same pairs without a manifest, as others publish them."""
    folder = tmp_path / "plain"
    for side, name in (("hr", "HR"), ("lr", "LQ")):
        shutil.copytree(pairs / side, folder / name)
    return folder


@pytest.fixture
def arrays(tmp_path, pairs):
    folder = tmp_path / "arrays"
    folder.mkdir()
    for side in ("hr", "lr"):
        stack = [np.asarray(Image.open(pairs / side / f"p{seed}.png")) for seed in range(8)]
        np.save(folder / f"{side}.npy", np.stack(stack))
    return folder


def mix_of(path, recipe=None, key="0:stage", held_out=False, **options):
    return Mix(Data((Part("it", recipe=recipe, path=str(path)),), **options), key, held_out)


def draw(mix, count, crop=16):
    return [mix.sample(number, seed=1000 + number, crop=crop) for number in range(count)]


def assert_same_place(sample):
    averaged = F.avg_pool2d(sample.hr.float(), 4)
    assert (averaged - sample.lr).abs().max() <= 1


@pytest.mark.parametrize("turn", ["none", "flip", "all"])
@pytest.mark.parametrize("kind", ["pairs", "plain", "arrays", "photos"])
def test_both_crops_show_the_same_place_whatever_the_source(request, average, kind, turn):
    path = request.getfixturevalue(kind)
    for _, sample, bad in draw(mix_of(path, average if kind == "photos" else None, turn=turn), 12):
        assert sample.hr.shape == (3, 64, 64)
        assert sample.lr.shape == (3, 16, 16)
        assert_same_place(sample)
        assert not bad


@pytest.mark.parametrize("photos", [128], indirect=True, ids=["square"])
@pytest.mark.parametrize("kind", ["pairs", "arrays", "photos"])
def test_the_whole_view_is_turned_with_its_crop(request, photos, average, kind):
    """Where the crop is all of a square photo, the whole view is the crop."""
    path = request.getfixturevalue(kind)
    mix = mix_of(path, average if kind == "photos" else None, turn="all", semantics="whole", whole_px=32)
    for _, sample, _ in draw(mix, 12, crop=32):
        assert torch.equal(sample.whole, sample.lr)


def test_the_whole_view_is_the_photo_squashed_to_a_square(plain):
    _, sample, _ = draw(mix_of(plain, turn="none", semantics="whole", whole_px=20), 1)[0]
    whole = sample.whole.permute(1, 2, 0).int().numpy()
    squares = [Image.open(file).resize((20, 20), Image.Resampling.BILINEAR) for file in plain.glob("LQ/*")]
    nearest, second = sorted(np.abs(np.asarray(square) - whole).max() for square in squares)[:2]
    assert nearest <= 1 < second


def test_every_photo_comes_once_before_any_comes_again(pairs):
    names = [name for name, _, _ in draw(mix_of(pairs), 24)]
    rounds = [names[first : first + 8] for first in (0, 8, 16)]
    assert all(len(set(names)) == 8 for names in rounds)
    assert len({tuple(names) for names in rounds}) == 3


def test_parts_get_their_shares(photos, pairs, average):
    parts = (
        Part("photos", share=1, recipe=average, path=str(photos)),
        Part("pairs", share=3, path=str(pairs)),
        Part("never", share=0, path=str(pairs)),
    )
    counts = collections.Counter(name.split("/")[0] for name, _, _ in draw(Mix(Data(parts), "0:s"), 400))
    assert counts["never"] == 0
    assert counts["pairs"] / 400 == pytest.approx(0.75, abs=0.08)  # 3.7 standard deviations


def test_a_recipe_draws_anew_for_every_sample(tmp_path, photos):
    for file in sorted(photos.iterdir())[1:]:
        file.unlink()
    lr = [sample.lr for _, sample, _ in draw(mix_of(photos, "mild", turn="none"), 3, crop=32)]
    assert not torch.equal(lr[0], lr[1])
    assert not torch.equal(lr[1], lr[2])


def test_crops_of_damaged_photos_lie_on_every_phase_of_the_blocks_of_codecs(tmp_path, average):
    """In a photo whose LR pixels count their columns, the first column of a crop tells where it lies."""
    columns = np.repeat(np.arange(64, dtype=np.uint8), 4)
    folder = tmp_path / "counting"
    folder.mkdir()
    Image.fromarray(np.broadcast_to(columns[None, :, None], (256, 256, 3)).copy()).save(folder / "a.png")
    phases = {int(sample.lr[0, 0, 0]) % 8 for _, sample, _ in draw(mix_of(folder, average, turn="none"), 150)}
    assert phases == set(range(8))


def test_sharpening_changes_the_target_alone(pairs, arrays, photos, average):
    for path, recipe in ((pairs, None), (arrays, None), (photos, average)):
        usual, crisp = (draw(mix_of(path, recipe, sharpen=sharpen), 3) for sharpen in (False, True))
        for (_, before, _), (_, after, _) in zip(usual, crisp, strict=True):
            assert torch.equal(before.lr, after.lr)
            assert not torch.equal(before.hr, after.hr)


def test_captions_are_read_from_notes_and_from_the_tags_file(photos, average):
    (photos / "p0.txt").write_text("a red\n door ")
    (photos / "metadata.jsonl").write_text(json.dumps({"file_name": "p1.png", "text": "two boats"}) + "\n")
    captions = {name: sample.caption for name, sample, _ in draw(mix_of(photos, average), 8)}
    assert captions.pop("it/p0") == "a red door"
    assert captions.pop("it/p1") == "two boats"
    assert set(captions.values()) == {""}
    assert len(captions) == 6


@pytest.mark.parametrize("line", ["nonsense", '{"file_name": "a.jpg"}', '{"file_name": "a.jpg", "text": 3}'])
def test_a_line_of_tags_that_is_not_one_is_named(photos, average, line):
    (photos / "metadata.jsonl").write_text(f'{{"file_name": "p1.png", "text": ""}}\n{line}\n')
    with pytest.raises(ValueError, match=r"metadata\.jsonl, line 2: expected"):
        mix_of(photos, average)


def test_a_broken_photo_is_replaced_and_changes_no_other_sample(pairs):
    whole = draw(mix_of(pairs), 16)
    (pairs / "hr" / "p3.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    first, again = draw(mix_of(pairs), 16), draw(mix_of(pairs), 16)
    for before, (name, sample, bad), same in zip(whole, first, again, strict=True):
        assert name == same[0] != "it/p3"
        assert torch.equal(sample.hr, same[1].hr)
        assert bool(bad) == (before[0] == "it/p3")
        if bad:
            assert list(bad) == ["it/p3"]
            assert re.search("p3.png: (broken|not a photo)", bad["it/p3"])
        else:
            assert (name, sample.hr.tolist()) == (before[0], before[1].hr.tolist())
    assert sum(bool(bad) for _, _, bad in first) == 2


def test_photos_smaller_than_the_crop_are_skipped_by_name(photos, average):
    paint(9, width=60, height=128).save(photos / "p0.png")
    drawn = draw(mix_of(photos, average), 8)
    reasons = [why for _, _, bad in drawn for why in bad.values()]
    assert len(reasons) == 1
    assert "p0.png: 60x128 px are too few for a crop of 64x64" in reasons[0]


def test_held_out_photos_are_never_trained_on_and_stay_the_same(photos, average):
    held = {name for name, _, _ in draw(mix_of(photos, average, hold_out=3, held_out=True), 12)}
    trained = {name for name, _, _ in draw(mix_of(photos, average, hold_out=3), 20)}
    assert (len(held), len(trained)) == (3, 5)
    assert held.isdisjoint(trained)
    for seed in range(20, 24):
        paint(seed).save(photos / f"added{seed}.png")
    more = {name for name, _, _ in draw(mix_of(photos, average, hold_out=12 - 1, held_out=True), 22)}
    assert held <= more


def test_sizes_that_do_not_fit_stop_the_run_before_it_begins(plain):
    paint(1, width=39, height=32).save(plain / "LQ" / "p1.png")
    with pytest.raises(ValueError, match="1 of 8 pairs don't differ by the scale, 4; the first is p1 with"):
        mix_of(plain)
    with pytest.raises(ValueError, match="8 of 8 pairs don't differ by the scale, 2"):
        mix_of(plain, scale=2)


def test_photos_without_a_partner_are_named(plain):
    (plain / "LQ" / "p5.png").unlink()
    mix = mix_of(plain)
    assert len(mix.chosen[0]) == 7
    assert [why for why in mix.sources[0].problems.values() if "needs both" in why]


@pytest.mark.parametrize(
    ("place", "recipe", "error", "match"),
    [
        ("nowhere", None, FileNotFoundError, "it: there is no folder or list"),
        ("", None, FileNotFoundError, "expected a folder hr or gt or hq in it"),
        ("", "mild", FileNotFoundError, "there are no photos in it"),
        ("", "worse", ValueError, "it: There is no recipe or file 'worse'; recipes are ugc"),
    ],
)
def test_places_with_nothing_in_them_are_refused(tmp_path, place, recipe, error, match):
    with pytest.raises(error, match=match):
        mix_of(tmp_path / place, recipe)


def test_folders_without_pairs_are_refused(tmp_path):
    for side in ("hr", "lr"):
        (tmp_path / side).mkdir()
        paint(0).save(tmp_path / side / f"{side}.png")
    with pytest.raises(FileNotFoundError, match="there are no pairs in it; expected photos of the"):
        mix_of(tmp_path)


def test_a_line_of_a_manifest_that_is_not_one_is_named(pairs):
    with (pairs / "manifest.jsonl").open("a") as file:
        file.write("[1]\n")
    with pytest.raises(ValueError, match=r"manifest\.jsonl, line 9: expected a pair in JSON"):
        mix_of(pairs)


def test_arrays_that_do_not_fit_are_refused(arrays):
    with pytest.raises(ValueError, match=r"at scale 2, hr\.npy \(8, 64, 80, 3\)"):
        mix_of(arrays, scale=2)


def test_what_another_network_made_comes_with_the_same_crop(arrays):
    np.save(arrays / "target.npy", 255 - np.load(arrays / "hr.npy"))
    for _, sample, _ in draw(mix_of(arrays, turn="all"), 8):
        assert torch.equal(sample.target, 255 - sample.hr)
        assert_same_place(sample)
    np.save(arrays / "target.npy", np.load(arrays / "lr.npy"))
    words = r"target\.npy is \(8, 32, 40, 3\) uint8; expected \(8, 128, 160, 3\)"
    with pytest.raises(ValueError, match=words):
        mix_of(arrays)


def test_crops_of_arrays_begin_where_they_are_asked_to(tmp_path):
    rows = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 40, 3), dtype=np.uint8)
    for side in ("hr", "lr"):
        np.save(tmp_path / f"{side}.npy", rows[None])
    for align in (1, 4):
        crops = draw(mix_of(tmp_path, scale=1, turn="none", align=align), 40, crop=8)
        tops = {int(sample.lr[0, 0, 0]) for _, sample, _ in crops}
        assert all(top % align == 0 for top in tops)
        assert len(tops) > 5


@pytest.mark.parametrize(
    ("hold_out", "held_out", "match"),
    [
        (8, False, "it has 8 photos, and hold_out keeps 8 of them"),
        (8, True, "it has 8 photos, and hold_out keeps 8 of them"),
        (0, True, "no photo is held out"),
    ],
)
def test_holding_out_everything_or_nothing_is_refused(pairs, hold_out, held_out, match):
    with pytest.raises(ValueError, match=match):
        mix_of(pairs, hold_out=hold_out, held_out=held_out)


def test_parts_without_a_place_are_left_out():
    mix = Data((Part("photos", 0.4, "mild"), Part("photos", 0.4, "ugc"), Part("pairs", 0.2)))
    assert [part.path for part in mix.at({"photos": "a", "pairs": "b"}).parts] == ["a", "a", "b"]
    assert [part.path for part in mix.at({"pairs": "b"}).parts] == ["b"]
    with pytest.raises(ValueError, match="--data videos=…: this preset has no such part; use --data"):
        mix.at({"videos": "c"})


def test_an_unknown_setting_of_a_saved_mix_is_named():
    with pytest.raises(ValueError, match="data: unknown field 'crops'"):
        Data.from_data({"parts": [], "crops": 1})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"semantics": "tile"}, "semantics must be one of crop, whole, got 'tile'"),
        ({"turn": "left"}, "turn must be one of none, flip, all, got 'left'"),
        ({"parts": ()}, r"a mix needs shares >= 0, not all 0; got \[\]"),
        ({"parts": (Part("a", share=-1), Part("b"))}, r"got \[-1, 1.0\]"),
    ],
)
def test_values_that_mean_nothing_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        replace(Data((Part("a"),)), **change)


def test_turning_in_all_ways_gives_all_eight():
    square = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    ways = {
        tuple(Sample(square, square).turned(random.Random(seed), "all").lr.flatten().tolist())
        for seed in range(80)
    }
    assert len(ways) == 8


def lines_of(captions):
    return "".join(json.dumps({"file_name": name, "text": text}) + "\n" for name, text in captions)


@pytest.fixture
def kinds(tmp_path):
    """Photos of one name in two folders."""
    folder = tmp_path / "kinds"
    for seed, kind in enumerate(("cats", "dogs")):
        (folder / kind).mkdir(parents=True)
        paint(seed).save(folder / kind / "0.jpg")
    return folder


def captions_of(folder):
    files = photo_folder(folder)
    return {name: files.caption(index) for index, name in enumerate(files.names)}


def test_a_caption_belongs_to_a_path_not_to_a_name(kinds):
    (kinds / "metadata.jsonl").write_text(lines_of([("cats/0.jpg", "a cat"), ("./dogs/0.jpg", "a dog")]))
    assert captions_of(kinds) == {"cats/0": "a cat", "dogs/0": "a dog"}


def test_each_folder_may_have_its_own_captions(kinds):
    for kind in ("cats", "dogs"):
        (kinds / kind / "metadata.jsonl").write_text(lines_of([("0.jpg", kind)]))
    assert captions_of(kinds) == {"cats/0": "cats", "dogs/0": "dogs"}


def test_a_name_alone_is_enough_where_one_photo_has_it(kinds):
    paint(3).save(kinds / "dogs" / "Cafe\u0301.jpg")
    (kinds / "metadata.jsonl").write_text(lines_of([("Caf\u00e9.jpg", "a dog"), ("gone.jpg", "nothing")]))
    assert captions_of(kinds) == {"cats/0": "", "dogs/0": "", "dogs/Cafe\u0301": "a dog"}


@pytest.mark.parametrize(
    ("captions", "problem"),
    [
        (
            [("0.jpg", "a cat")],
            r"line 1: '0\.jpg' could be any of 2 photos, such as .*cats/0\.jpg and .*dogs/0\.jpg\. Write",
        ),
        (
            [("cats/0.jpg", "a cat"), ("cats/0.jpg", "a dog")],
            r"line 2: 'cats/0\.jpg' has another text in .*metadata\.jsonl, line 1\. Delete one",
        ),
    ],
)
def test_a_caption_that_could_belong_to_several_photos_is_refused_by_name(kinds, captions, problem):
    (kinds / "metadata.jsonl").write_text(lines_of(captions))
    with pytest.raises(ValueError, match=problem):
        photo_folder(kinds)


@pytest.mark.parametrize("place", ["", "hr", "lr"])
def test_captions_of_pairs_lie_beside_either_side_or_above(tmp_path, place):
    for side, width in (("hr", 160), ("lr", 40)):
        for kind in ("cats", "dogs"):
            (tmp_path / side / kind).mkdir(parents=True)
            paint(0, width, width * 4 // 5).save(tmp_path / side / kind / "0.png")
    (tmp_path / place / "metadata.jsonl").write_text(lines_of([("cats/0.png", "a cat")]))
    files = pair_folder(tmp_path, 4)
    assert {name: files.caption(i) for i, name in enumerate(files.names)} == {"cats/0": "a cat", "dogs/0": ""}


def test_photos_of_one_name_are_held_out_one_by_one(kinds, tmp_path, average):
    """Their pairs know the whole path of what they were made of."""
    for number in range(1, 4):
        for kind in ("cats", "dogs"):
            paint(10 * number + len(kind)).save(kinds / kind / f"{number}.jpg")
    pairs = tmp_path / "pairs"
    options = ["--recipe", average, "--workers", "1", "--per-image", "2"]
    assert degrade([str(kinds), str(pairs), *options]) == 0
    assert sorted(set(pair_folder(pairs, 4).groups)) == [
        *(f"cats/{number}.jpg" for number in range(4)),
        *(f"dogs/{number}.jpg" for number in range(4)),
    ]
    held = {name for name, _, _ in draw(mix_of(pairs, held_out=True, hold_out=1), 8)}
    assert len(held) == 2  # both pairs of one photo
    assert len({name.rpartition("_")[0] for name in held}) == 1


def test_pairs_of_one_photo_are_held_out_together(tmp_path, photos, average):
    folder = tmp_path / "several"
    wanted = ["--recipe", average, "--workers", "1", "--per-image", "3", "--crop", "64"]
    assert degrade([str(photos), str(folder), *wanted]) == 0
    held, trained = (
        {name.rsplit("_", 1)[0] for name, _, _ in draw(mix_of(folder, hold_out=2, held_out=out), 24)}
        for out in (True, False)
    )
    assert len(held) == 2
    assert held.isdisjoint(trained)
