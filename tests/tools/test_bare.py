"""What a bare machine has: its own address, no font, no network."""

import json
import os
import subprocess
import sys

from ugc_sr.restore.server import CHECKOUT

LOOK = """
import glob, json, os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
places = [os.environ["HOME"], *os.environ["XDG_DATA_DIRS"].split(":"), "/usr/share", "/usr/local/share"]
fonts = [file for place in places for file in glob.glob(f"{place}/fonts/**/*.ttf", recursive=True)]
print(json.dumps({"fonts": fonts, "interfaces": [name for _, name in socket.if_nameindex()]}))
sys.exit(7)
"""


def look(**variables):
    command = [sys.executable, CHECKOUT / "tools" / "bare.py", sys.executable, "-c", LOOK]
    environment = os.environ | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr  # the command's own
    said, _, found = done.stdout.strip().rpartition("\n")
    return said, json.loads(found)


def test_a_command_finds_no_fonts_and_only_this_machine():
    said, found = look()
    if "no fonts and no network" in said:
        assert found == {"fonts": [], "interfaces": ["lo"]}
    else:
        assert "no fonts where variables name them" in said


def test_without_namespaces_the_command_is_run_all_the_same(tmp_path):
    said, found = look(PATH=str(tmp_path))
    assert "no fonts where variables name them" in said
    assert "lo" in found["interfaces"]
