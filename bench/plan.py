#!/usr/bin/env python3
"""What `saem plan` says of runs beside what the runs then take: seconds of a step, and memory.

    bench/plan.py [--rows NAME...] [--threads 2] [--steps 10] [--save]

Each row is a recipe: a new model of some shape, or one of recipes/ (data in recipes/data/, see there) with other methods and models. It is planned with a measurement of the machine, then run for
some steps; the median of all steps but the first two counts, without measurements and checkpoints, and the resident memory that the kernel counted. Loads of other processes disturb it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from engines import ROOT, command, machine, median, model_path, save

SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
WARM = 2
NEW = """[model]
tokenizer = "{tokenizer}"
[model.config]
{shape}
[data]
train = ["{texts}"]
[train]
sequence = {sequence}
batch = {batch}
micro_batch = {batch}
"""
LLAMA = 'model_type = "llama"\nhidden_size = {0}\nintermediate_size = {1}\nnum_hidden_layers = {2}\nnum_attention_heads = {3}'
GPT = 'model_type = "opt"\nhidden_size = {0}\nffn_dim = {1}\nnum_hidden_layers = {2}\nnum_attention_heads = {3}'
GEMMA, QWEN, SMOL = "gemma3-270m", "qwen2.5-coder-0.5b", "smollm2-135m"
# Name: what it is, and either the shape, sequences and their tokens of a new model, or the recipe, the model and the method.
ROWS = {
    "llama-small": ("Llama shape, 256 wide, from nothing", (LLAMA.format(256, 688, 4, 4), 8, 256)),
    "llama": ("Llama shape, 768 wide, from nothing", (LLAMA.format(768, 2048, 12, 12), 4, 512)),
    "gpt-2": ("GPT-2's shape, 768 wide, from nothing", (GPT.format(768, 3072, 12, 12), 4, 512)),
    "smol-lora": ("SmolLM2-135M, LoRA, dialogues", ("dialogue-lora", SMOL, "lora")),
    "gemma-lora": ("Gemma 3 270M, LoRA, dialogues", ("dialogue-lora", GEMMA, "lora")),
    "gemma-p": ("Gemma 3 270M, p-tuning, reviews", ("nsmc-ptuning", GEMMA, "p-tuning")),
    "gemma-full": ("Gemma 3 270M, all weights, dialogues", ("dialogue-lora", GEMMA, "full")),
    "qwen-lora": ("Qwen2.5-Coder 0.5B, LoRA, reviews", ("nsmc-lora", QWEN, "lora")),
}


def recipe(what: tuple, steps: int, folder: Path) -> str:
    if isinstance(what[1], int):
        shape, batch, sequence = what
        texts = folder / "texts.txt"
        texts.write_text((ROOT / "bench/texts/en.txt").read_text(encoding="utf-8") * (1 + steps * batch * sequence // 1000), encoding="utf-8")
        text = NEW.format(tokenizer=model_path(SMOL).resolve(), shape=shape, texts=texts, batch=batch, sequence=sequence) + "learning_rate = 1e-4\n"
    else:
        name, model, method = what
        text = (ROOT / f"recipes/{name}.toml").read_text(encoding="utf-8").replace('"data/', f'"{ROOT}/recipes/data/')
        text = re.sub('^base = .*$', f'base = "{model_path(model).resolve()}"', text, flags=re.MULTILINE)
        text = re.sub('^method = .*$', f'method = "{method}"', text, flags=re.MULTILINE)
        text = re.sub(r"^(epochs|validation_examples|evaluate_every|checkpoint_every) = .*\n", "", text, flags=re.MULTILINE).replace("[data]\n", "[data]\nvalidation_examples = 128\n")
        if method == "full":
            text = re.sub(r"^(rank|alpha) = .*\n", "", text, flags=re.MULTILINE)
    return text.replace("[train]\n", f"[train]\nsteps = {steps}\ncheckpoint_every = {steps}\nevaluate_every = {steps}\n")


def measured(name: str, threads: int, steps: int) -> dict:
    title, what = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        path, run = Path(folder) / "recipe.toml", Path(folder) / "run"
        path.write_text(recipe(what, steps, Path(folder)), encoding="utf-8")
        plan = json.loads(subprocess.run([SAEM, "plan", path, "--threads", str(threads), "--json"], check=True, capture_output=True, text=True).stdout)
        verb = "pretrain" if isinstance(what[1], int) else "tune"
        subprocess.run([SAEM, verb, path, "--run", run, "--threads", str(threads), "--json"], check=True, capture_output=True)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    before = [0, *(line["tokens"] for line in lines)]
    # Steps differ in their tokens, so what is compared is the time of a token.
    rate = median([line["tokens_per_second"] for line in lines[WARM:]])
    tokens = plan["step"]["tokens"][0]
    return {"name": name, "what": title, "tokens": tokens, "tokens_found": (before[-1] - before[WARM]) / (len(lines) - WARM),
            "planned_rate": plan["speed"]["tokens_per_second"], "rate": rate, "planned_bytes": plan["total"], "peak_bytes": lines[-1]["memory"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    about, lines = machine(), []
    for name in args.rows:
        line = measured(name, args.threads, args.steps)
        lines.append(line)
        print(f"{name}: planned {line['planned_rate']:.0f} tokens/s, found {line['rate']:.0f} ({line['planned_rate'] / line['rate']:.2f}); {line['tokens']} tokens in a step, found {line['tokens_found']:.0f}; "
              f"planned {line['planned_bytes'] / 2**20:.0f} MiB, peak {line['peak_bytes'] / 2**20:.0f} ({line['peak_bytes'] / line['planned_bytes']:.3f})", flush=True)
    if args.save:
        print(save("plan", {"machine": about, "threads": args.threads, "command": command(), "lines": lines}))


if __name__ == "__main__":
    main()
