"""What can go wrong in a person's graph: one error in the graph's words, and the host goes on."""

import re

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture
def model_folders(host_server):
    """The host's model folders, where a test may leave a file."""
    return host_server.log.parent / "models"


@pytest.fixture
def graph(client, photo, anatomy):
    """The quick-start graph for a small photo."""
    return anatomy(client.upload(photo))


@pytest.fixture
def refused(client, graph, host_server):
    """Checks that a graph gives one error, which matches, and that the next graph runs."""

    def check(bad, match):
        before = len(host_server.log.read_text())
        with pytest.raises(RuntimeError, match=match):
            client.run(bad)
        said = host_server.log.read_text()[before:]
        invalid = "Failed to validate prompt" in said  # the host says so for each output
        assert said.count("!!! Exception during processing") + invalid == 1
        assert len(client.run(graph)["13"]["images"]) == 1

    return check


def relinked(graph, into, socket, source):
    """The graph with another node in front of one socket."""
    linked = graph[into] | {"inputs": graph[into]["inputs"] | {socket: ["90", 0]}}
    return graph | {"90": source, into: linked}


def with_image(graph, into, socket, kind):
    """The graph with an odd image on one socket."""
    return relinked(graph, into, socket, node("OddImage", kind=kind))


READERS = [("4", "Encode Semantics: 'image' "), ("6", "Apply Semantic ControlNet: 'hint' ")]
READERS += [("11", "Match Color: 'reference' ")]


@pytest.mark.parametrize(
    ("into", "head", "kind", "problem"),
    [
        ("3", "Prepare Photo: 'image' ", "bytes", r"holds uint8; expected floats from 0 to 1"),
        (
            "3",
            "Prepare Photo: 'image' ",
            "five channels",
            r"has 5 channels; expected 3 \(RGB\) or 4 \(RGBA\)",
        ),
        ("3", "Prepare Photo: 'image' ", "no photos", r"is empty: 0 photos of 40x24 px"),
        ("3", "Prepare Photo: 'image' ", "no rows", r"is empty: 1 photos of 40x0 px"),
        (
            "3",
            "Prepare Photo: 'image' ",
            "no batch",
            r"has shape \(24, 40, 3\); expected \(batch, height, width",
        ),
        *((into, head, "NaN", r"holds NaN or infinite values") for into, head in READERS),
    ],
)
def test_an_odd_image_is_refused_by_the_first_node_that_reads_it(refused, graph, into, head, kind, problem):
    socket = head.split("'")[1]
    refused(with_image(graph, into, socket, kind), "^" + head + problem)


def test_semantics_of_a_photo_of_another_shape_are_refused(refused, graph):
    refused(with_image(graph, "4", "image", "panorama"), r"200x24")


def test_an_output_of_thousands_of_megapixels_is_refused(refused, graph):
    bad = with_image(graph, "3", "image", "large")
    bad["3"]["inputs"]["scale"] = 4.0
    refused(bad, r"Prepare Photo: .*scale")


def test_what_no_memory_could_hold_is_refused_before_the_work(refused, graph):
    bad = with_image(graph, "3", "image", "millions")
    bad["3"]["inputs"]["scale"] = 16.0
    need = r"8000000 photos of 1x1 -> 16x16 px \(16x\) takes 1098\.6 GiB for its pictures alone, and this "
    refused(
        bad,
        rf"^Prepare Photo: {need}machine has .+ GiB\. Choose a 'scale' of at most .+, or fewer photos",
    )


def test_a_scale_beyond_the_widget_is_refused(refused, graph):
    bad = graph | {"3": node("UGCSR_PrepareImage", image=["1", 0], scale=1000.0)}
    refused(bad, r"Prepare.*bigger than max.*scale")


def test_a_photo_of_one_pixel_is_restored(client, anatomy, pictures, tmp_path):
    Image.new("RGB", (1, 1), (200, 90, 40)).save(tmp_path / "pixel.png")
    outputs = client.run(anatomy(client.upload(tmp_path / "pixel.png")))
    assert pictures(outputs["13"])[0].size == (4, 4)


# widget -> its loader, the folder it reads, and the node and socket of the quick start that it feeds
LOADERS = {
    "adapter_name": ("UGCSR_LoadSemanticAdapter", "model_patches", "5", "adapter"),
    "control_net_name": ("UGCSR_LoadSemanticControlNet", "controlnet", "6", "control_net"),
    "encoder_name": ("UGCSR_LoadSAM2Encoder", "sam2", "4", "encoder"),
}
WRONG_FILES = {
    "lora.safetensors": {"unet.down.lora_up.weight": torch.zeros(4, 4)},
    "empty.safetensors": {},
    "truncated.safetensors": b"\x40\x00\x00\x00\x00\x00\x00\x00{",
    "pickle.safetensors": b"\x80\x02}q\x00.",
    "nothing.safetensors": b"",
}


def load_with(graph, widget, file):
    """The quick-start graph with its weights from a file."""
    class_type, _, into, socket = LOADERS[widget]
    return relinked(graph, into, socket, node(class_type, **{widget: file}))


@pytest.mark.parametrize(
    ("widget", "file"),
    [
        *(("adapter_name", file) for file in WRONG_FILES),
        ("control_net_name", "lora.safetensors"),
        ("encoder_name", "lora.safetensors"),
    ],
)
def test_a_wrong_weights_file_is_named(refused, graph, model_folders, widget, file):
    folder = model_folders / LOADERS[widget][1]
    folder.mkdir(parents=True, exist_ok=True)
    content = WRONG_FILES[file]
    if isinstance(content, bytes):
        (folder / file).write_bytes(content)
    else:
        save_file(content, folder / file)
    refused(load_with(graph, widget, file), re.escape(file))


@pytest.mark.parametrize("widget", LOADERS)
def test_a_missing_weights_file_is_named(refused, graph, widget):
    refused(load_with(graph, widget, "gone.safetensors"), r"There is no file 'gone\.safetensors' in models/")


def test_a_ninth_picture_of_a_sheet_is_refused(graph, refused):
    pictures = {f"images.image{place}": ["1", 0] for place in range(9)}
    sheet = node("UGCSR_CompareSheet", **pictures, labels="", crops=1, crop_size=0, find="detail", title="")
    shown = {"91": sheet, "92": node("PreviewImage", images=["91", 0])}
    refused(graph | shown, r"Compare Sheet: there is no input 'images.image8'")


def test_half_a_character_is_refused(graph, refused):
    """ComfyUI can't print a message that holds one: the thread that works off its queue would end."""
    sheet = {"images.image0": ["12", 0], "images.image1": ["1", 0], "labels": "a\nb", "title": "as \ud83d"}
    sheet |= {"crops": 1, "crop_size": 0, "find": "detail"}
    shown = {"91": node("UGCSR_CompareSheet", **sheet), "92": node("PreviewImage", images=["91", 0])}
    refused(graph | shown, r"Compare Sheet: 'title' holds half a character at place 4; expected text")
