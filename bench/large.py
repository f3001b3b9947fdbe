#!/usr/bin/env python3
"""600 million parameters from nothing: the memory that the plan promised, what the run took, and what PyTorch takes for the same.

    bench/large.py [--threads 2] [--run FOLDER] [--weights f32 halves bf16] [--save]

Saem runs recipes/600m.toml (texts in recipes/data/texts): 24 layers, a vocabulary of 64,000, sequences of 2,048 tokens, 5 steps of 16,384 tokens. A run that is
complete in FOLDER is looked at only. With --weights, the same for other ways to keep weights, in folders beside it. The peer is transformers' LlamaForCausalLM of
the same shape with gradient checkpointing, one sequence at a time, gradients and AdamW in f32, products by bf16 autocast: one sequence and one step of the optimizer, after
which its peak does not grow. Peaks are resident memory as the kernel counts it.

Needs torch and transformers in the environment $SAEM_TRAIN_VENV (default: target/train-venv).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from engines import ROOT, command, machine, median, save

SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
VENV = Path(os.environ.get("SAEM_TRAIN_VENV", ROOT / "target/train-venv"))
RECIPE = ROOT / "recipes/600m.toml"
PEER = """
import json, resource, sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM
shape, sequence, threads = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = LlamaForCausalLM(LlamaConfig(**shape, attn_implementation="sdpa", use_cache=False)).train()
model.gradient_checkpointing_enable()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
tokens = torch.randint(0, shape["vocab_size"], (1, sequence))
with torch.autocast("cpu", torch.bfloat16):
    loss = model(input_ids=tokens, labels=tokens).loss
loss.backward()
torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
optimizer.step()
print(json.dumps({"torch": torch.__version__, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def ran(run: Path, weights: str, threads: int, count: int) -> dict:
    """What a run of the recipe with such weights planned and took."""
    metrics = run / "metrics.jsonl"
    if not metrics.exists() or len(metrics.read_text(encoding="utf-8").splitlines()) < count:
        text = RECIPE.read_text(encoding="utf-8").replace('"data/', f'"{RECIPE.parent}/data/').replace("[train]\n", f'[train]\nweights = "{weights}"\n')
        run.parent.mkdir(parents=True, exist_ok=True)
        recipe = run.with_suffix(".toml")
        recipe.write_text(text, encoding="utf-8")
        subprocess.run([SAEM, "pretrain", recipe, "--run", run, "--threads", str(threads), "--json"], check=True, stdout=subprocess.DEVNULL)
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    planned = sum(plan[kind] for kind in ("weights", "frozen", "gradients", "optimizer", "activations", "logits", "working", "texts", "program"))
    steps = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return {"parameters": plan["parameters"], "steps": len(steps), "tokens": steps[-1]["tokens"], "planned_bytes": planned, "peak_bytes": max(step["memory"] for step in steps),
            "losses": [step["loss"] for step in steps], "tokens_per_second": median([step["tokens_per_second"] for step in steps])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--run", type=Path, default=ROOT / "target/600m")
    parser.add_argument("--weights", nargs="+", default=["f32"], choices=["f32", "halves", "bf16"])
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    recipe = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    about = machine()
    ways = {weights: ran(args.run if weights == "f32" else Path(f"{args.run}-{weights}"), weights, args.threads, recipe["train"]["steps"]) for weights in args.weights}
    sequence = recipe["train"]["sequence"]
    shape = {key: value for key, value in recipe["model"]["config"].items() if key != "model_type"} | {"max_position_embeddings": sequence}
    done = subprocess.run([VENV / "bin/python", "-c", PEER, json.dumps(shape), str(sequence), str(args.threads)], stdout=subprocess.PIPE, text=True)
    peer = json.loads(done.stdout.strip().split("\n")[-1]) if done.returncode == 0 else {"failed": done.returncode}
    result = {"machine": about, "threads": args.threads, "command": command(), "ways": ways, "peer": peer}
    for weights, way in ways.items():
        print(f"{way['parameters'] / 1e6:.0f}M, weights {weights}: planned {way['planned_bytes'] / 2**30:.3f} GiB, peak {way['peak_bytes'] / 2**30:.3f} GiB ({way['peak_bytes'] / way['planned_bytes']:.4f} of the plan), "
              f"{way['tokens_per_second']:.0f} tokens/s, loss {way['losses'][-1]:.4f}")
    print(f"PyTorch {peer}")
    if args.save:
        print(save("large", result))


if __name__ == "__main__":
    main()
