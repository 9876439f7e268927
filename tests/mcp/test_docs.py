"""What docs/mcp.md says, run and read."""

import asyncio
import json
import os
import re
import sys
import textwrap
from pathlib import Path

from mcp import Client
from memsvc_mcp import Memory, make_server
from memsvc_mcp.cli import make_parser
from memsvc_mcp.connect import Connection

from tests.mcp.test_processes import MCP

TEXT = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text()


def configured(config: object) -> list[dict[str, object]]:
    """Return the servers in a client's configuration."""
    if not isinstance(config, dict):
        return []
    inner = [found for value in config.values() for found in configured(value)]
    return [config, *inner] if "command" in config else inner


def test_every_configuration_starts_the_command() -> None:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
    servers = [server for block in blocks for server in configured(block)]
    shell = re.findall(r"^    (?:claude mcp add memory -- )?(memsvc-mcp .*?)(?:\s+#.*)?$", TEXT, re.MULTILINE)
    assert (len(servers), len(shell)) == (3, 3)
    commands = [[server["command"], *server["args"]] for server in servers] + [line.split() for line in shell]
    for command, *arguments in commands:
        assert command == "memsvc-mcp"
        assert make_parser().parse_args(arguments).tenant == "ada"


async def test_the_tables_are_those_of_the_server() -> None:
    memory = Memory(Connection(target="127.0.0.1:1", data=Path("unused")).open, "t")
    async with Client(make_server(memory)) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        uris = {str(each.uri) for each in (await client.list_resources()).resources}
        uris |= {each.uri_template for each in (await client.list_resource_templates()).resource_templates}
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == names
    assert set(re.findall(r"^\| `(memsvc://\S+)` \|", TEXT, re.MULTILINE)) == uris


async def test_the_example_runs(tmp_path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    command, *module = MCP
    code = code.replace('command="memsvc-mcp", args=[', f"command={command!r}, args=[*{module!r}, ")
    code = code.replace("])) as", "], env=dict(os.environ))) as")
    head, body = code.split("\n\n", 1)
    script = f"import asyncio, os\n{head}\nasync def main():\n{textwrap.indent(body, '    ')}\nasyncio.run(main())\n"
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "MEMSVC_ENCODER": "kmer", "MEMSVC_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=env, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    assert "under the third flower pot" in said.decode()
