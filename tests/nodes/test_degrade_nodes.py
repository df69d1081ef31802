"""Degrade Photo, Replay Degradation and Save Training Pairs, as the host calls them."""

import json

import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.comfy


def replay(image, degradation):
    from ugc_sr.nodes.degrade_nodes import ReplayDegradation

    return ReplayDegradation.execute(image, degradation).result


def save(hr, lr, degradation, folder="set", name="photo"):
    from ugc_sr.nodes.pair_node import SaveTrainingPairs

    return SaveTrainingPairs.execute(hr, lr, degradation, folder, name)


@pytest.mark.parametrize(
    ("size", "scale"), [((40, 36), 4), ((41, 39), 4), ((7, 5), 1), ((1, 1), 1), ((9, 10), 8)]
)
def test_hr_is_cut_to_the_scale_and_lr_is_that_much_smaller(simple, degrade, size, scale):
    lr, (degradation,), text, hr = degrade(torch.rand(1, *size, 3), scale=scale)
    height, width = (side // scale for side in size)
    assert lr.shape == (1, height, width, 3)
    assert hr.shape == (1, height * scale, width * scale, 3)
    assert degradation == simple.draw(0, scale)
    assert text == degradation.to_json()


def test_a_photo_of_a_batch_comes_out_as_it_does_alone(degrade):
    batch = torch.rand(3, 20, 24, 3)
    lr, degradations, text, hr = degrade(batch, seed=7)
    assert [degradation.seed for degradation in degradations] == [7, 8, 9]
    assert text.splitlines() == [degradation.to_json() for degradation in degradations]
    for index in range(3):
        alone = degrade(batch[index : index + 1], seed=7 + index)
        assert torch.equal(alone[0], lr[index : index + 1])
        assert torch.equal(alone[3], hr[index : index + 1])


def test_what_is_transparent_is_laid_on_white(degrade):
    photo = torch.rand(1, 16, 16, 4)
    on_white = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
    for of_rgba, of_rgb in zip(degrade(photo), degrade(on_white), strict=True):
        assert torch.equal(of_rgba, of_rgb) if isinstance(of_rgba, torch.Tensor) else of_rgba == of_rgb


def test_a_sharpened_target_leaves_the_damaged_photo_alone(degrade):
    photo = torch.rand(1, 64, 64, 3)
    plain, sharp = degrade(photo), degrade(photo, sharpen_target=True)
    assert torch.equal(plain[0], sharp[0])
    assert not torch.equal(plain[3], sharp[3])


def test_the_largest_seed_of_the_widget_works(degrade):
    _, degradations, _, _ = degrade(torch.rand(2, 8, 8, 3), seed=2**64 - 1)
    assert degradations[1].seed == 2**64


@pytest.mark.parametrize("form", ["socket", "text"])
def test_a_replay_makes_the_same_photos_again(degrade, form):
    photos = torch.rand(2, 18, 17, 3)
    lr, degradation, text, hr = degrade(photos, seed=3)
    replayed = replay(photos, degradation if form == "socket" else f"\n{text}\n\n")
    assert torch.equal(replayed[0], lr)
    assert torch.equal(replayed[1], hr)


def test_one_degradation_is_replayed_on_every_photo(degrade):
    photos = torch.rand(3, 16, 16, 3)
    _, degradation, _, _ = degrade(photos[:1])
    lr, _ = replay(photos, degradation)
    assert torch.equal(lr[2:], replay(photos[2:], degradation)[0])


def test_replay_refuses_what_does_not_fit_its_photos(simple, degrade):
    photos = torch.rand(2, 16, 16, 3)
    _, three, text, _ = degrade(torch.rand(3, 16, 16, 3))
    with pytest.raises(ValueError, match=r"^Replay Degradation: 'degradation' holds 3 and 'image' 2 photos"):
        replay(photos, three)
    with pytest.raises(ValueError, match=r"^Replay Degradation: 'degradation' is empty"):
        replay(photos, "\n ")
    with pytest.raises(ValueError, match=r"^Replay Degradation: line 2: degradation: not JSON"):
        replay(photos, f"{text.splitlines()[0]}\nnonsense")
    with pytest.raises(ValueError, match=r"^Replay Degradation: line 1: degradation: expected"):
        replay(photos, 7)
    mixed = (simple.draw(0, 4), simple.draw(0, 2))
    with pytest.raises(ValueError, match=r"has the scales 2, 4. Replay them one after the other"):
        replay(photos, mixed)


def test_a_replayed_text_is_checked_before_it_is_applied(simple):
    text = simple.draw(0).to_json().replace('"quality": ', '"quality": 1000')
    with pytest.raises(
        ValueError, match=r"line 1: degradation: draws\[2\]: jpeg: quality must be .* got 1000"
    ):
        replay(torch.rand(1, 16, 16, 3), text)


def test_saved_pairs_and_their_manifest_replay(degrade, folders):
    photos = torch.rand(2, 16, 20, 3)
    lr, degradation, _, hr = degrade(photos, seed=4)
    for total in (2, 4):
        (said,) = save(hr, lr, degradation, folder="pets/first").ui.as_dict()["text"]
        assert said == f"2 saved, {total} in all: {folders / 'datasets' / 'pets' / 'first'}"
    place = folders / "datasets" / "pets" / "first"
    lines = [json.loads(line) for line in (place / "manifest.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [f"photo_0000{n}.png" for n in (1, 2, 3, 4)]
    assert [line["seed"] for line in lines] == [4, 5, 4, 5]
    for index, line in enumerate(lines[2:]):
        assert line["degradation"] == json.loads(degradation[index].to_json())
        for side, photo in (("lr", lr), ("hr", hr)):
            with Image.open(place / side / line["name"]) as picture:
                pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
            assert torch.equal(pixels, photo[index].mul(255).round().byte().flatten())


def test_a_name_that_is_taken_is_passed_over(degrade, folders):
    lr, degradation, _, hr = degrade(torch.rand(1, 8, 8, 3))
    save(hr, lr, degradation, name="a")
    save(hr, lr, degradation, name="b")
    save(hr, lr, degradation, name="a")
    names = {file.name for file in (folders / "datasets" / "set" / "hr").iterdir()}
    assert names == {"a_00001.png", "b_00002.png", "a_00003.png"}


def test_pairs_that_do_not_fit_are_refused_and_leave_nothing_behind(degrade, folders):
    photos = torch.rand(2, 17, 16, 3)
    lr, degradation, _, hr = degrade(photos)
    with pytest.raises(
        ValueError, match="2 photos in 'hr', 1 in 'lr' and 2 in 'degradation'; expected as many"
    ):
        save(hr, lr[:1], degradation)
    with pytest.raises(
        ValueError, match=r"'hr' has 16x17 px; expected 16x16, 4 times 'lr' of 4x4. Connect hr of"
    ):
        save(photos, lr, degradation)
    with pytest.raises(ValueError, match=r"^Save Training Pairs: 'folder' must name a folder inside"):
        save(hr, lr, degradation, folder="../x")
    with pytest.raises(ValueError, match=r"^Save Training Pairs: 'name' must be a plain name"):
        save(hr, lr, degradation, name="a/b")
    assert not (folders / "datasets").exists()


def test_a_folder_that_is_no_data_set_is_left_alone(degrade, folders):
    place = folders / "datasets" / "set"
    place.mkdir(parents=True)
    (place / "manifest.jsonl").write_text("shopping list\n")
    lr, degradation, _, hr = degrade(torch.rand(1, 8, 8, 3))
    with pytest.raises(
        RuntimeError, match=r"^Save Training Pairs: .*manifest.jsonl, line 1: expected a pair"
    ):
        save(hr, lr, degradation)
