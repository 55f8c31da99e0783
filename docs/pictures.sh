#!/usr/bin/env bash
# Makes docs/run.svg and docs/trace.png again: docs/pictures.sh PROGRAM
#
# Needs Python 3 with venv, and chromium. The other pictures are made by the commands beside them.
set -euo pipefail
program=$(realpath "${1:?usage: docs/pictures.sh PROGRAM}")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_RUNTIME_DIR=$work

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q rich==14.2.0
"$work/venv/bin/python" - "$program" > run.svg <<'PYTHON'
import re
import subprocess
import sys

from rich.console import Console
from rich.text import Text

arguments = ["run", "builtin", "ROMEO:", "-n", "80", "--seed", "3"]
shown = subprocess.run([sys.argv[1], *arguments], text=True, check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
console = Console(record=True, width=112, file=open("/dev/null", "w"))
command = 'ztt-wgpu run builtin "ROMEO:" -n 80 --seed 3'
console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
for line in shown.rstrip().splitlines():
    is_said = re.match(r"(model|adapter|seed|prompt|generated|cycles) ", line)
    console.print(Text(line, "bright_black" if is_said else ""))
svg = console.export_svg(title="ztt-wgpu run")
# The reader's own monospaced font, and nothing from a network.
svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S)
print(svg.replace("Fira Code, monospace", "monospace"))
PYTHON

text="Call me Ishmael. Some years ago, having little money in my purse, I thought I would sail about a little."
"$program" trace builtin "$text" --html "$work/trace.html" > /dev/null
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1100,760 \
    --user-data-dir="$work/chromium" --screenshot=trace.png "file://$work/trace.html" 2> /dev/null
