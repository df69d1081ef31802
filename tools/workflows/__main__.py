"""`python -m ugc_sr.tools.workflows`: writes every shipped workflow, its API version, and the blueprint.

It starts a ComfyUI, because the host's node definitions are needed.
"""

import tempfile
from pathlib import Path

from ...files import replace_file
from ...restore.api import Client
from ...restore.server import CHECKOUT, find_host, running_host
from .templates import files, text

with (
    tempfile.TemporaryDirectory(prefix="ugc-sr-") as folder,
    running_host(find_host(), Path(folder, "host"), cpu=True) as host,
):
    definitions = Client(host.address).node_definitions()
for path, content in files(definitions):
    path.parent.mkdir(exist_ok=True)
    replace_file(path, text(content).encode())
    print(path.relative_to(CHECKOUT))
