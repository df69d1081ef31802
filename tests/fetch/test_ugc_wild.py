"""One command, one queue: fetched weights of the published layouts and small shapes run ugc_wild."""

import io
import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ugc_sr.models.__main__ import main
from ugc_sr.restore.api import Client
from ugc_sr.restore.server import CHECKOUT, find_host, running_host

pytestmark = [pytest.mark.comfy, pytest.mark.deep]

WIDTHS = (320, 320)  # a level with attentions and one without; the host knows Stable Diffusion 2 by the first


@pytest.fixture
def copies(tmp_path):
    """What a person downloaded by hand: SRlab's folder with pickles, Meta's pickle, the base."""
    from benchmarks import networks, true_shapes
    from ugc_sr.models.convert import unet_from_diffusers

    shapes = true_shapes.shapes()
    unet, controlnet = networks.build(WIDTHS)
    folder = tmp_path / "copies"
    for name, network in (("unet", unet), ("controlnet", controlnet)):
        networks.randomize(network)
        inside = folder / "checkpoint-90000" / name
        inside.mkdir(parents=True)
        heads = [width // 64 for width in WIDTHS]
        config = {"block_out_channels": WIDTHS, "attention_head_dim": heads}
        (inside / "config.json").write_text(json.dumps(config))
        torch.save(network.state_dict(), inside / "diffusion_pytorch_model.bin")
    sam2 = {key: networks.fill(key, list(like.shape)) for key, like in shapes["sam2"].items()}
    torch.save({"model": sam2}, folder / "sam2.1_hiera_tiny.pt")
    base, _ = unet_from_diffusers(unet.state_dict())
    checkpoint = {f"model.diffusion_model.{key}": weight.half() for key, weight in base.items()}
    for key, like in shapes["checkpoint"].items():
        if key.startswith("first_stage_model."):
            checkpoint[key] = networks.fill(key, list(like.shape)).half()
        elif key.startswith("cond_stage_model."):  # large, and only has to be finite
            one = ".ln_" in key and key.endswith("weight")
            checkpoint[key] = torch.full(like.shape, float(one), dtype=torch.float16)
    save_file(checkpoint, folder / "512-base-ema.safetensors")
    return folder


def test_fetched_weights_run_ugc_wild_as_it_is(tmp_path, copies, photo, capsys, monkeypatch):
    from dataclasses import replace

    from ugc_sr.models import catalogue
    from ugc_sr.models.entry import UNKNOWN

    # these are not Meta's weights, so they have not their checksum
    made = tuple(
        replace(entry, sources=tuple(replace(source, sha256=UNKNOWN) for source in entry.sources))
        for entry in catalogue.WEIGHTS
    )
    monkeypatch.setattr(catalogue, "WEIGHTS", made)
    graph = json.loads((CHECKOUT / "restore" / "ugc_wild.api.json").read_text())
    with running_host(find_host(), tmp_path / "base", cpu=True) as host:
        models = tmp_path / "base" / "models"
        models.mkdir(exist_ok=True)
        assert main(["fetch", "srlab", "--from", str(copies), "--models", str(models), "--yes"]) == 0
        said = capsys.readouterr().out
        client = Client(host.address)
        example = tmp_path / "example.png"
        with Image.open(photo) as picture:
            picture.crop((8, 0, 20, 12)).save(example)  # four times as large by itself
        assert client.upload(example) == "example.png"
        outputs = client.run(graph)
        (image,) = outputs["3"]["images"]
        with Image.open(io.BytesIO(client.fetch(image))) as picture:
            assert picture.size == (48, 48)
            assert len(picture.getcolors(picture.width * picture.height)) > 100
    assert said.count("converting") == 3
    assert "4 of 4 to get: 0.0 MB to fetch" in said
