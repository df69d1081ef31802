"""`python -m ugc_sr.tools.workflows`: writes the workflows, their API versions, the blueprint and locales/en.

It starts a ComfyUI, because all of them are made from the definitions of the nodes.
"""

import tempfile
from pathlib import Path

from ...files import replace_file
from ...restore.api import Client
from ...restore.server import CHECKOUT, find_host, running_host
from .english import english
from .templates import files, text

with (
    tempfile.TemporaryDirectory(prefix="ugc-sr-") as folder,
    running_host(find_host(), Path(folder, "host"), cpu=True) as host,
):
    definitions = Client(host.address).node_definitions()
made = {path: text(content) for path, content in files(definitions)}
made[CHECKOUT / "locales" / "en" / "nodeDefs.json"] = text(english(definitions))
for path, content in made.items():
    replace_file(path, content.encode())
    print(path.relative_to(CHECKOUT))
