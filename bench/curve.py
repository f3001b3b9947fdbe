#!/usr/bin/env python3
"""The loss of a model from nothing beside PyTorch's: the same first weights, the same sequences in the same order, the same schedule.

    bench/curve.py [--steps 200] [--threads 2] [--texts PATH...] [--save]

A tokenizer of 8,192 tokens is learnt from the texts by `tokenizers`, and PyTorch draws the weights of a Llama-shaped model of 5 million parameters (4 layers,
256 wide). `saem pretrain` goes on from there, and so does PyTorch with transformers' LlamaForCausalLM, AdamW and clipping; both in f32. The order of sequences is Saem's,
made again here. What counts is the mean loss of 20 steps: how far Saem's is from PyTorch's, at most and at the end.

Needs torch and transformers in the environment $SAEM_TRAIN_VENV (default: target/train-venv).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from engines import ROOT, command, machine, save

SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
VENV = Path(os.environ.get("SAEM_TRAIN_VENV", ROOT / "target/train-venv"))
BATCH, SEQUENCE, RATE, WARM_UP, FINAL, SMOOTH = 8, 256, 1e-3, 20, 0.1, 20
MASK = (1 << 64) - 1

BEGIN = """
import sys, torch
from pathlib import Path
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
folder, texts = Path(sys.argv[1]), sys.argv[2:]
learner = ByteLevelBPETokenizer()
learner.train(texts, vocab_size=8192, special_tokens=["<|end|>"])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=learner._tokenizer, eos_token="<|end|>")
tokenizer.save_pretrained(folder)
torch.manual_seed(0)
shape = dict(hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4, vocab_size=8192, max_position_embeddings=256, tie_word_embeddings=False)
LlamaForCausalLM(LlamaConfig(**shape, eos_token_id=0, bos_token_id=None)).save_pretrained(folder)
"""
PEER = """
import json, math, sys, torch
from pathlib import Path
from transformers import AutoTokenizer, LlamaForCausalLM
folder, text, threads, plan = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(Path(sys.argv[4]).read_text())
torch.set_num_threads(threads)
model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").train()
tokenizer = AutoTokenizer.from_pretrained(folder)
tokens = tokenizer(text.read_text(encoding="utf-8"), add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
optimizer = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1), dict(params=others, weight_decay=0.0)], lr=1.0, betas=(0.9, 0.95), eps=1e-8)
sequence = plan["sequence"]
for step, rate in enumerate(plan["rates"]):
    for group in optimizer.param_groups:
        group["lr"] = rate
    starts = [index * sequence for index in plan["orders"][step]]
    inputs = torch.tensor([tokens[start:start + sequence] for start in starts])
    targets = torch.tensor([(tokens[start + 1:start + sequence + 1] + [-100])[:sequence] for start in starts])
    logits = model(input_ids=inputs, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print(json.dumps({"loss": loss.item(), "tokens": len(tokens)}), flush=True)
"""


def order(seed: int, purpose: int, count: int) -> list[int]:
    """All numbers below `count` in the order that a seed gives: Fisher and Yates with SplitMix64, as in crates/train/src/random.rs."""
    state = seed ^ (purpose * 0x9E3779B97F4A7C15 & MASK)

    def following() -> int:
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & MASK
        x = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
        return x ^ (x >> 31)

    following()
    numbers = list(range(count))
    for last in range(count - 1, 0, -1):
        other = following() * (last + 1) >> 64
        numbers[last], numbers[other] = numbers[other], numbers[last]
    return numbers


def rate(step: int, steps: int) -> float:
    if step <= WARM_UP:
        return RATE * step / WARM_UP
    done = (step - WARM_UP) / (steps - WARM_UP)
    return RATE * (FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * done)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--texts", type=Path, nargs="+", default=sorted((ROOT / "docs").rglob("*.md")))
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    python = str(VENV / "bin/python")
    about = machine()
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as directory:
        work = Path(directory)
        text, base, run = work / "text.txt", work / "base", work / "run"
        # One text, so that the order of texts is none.
        text.write_text("\n".join(path.read_text(encoding="utf-8") for path in args.texts), encoding="utf-8")
        subprocess.run([python, "-c", BEGIN, base, text], check=True, stdout=subprocess.DEVNULL)
        (work / "recipe.toml").write_text(f"""[model]
base = "{base}"
[data]
train = ["text.txt"]
[train]
steps = {args.steps}
batch = {BATCH}
micro_batch = {BATCH}
sequence = {SEQUENCE}
learning_rate = {RATE}
warm_up = {WARM_UP}
final_share = {FINAL}
weight_decay = 0.1
beta1 = 0.9
beta2 = 0.95
clip = 1.0
evaluate_every = 100000
checkpoint_every = 100000
""", encoding="utf-8")
        done = subprocess.run([SAEM, "pretrain", work / "recipe.toml", "--run", run, "--threads", str(args.threads), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"saem pretrain failed: {done.stderr}")
        ours = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        count = "import sys; from transformers import AutoTokenizer; t = AutoTokenizer.from_pretrained(sys.argv[1]); print(len(t(open(sys.argv[2], encoding='utf-8').read()).input_ids) + 1)"
        tokens = int(subprocess.run([python, "-c", count, base, text], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)
        epoch = tokens // SEQUENCE
        numbers: list[int] = []
        for number in range(-(-args.steps * BATCH // epoch)):
            # Sequences have the purpose 2.
            turned = (number << 32 | number >> 32) & MASK
            numbers += order(turned, 2, epoch)
        plan = {"sequence": SEQUENCE, "rates": [rate(step, args.steps) for step in range(1, args.steps + 1)],
                "orders": [numbers[step * BATCH:(step + 1) * BATCH] for step in range(args.steps)]}
        (work / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        output = subprocess.run([python, "-c", PEER, base, text, str(args.threads), work / "plan.json"], check=True, stdout=subprocess.PIPE, text=True).stdout
        theirs = [json.loads(line)["loss"] for line in output.splitlines()]
    smooth = lambda losses: [sum(losses[end - SMOOTH:end]) / SMOOTH for end in range(SMOOTH, len(losses) + 1)]
    distances = [abs(a / b - 1) for a, b in zip(smooth(ours), smooth(theirs))]
    result = {"machine": about, "threads": args.threads, "command": command(), "steps": args.steps, "tokens": args.steps * BATCH * SEQUENCE, "epochs": args.steps * BATCH / epoch,
              "first": [ours[0], theirs[0]], "last": [smooth(ours)[-1], smooth(theirs)[-1]], "most": max(distances), "at_the_end": distances[-1], "ours": ours, "theirs": theirs}
    print(f"{args.steps} steps: loss {ours[0]:.6f} and {theirs[0]:.6f} at the first, {result['last'][0]:.5f} and {result['last'][1]:.5f} over the last {SMOOTH}; "
          f"{100 * result['most']:.3f} % apart at most, {100 * result['at_the_end']:.3f} % at the end")
    if args.save:
        print(save("curve", result))


if __name__ == "__main__":
    main()
