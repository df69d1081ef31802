"""The nodes' English texts as locales/en has them, with the editor's keys."""

from typing import Any

PREFIX = "UGCSR_"
# Their tooltips also name files in the models folder that can't be listed; a translation would hide that.
TOOLTIPS_OF_THE_NODE = ("encoder_name", "adapter_name", "control_net_name")
SEED = "control_after_generate"


def english(definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the texts of this extension's nodes as in nodeDefs.json, from the answer to /object_info."""
    return {name: _node(node) for name, node in definitions.items() if name.startswith(PREFIX)}


def inputs(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the name by which the editor looks up each visible input -> its options.

    The names of growing inputs are GROUP_PREFIX0, GROUP_PREFIX1 and so on. The second widget of a seed
    has a name that the schema doesn't contain.
    """
    found: dict[str, dict[str, Any]] = {}
    for group in ("required", "optional"):
        for name, (kind, *rest) in node["input"].get(group, {}).items():
            options = rest[0] if rest else {}
            found[name] = options
            if options.get(SEED):
                found[SEED] = {}
            if kind == "COMFY_AUTOGROW_V3":
                template = options["template"]
                ((_, single),) = template["input"]["required"].values()
                for number in range(template["max"]):
                    socket = f"{template['prefix']}{number}"
                    found[f"{name}_{socket}"] = {"display_name": socket, **single}
    return found


def _node(node: dict[str, Any]) -> dict[str, Any]:
    words = {"display_name": node["display_name"], "description": node["description"]}
    shown = {name: _input(name, options) for name, options in inputs(node).items()}
    names = zip(node["output_name"], node["output_tooltips"], strict=True)
    outputs = {str(slot): {"name": name, "tooltip": tooltip} for slot, (name, tooltip) in enumerate(names)}
    return words | ({"inputs": shown} if shown else {}) | ({"outputs": outputs} if outputs else {})


def _input(name: str, options: dict[str, Any]) -> dict[str, str]:
    if name == SEED:
        return {"name": "control after generate"}
    words = {"name": options.get("display_name", name)}
    return words if name in TOOLTIPS_OF_THE_NODE else words | {"tooltip": options["tooltip"]}
