#!/usr/bin/env python3
"""Pre-training speed beside PyTorch: models of the same shape, the same tokens in a step, f32 weights, AdamW with clipping, the same threads.

    bench/train.py [--threads 2] [--steps 10] [--rounds 3] [--shapes 5M 124M] [--compile] [--save]

The peer is transformers' LlamaForCausalLM or, for shapes of GPT-2 (layer norms, GELU, learned positions, biases), its GPT2LMHeadModel, with scaled-dot-product attention and
PyTorch's fused AdamW; Saem's model of that shape is an OPT, which has the same layers. With --compile under torch.compile, too. *f32* is
f32 on both sides; *split* is products with an error of 2^-16, which PyTorch does not have on processors; *bf16* is products of bf16 numbers, on PyTorch's side by
autocast. All take turns, each in a process of its own; each step is timed, and the median of all but the first two of a turn counts. *Operations* are 6 for each parameter of a
product and token, and those of attention; beside them stands what the same threads do at most in a loop of f32 multiply-adds between registers. *Peak* is the resident memory that the kernel counted, beside what Saem's plan said before the run.

Needs torch and transformers in the environment $SAEM_TRAIN_VENV (default: target/train-venv).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from engines import ROOT, command, machine, median, of_machine, save

VENV = Path(os.environ.get("SAEM_TRAIN_VENV", ROOT / "target/train-venv"))
# Width, layers, heads and vocabulary; sequences in a step and their tokens.
SMALL, LARGE = ((256, 4, 4, 8192), 8, 256), ((768, 12, 12, 50304), 4, 512)
SHAPES = {"5M": ("llama", *SMALL), "124M": ("llama", *LARGE), "5M GPT-2": ("gpt2", *SMALL), "124M GPT-2": ("gpt2", *LARGE)}
WARM = 2
PEER = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
shape, batch, sequence, threads, steps, way = json.loads(sys.argv[1]), *map(int, sys.argv[2:6]), sys.argv[6]
torch.set_num_threads(threads)
torch.manual_seed(0)
kind = {"llama": (LlamaConfig, LlamaForCausalLM), "gpt2": (GPT2Config, GPT2LMHeadModel)}[shape.pop("model_type")]
model = kind[1](kind[0](**shape, attn_implementation="sdpa", use_cache=False)).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
run = torch.compile(model) if way == "compile" else model
seconds = []
for step in range(steps):
    tokens = torch.randint(0, shape["vocab_size"], (batch, sequence))
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "bf16"):
        loss = run(input_ids=tokens, labels=tokens).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.perf_counter() - begin)
print(json.dumps({"seconds": seconds, "torch": torch.__version__, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def configs(kind: str, width: int, layers: int, heads: int, vocabulary: int, sequence: int) -> tuple[dict, dict]:
    """Saem's config.json, and what the peer's is made of."""
    if kind == "llama":
        # Inner widths of 8/3, as much as 4 without a gate, in steps that suit both.
        shape = {"model_type": kind, "hidden_size": width, "intermediate_size": {256: 688, 768: 2048}[width], "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": heads,
                 "vocab_size": vocabulary, "max_position_embeddings": sequence, "tie_word_embeddings": True, "hidden_act": "silu", "rms_norm_eps": 1e-6}
        return shape, shape
    ours = {"model_type": "opt", "hidden_size": width, "word_embed_proj_dim": width, "ffn_dim": 4 * width, "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": vocabulary,
            "max_position_embeddings": sequence, "tie_word_embeddings": True, "activation_function": "gelu", "do_layer_norm_before": True}
    peer = {"model_type": kind, "n_embd": width, "n_layer": layers, "n_head": heads, "vocab_size": vocabulary, "n_positions": sequence, "activation_function": "gelu",
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return ours, peer


def measured(command: list[str]) -> dict:
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().split("\n")[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    python = VENV / "bin/python"
    if not python.exists():
        sys.exit(f"{python} does not exist: make the environment and install torch and transformers, or name one in SAEM_TRAIN_VENV")
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "saem-train", "--example", "speed"], cwd=ROOT, check=True)
    speed = str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/speed")
    about, lines = machine(), []
    for name in args.shapes:
        kind, shape, batch, sequence = SHAPES[name]
        shape, peer = configs(kind, *shape, sequence)
        sizes = [str(number) for number in (batch, sequence, args.threads, args.steps)]
        ways = {f"saem {precision}": [speed, json.dumps(shape), *sizes, precision] for precision in ("f32", "split", "bf16")}
        for way in ("eager", "bf16", *(["compile"] if args.compile else [])):
            ways[f"torch {way}"] = [str(python), "-c", PEER, json.dumps(peer), *sizes, way]
        found: dict[str, list[dict]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way, line in ways.items():
                found[way].append(measured(line))
        line = {"shape": name, "batch": batch, "sequence": sequence}
        for way, results in found.items():
            seconds = median([second for result in results for second in result["seconds"][WARM:]])
            line[way] = {"tokens_per_second": batch * sequence / seconds, "seconds": seconds, "peak_bytes": max(result["peak"] for result in results)}
            if way.startswith("saem"):
                line[way] |= {"planned_bytes": results[0]["planned"], "operations_per_second": results[0]["operations_per_step"] / seconds}
        line["f32_peak"] = max(result["f32_peak"] for result in found["saem f32"])
        line["torch"] = next(iter(found["torch eager"]))["torch"]
        lines.append(line)
        rate = lambda way: line[way]["tokens_per_second"]
        print(f"{name}: " + ", ".join(f"{way} {rate(way):.0f} tokens/s, {line[way]['peak_bytes'] / 2**20:.0f} MiB" for way in ways)
              + f"; f32: {line['saem f32']['operations_per_second'] / 1e9:.0f} of {line['f32_peak'] / 1e9:.0f} GFLOP/s, plan {line['saem f32']['planned_bytes'] / 2**20:.0f} MiB, "
              + f"{rate('saem f32') / rate('torch eager'):.2f} x PyTorch; bf16: {rate('saem bf16') / rate('torch bf16'):.2f} x PyTorch", flush=True)
    if args.save:
        print(save(of_machine("train", about), {"machine": about, "threads": args.threads, "command": command(), "lines": lines}))


if __name__ == "__main__":
    main()
