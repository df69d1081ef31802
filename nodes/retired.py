"""Node ids that workflows may still hold, and the nodes that stand for them now.

Ids, inputs and the order of widgets are API: a workflow keeps them for years. One that has to go is entered
here, with all that its inputs have become, and the host replaces it: in the editor when a person agrees, and
in every graph that is queued.
"""

from comfy_api.latest import ComfyAPI, io

RETIRED = (
    # The name in the drafts before 0.1.0.
    io.NodeReplace(
        old_node_id="UGCSR_ApplySemantics",
        new_node_id="UGCSR_ApplySemanticGuidance",
        old_widget_ids=["strength", "start_percent", "end_percent"],
        input_mapping=[
            {"new_id": name, "old_id": name}
            for name in ("model", "adapter", "semantics", "strength", "start_percent", "end_percent")
        ],
        output_mapping=[{"new_idx": 0, "old_idx": 0}],
    ),
)


async def register() -> None:
    """Tell the host of all of them, at its start."""
    replacements = ComfyAPI().node_replacement
    for replacement in RETIRED:
        await replacements.register(replacement)
