"""The same prompt gives the same bytes, wherever and whenever it runs."""

import copy
import os
import urllib.request

import pytest
from PIL import Image

pytestmark = [pytest.mark.comfy, pytest.mark.deep]

TIMES = 20 if os.environ.get("UGCSR_FUZZ") == "full" else 5
SIZE = 72, 104  # width, height: its result is larger than the smallest tile


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A photo with smooth and sharp parts, as a file."""
    picture = Image.radial_gradient("L").resize(SIZE).convert("RGB")
    picture.paste((200, 40, 30), (8, 6, 20, 18))
    picture.paste(Image.linear_gradient("L").resize((30, 30)), (30, 60))
    file = tmp_path_factory.mktemp("scene") / "scene.png"
    picture.save(file)
    return file


@pytest.fixture
def new_name(upload_anew, scene):
    return lambda file=scene: upload_anew(file)


@pytest.fixture
def pixels(client, pictures):
    """Runs a graph; the saved pictures, as bytes of their pixels."""
    return lambda graph: [picture.tobytes() for picture in pictures(client.run(graph)["13"])]


@pytest.fixture
def tiled(anatomy):
    """The quick start in tiles of 256 px with the given changes, as node -> inputs."""

    def make(name, **changes):
        graph = anatomy(name)
        graph["7"]["inputs"] |= {"tile_size": 256, "overlap": 64}
        for key, inputs in changes.items():
            graph[key.removeprefix("n")]["inputs"] |= inputs
        return graph

    return make


def test_again_and_again(tiled, new_name, pixels):
    assert len({pixels(tiled(new_name()))[0] for _ in range(TIMES)}) == 1


def test_no_seed_changes_what_the_bundled_model_makes(tiled, new_name, pixels):
    """Its network sees the photo, and nothing of the sampler's noise."""
    name, changed = new_name(), {"steps": 2, "sampler_name": "euler_ancestral"}
    first, second = (pixels(tiled(name, n9=changed | {"seed": seed}))[0] for seed in (1, 2))
    assert max(abs(one - other) for one, other in zip(first, second, strict=True)) <= 1  # rounding


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_however_many_tiles_are_computed_at_once(tiled, new_name, pixels, batch):
    """A processor's library may sum a batch of one in another order: a value that lies between two levels."""
    (one,), (other,) = pixels(tiled(new_name(), n7={"tile_batch": batch})), pixels(tiled(new_name()))
    apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
    assert max(apart) <= 1
    assert sum(apart) < 1e-4 * len(apart)


def test_after_other_prompts_that_share_its_models(tiled, new_name, pixels, scene, tmp_path, client):
    expected = pixels(tiled(new_name()))
    mirrored = tmp_path / "mirrored.png"
    Image.open(scene).rotate(180).resize((50, 31)).save(mirrored)
    others = [
        tiled(new_name(mirrored)),
        tiled(new_name(), n5={"strength": 0.3}, n6={"strength": 0.2, "end_percent": 0.5}),
        tiled(new_name(), n9={"steps": 3, "cfg": 4.0}),
        tiled(new_name(), n4={"view": "both", "pool": 2}),
    ]
    for other in others:
        assert pixels(other) != expected
        assert pixels(tiled(new_name())) == expected


def test_after_other_models_took_the_place_of_its_own(tiled, new_name, pixels, client):
    expected = pixels(tiled(new_name()))
    for words in ("cat, dog", "tree"):  # a request to unload is heeded behind the next prompt
        body = b'{"unload_models": true, "free_memory": true}'
        urllib.request.urlopen(client.address + "/free", body, timeout=60).close()
        tags = node("UGCSR_EncodeTags", clip=["1", 0], tags=words)
        client.run({"1": node("RandomClip"), "2": tags, "3": node("PreviewAny", source=["2", 0])})
    assert pixels(tiled(new_name())) == expected


def test_two_restorations_in_one_prompt_share_their_models(tiled, new_name, pixels, pictures, client):
    name = new_name()
    plain, weaker = tiled(name), tiled(name, n5={"strength": 0.3})
    expected = pixels(plain), pixels(weaker)
    both = copy.deepcopy(plain)
    for key in ("5", "7", "9", "10", "11", "12", "13"):
        both["9" + key] = copy.deepcopy(weaker[key])
        for socket, value in both["9" + key]["inputs"].items():
            if isinstance(value, list) and "9" + value[0] in both:
                both["9" + key]["inputs"][socket] = ["9" + value[0], value[1]]
    outputs = client.run(both)
    assert tuple([pictures(outputs[key])[0].tobytes()] for key in ("13", "913")) == expected


def test_at_every_place_of_a_batch_under_the_same_noise(tiled, new_name, pixels, scene, tmp_path):
    mirrored = tmp_path / "mirrored.png"
    Image.open(scene).rotate(180).save(mirrored)
    names = [new_name(scene), new_name(mirrored)]

    def batch(name):
        photos = {str(90 + place): node("LoadImage", image=name) for place, name in enumerate(names)}
        joined = {"92": node("ImageBatch", image1=["90", 0], image2=["91", 0])}
        return tiled(name) | photos | joined

    together = batch(names[0])
    for reader in ("3", "4"):
        together[reader]["inputs"]["image"] = ["92", 0]

    def alone(place):
        # The host draws other noise for each place; LatentFromBatch keeps the place.
        graph = batch(names[place]) | {
            "93": node("UGCSR_PrepareImage", image=["92", 0], scale=4.0),
            "94": node("LatentFromBatch", samples=["8", 0], batch_index=place, length=1),
        }
        graph["8"]["inputs"]["pixels"] = ["93", 0]
        graph["9"]["inputs"]["latent_image"] = ["94", 0]
        return pixels(graph)[0]

    assert [alone(place) for place in range(2)] == pixels(together)


def test_damage_of_the_same_seed_is_the_same_in_any_batch(new_name, pixels):
    def damaged(source, seed):
        return {
            "1": node("LoadImage", image=new_name()),
            "2": node("RepeatImageBatch", image=["1", 0], amount=3),
            "3": node(
                "UGCSR_DegradeImage", image=source, recipe="ugc", seed=seed, scale=2, sharpen_target=False
            ),
            "13": node("SaveImage", images=["3", 0], filename_prefix="damaged"),
        }

    together = pixels(damaged(["2", 0], 7))
    assert [pixels(damaged(["1", 0], 7 + place))[0] for place in range(3)] == together
