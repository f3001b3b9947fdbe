#!/usr/bin/env python3
"""What the engine saves where texts come again: prompts seen before, and answers that repeat the input.

    bench/reuse.py [--model smollm2-135m] [--threads 2] [--save]

Runs crates/engine/examples/reuse.rs, with and without in turn; see there for what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from engines import ROOT, command, machine, model_path, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "saem-engine", "--example", "reuse"], cwd=ROOT, check=True)
    reuse = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/reuse"
    about = machine()
    found = json.loads(subprocess.run([reuse, model_path(args.model), str(args.threads)], check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(json.dumps(found, indent=1))
    if args.save:
        print(save(f"reuse-{args.model}", {"machine": about, "command": command(), **found}))


if __name__ == "__main__":
    main()
