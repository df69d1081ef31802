"""Replacements of node ids that older workflows contain.

Ids, inputs and the order of widgets are an API, because workflows store them. A node that is renamed or
removed gets an entry here with the mapping of its inputs. The host replaces it in the editor, when the user
agrees, and in every queued graph.
"""

from comfy_api.latest import ComfyAPI, io

RETIRED = (
    # The name in drafts before 0.1.0.
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
    """Register all replacements with the host."""
    replacements = ComfyAPI().node_replacement
    for replacement in RETIRED:
        await replacements.register(replacement)
