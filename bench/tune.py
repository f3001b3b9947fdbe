#!/usr/bin/env python3
"""Tuning speed and memory beside peft: LoRA on all projections, and p-tuning, of one base model.

    bench/tune.py [--model smollm2-135m] [--threads 2] [--steps 8] [--rounds 2] [--methods lora p-tuning] [--save]

Saem tunes the quantised file as it is. The peer is peft on transformers with the same weights in f32 (written by `saem convert`), scaled-dot-product
attention and PyTorch's fused AdamW. A step is 4 texts of 512 tokens, all of them learnt; p-tuning puts 32 rows before each text. Both take turns, each in a
process of its own; the median of all steps but the first two of a turn counts, and the peak of resident memory that the kernel counted.

Needs torch, transformers and peft in the environment $SAEM_TRAIN_VENV (default: target/train-venv).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from engines import ROOT, command, machine, median, model_path, of_machine, save

SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
VENV = Path(os.environ.get("SAEM_TRAIN_VENV", ROOT / "target/train-venv"))
BATCH, SEQUENCE, ROWS, RANK = 4, 512, 32, 16
WARM = 2
PEER = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
import torch
from peft import LoraConfig, PromptEncoderConfig, get_peft_model
from transformers import AutoModelForCausalLM
folder, method, batch, sequence, rows, rank, threads, steps = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:9])
torch.set_num_threads(threads)
torch.manual_seed(0)
base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").train()
base.config.use_cache = False
if method == "lora":
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
else:
    config = PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=rows, encoder_hidden_size=base.config.hidden_size)
model = get_peft_model(base, config)
parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
seconds = []
for step in range(steps):
    tokens = torch.randint(100, base.config.vocab_size - 100, (batch, sequence))
    begin = time.perf_counter()
    model(input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=tokens).loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.perf_counter() - begin)
print(json.dumps({"seconds": seconds, "torch": torch.__version__, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def peer(folder: Path, method: str, threads: int, steps: int) -> dict:
    numbers = [str(number) for number in (BATCH, SEQUENCE, ROWS, RANK, threads, steps)]
    line = [str(VENV / "bin/python"), "-c", PEER, str(folder), method, *numbers]
    return json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().split("\n")[-1])


def ours(base: Path, method: str, precision: str, threads: int, steps: int, work: Path) -> dict:
    """Runs `saem tune` on texts that are longer than a sequence, so that every step is full."""
    rows = ROWS if method == "p-tuning" else 0
    words = (ROOT / "bench/texts/en.txt").read_text(encoding="utf-8").split() * 2
    texts = (" ".join(words[start:start + 300] * 4) for start in range(0, len(words) // 2, 10))
    (work / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    sizes = f"rank = {RANK}\nalpha = {2 * RANK}.0" if method == "lora" else f"virtual_tokens = {ROWS}"
    (work / "recipe.toml").write_text(f"""[model]
base = "{base}"
[tune]
method = "{method}"
{sizes}
[data]
train = ["texts.jsonl"]
text = "text"
validation_share = 0.0
[train]
steps = {steps}
batch = {BATCH}
micro_batch = {BATCH}
sequence = {SEQUENCE + rows}
learning_rate = 1e-4
weight_decay = 0.0
precision = "{precision}"
evaluate_every = 1000
checkpoint_every = 1000
""", encoding="utf-8")
    folder = work / "run"
    subprocess.run(["rm", "-rf", folder], check=True)
    process = subprocess.Popen([SAEM, "tune", work / "recipe.toml", "--run", folder, "--threads", str(threads), "--json"], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"saem tune failed: {output}")
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    before = [0, *[step["tokens"] for step in steps]]
    seconds = [(step["tokens"] - start) / step["tokens_per_second"] for step, start in zip(steps, before)]
    return {"seconds": seconds, "tokens": [step["tokens"] - start for step, start in zip(steps, before)], "peak": usage.ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=["lora", "p-tuning"], choices=["lora", "p-tuning"])
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    if not (VENV / "bin/python").exists():
        sys.exit(f"{VENV}/bin/python does not exist: make the environment and install torch, transformers and peft, or name one in SAEM_TRAIN_VENV")
    about, lines = machine(), []
    base = model_path(args.model).resolve()
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as directory:
        work = Path(directory)
        floats = work / "floats"
        subprocess.run([SAEM, "convert", base, floats, "--quantize", "f32"], check=True, stdout=subprocess.DEVNULL)
        for method in args.methods:
            ways = {f"saem {precision}": (lambda precision: lambda: ours(base, method, precision, args.threads, args.steps, work))(precision)
                    for precision in ("f32", "split", "bf16")}
            ways["peft"] = lambda: peer(floats, method, args.threads, args.steps)
            found: dict[str, list[dict]] = {way: [] for way in ways}
            for _ in range(args.rounds):
                for way, measure in ways.items():
                    found[way].append(measure())
            line = {"method": method, "model": args.model, "batch": BATCH, "sequence": SEQUENCE, "torch": found["peft"][0]["torch"]}
            for way, results in found.items():
                seconds = median([second for result in results for second in result["seconds"][WARM:]])
                line[way] = {"tokens_per_second": BATCH * SEQUENCE / seconds, "seconds": seconds, "peak_bytes": max(result["peak"] for result in results)}
            lines.append(line)
            theirs = line["peft"]
            for way in ways:
                one = line[way]
                print(f"{method}, {way}: {one['tokens_per_second']:.0f} tokens/s, {one['peak_bytes'] / 2**20:.0f} MiB; "
                      f"{one['tokens_per_second'] / theirs['tokens_per_second']:.2f} x peft, {one['peak_bytes'] / theirs['peak_bytes']:.2f} of its memory", flush=True)
    if args.save:
        print(save(of_machine("tune", about), {"machine": about, "threads": args.threads, "command": command(), "lines": lines}))


if __name__ == "__main__":
    main()
