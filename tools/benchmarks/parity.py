"""The networks in the host against recorded outputs of the original SeeSR networks."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from safetensors.torch import load_file
from torch import Tensor

from ugc_sr.host.adapter import LoadedAdapter, load_adapter
from ugc_sr.host.controlnet import SemanticControlNet, load_controlnet
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.models import architecture
from ugc_sr.models.convert import unet_from_diffusers
from ugc_sr.models.semantics import Semantics

from .networks import fill

LIMIT = 1e-5
LIMIT_ON_GPU = 1e-4  # assumed: rounding of sums in another order

State = dict[str, Tensor]


def run(fixture: str) -> Iterator[dict[str, Any]]:
    """Yield each network's largest absolute difference over all cases of the fixture.

    Raises:
        FileNotFoundError: if the folder isn't a fixture.
    """
    for file in ("spec.json", "cases.safetensors"):
        if not Path(fixture, file).is_file():
            raise FileNotFoundError(
                f"'{fixture}' has no {file}; expected a parity fixture: spec.json and cases.safetensors."
            )
    spec = json.loads(Path(fixture, "spec.json").read_text())
    cases = load_file(Path(fixture, "cases.safetensors"))
    unet = random_weights(spec, "unet")
    model = base_model(unet)
    device = comfy.model_management.get_torch_device()
    limit = LIMIT if device.type == "cpu" else LIMIT_ON_GPU
    adapter = load_adapter(unet, dtype=torch.float32)
    control = load_controlnet(random_weights(spec, "controlnet"), dtype=torch.float32)
    differences: dict[str, list[float]] = defaultdict(list)
    for entry in spec["cases"]:
        prefix = f"case{entry['case']}."
        case = {key.removeprefix(prefix): v for key, v in cases.items() if key.startswith(prefix)}
        with torch.backends.cudnn.flags(allow_tf32=False):
            ours = predict(model, adapter, control, case, entry["t"], spec["conditioning_scale"])
        for name, value in ours.items():
            network = "controlnet" if name.startswith("control") else "unet"
            expected = case[f"t{entry['t']}.{name}"]
            differences[network].append((value.cpu() - expected).abs().max().item())
    for network, values in differences.items():
        largest = torch.tensor(values).max().item()  # NaN if one of them is NaN
        yield {
            "name": network,
            "max_abs_diff": largest,
            "limit": limit,
            "passed": largest < limit,
            "compared": len(values),
            "device": comfy.model_management.get_torch_device_name(device),
        }


def random_weights(spec: dict[str, Any], network: str) -> State:
    """Return the weights of a fixture, each generated from its key and its shape."""
    return {key: fill(f"{network}.{key}", shape) for key, shape in spec["keys"][network].items()}


def base_model(unet: State, dtype: torch.dtype = torch.float32) -> "comfy.model_patcher.ModelPatcher":
    """Return a MODEL of the host with the base of a UNet in SeeSR's layout."""
    base, _ = unet_from_diffusers(unet)
    config = comfy.supported_models.SD20(architecture.infer(base) | {"dtype": dtype})
    model = comfy.model_base.BaseModel(config)
    model.diffusion_model.load_state_dict(base)
    return comfy.model_patcher.CoreModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


@torch.inference_mode()
def predict(
    model: "comfy.model_patcher.ModelPatcher",
    adapter: LoadedAdapter,
    control: SemanticControlNet,
    case: State,
    t: int,
    scale: float,
) -> State:
    """Return the outputs of the host's networks for one case, computed as in a step of KSampler."""
    device = comfy.model_management.get_torch_device()
    case = {name: value.to(device) for name, value in case.items()}
    features = case["features"]
    height, width = case["hint"].shape[-2:]
    semantics = Semantics(features, (1, features.shape[1]), (height, width), encoder="fixture")
    model = apply_guidance(model, adapter, semantics)
    control = control.with_semantics(semantics).set_cond_hint(case["hint"], strength=scale)
    comfy.model_management.load_models_gpu([model, *model.get_additional_models(), *control.get_models()])
    sampling: Any = model.get_model_object("model_sampling")
    batch = case["x"].shape[0]
    timestep = torch.full((batch,), float(t), device=device)
    sigma = sampling.sigma(timestep)
    options = model.model_options["transformer_options"]
    unet = model.get_model_object("diffusion_model")
    model.pre_run()
    try:
        control.pre_run(model.model, sampling.percent_to_sigma)
        model.prepare_state(sigma, model.model_options)
        latent = case["x"][:, : control.control_model.in_channels]  # further channels are for the UNet only
        noisy = latent * (sigma.view(-1, 1, 1, 1) ** 2 + 1) ** 0.5  # the host divides by this factor
        residuals: Any = control.get_control(noisy, sigma, {"c_crossattn": case["text"]}, 1, options)
        output, middle = residuals["output"], residuals["middle"]
        outputs = {"control_first": output[0], "control_last": output[-1], "control_mid": middle[0]}
        outputs["eps_unet_only"] = unet(case["x"], timestep, case["text"], transformer_options=options.copy())
        # The UNet removes residuals from the lists.
        outputs["eps"] = unet(
            case["x"], timestep, case["text"], control=residuals, transformer_options=options.copy()
        )
    finally:
        model.cleanup()
        control.cleanup()
    return outputs
