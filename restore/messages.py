"""The messages of ComfyUI about a graph, in the words of its nodes."""

from __future__ import annotations

from typing import Any

from ..sample.presets import Graph


def outputs_of(job: dict[str, Any], graph: Graph) -> dict[str, dict[str, Any]]:
    """Return the outputs of a job that has ended, by node id.

    Raises:
        RuntimeError: if a node failed, with its title and message, or the job was cancelled.
    """
    if job["status"] == "failed":
        error = job["execution_error"]
        title, message = title_of(graph, error["node_id"]), error["exception_message"].strip()
        if not message:
            kind = error.get("exception_type") or "an error"
            message = f"failed with {kind} and no message. ComfyUI's log tells where."
        raise RuntimeError(message if message.startswith(title) else f"{title}: {message}")
    if job["status"] != "completed":
        raise RuntimeError("cancelled in ComfyUI.")
    return job["outputs"]


def refusal(answer: dict[str, Any], graph: Graph) -> str:
    """Return the reasons for which the host refused a graph, one a line, from the JSON of its answer."""
    reasons = [
        f"{title_of(graph, node)}: {problem['message']}: {problem['details']}"
        for node, problems in answer["node_errors"].items()
        for problem in problems["errors"]
    ]
    if reasons:
        return "\n".join(reasons)
    error = answer["error"]
    reason = f"{error['message']} {error['details']}".strip()
    if error["type"] == "missing_node_type" and str(error["extra_info"]["class_type"]).startswith("UGCSR_"):
        reason += " Install UGC Super-Resolution, or its newest version, in that ComfyUI."
    return reason


def title_of(graph: Graph, node: str) -> str:
    """Return the title of a node; of a node that another one created by expansion, the title of that one."""
    entry = graph.get(node.split(".")[0], {})
    return entry.get("_meta", {}).get("title") or entry.get("class_type", node)
