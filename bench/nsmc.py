#!/usr/bin/env python3
"""How well a model tells favourable film reviews from others, before and after it was tuned, in the manner of HyperCLOVA's table on p-tuning.

    bench/nsmc.py [--rows NAME...] [--threads 2] [--runs FOLDER] [--save]

Recipes are those of recipes/ (data in recipes/data/, see there), with other models, methods and numbers of examples; each is run by `saem tune` and measured on 2,000
held-out reviews, 1,000 of each kind, of films that are not among those learnt from. *Few-shot* is the model as it is with the eight examples of CLOVA Studio's
demonstration before each review (a LoRA that has learnt nothing yet: one step at a rate of 1e-12). A *head* tells the label without writing it. Time is that of the processor, measuring included.
A run that is complete in FOLDER (default: target/nsmc) is not made again, and --save keeps the rows that were saved before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from engines import ROOT, command, machine, model_path, save

SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
EXAMPLES = """어릴때보고 지금다시봐도 재밌어요ㅋㅋ => 긍정
0점은 없냐? 짜증나-- => 부정
가지고 있는 이야기에 비해 정말로 수준 떨어지는 연출, 편집... => 부정
와.. 연기가 진짜 개쩔구나.. 지루할거라고 생각했는데 몰입해서 봤다.. 그래 이런게 진짜 영화지 => 긍정
안개 자욱한 밤 하늘에 떠 있는 초승달 같은 영화. => 긍정
그린스크린 수정도 안하고 홍통에서 시어스 타워가보인단다 ㄷㄷ 마이클 베이 가 영화를 대충만든듯 => 부정
영상은 좋으나 반전까지 보기엔 산만하고 지루하고 개연성이떨어진다.. 평점에낚였네 => 부정
아 진짜 너무 오글거린다... 못봐줄정도네.... => 부정
"""
GEMMA, QWEN = "gemma3-270m", "qwen2.5-coder-0.5b"
# One step that changes nothing, and then the measurement.
UNTOUCHED = {"epochs": 0.003, "warm_up": 0, "learning_rate": "1e-12"}
FEW = {"examples": 16, "sequence": 1024, "batch": 4, "micro_batch": 4, "epochs": 0.25, "warm_up": 0, "learning_rate": "1e-12", "prompt": True}
# The label is told at the end of the prompt and not written.
HEAD = {"task": '"classification"'}
# Name: model, recipe, method, what differs from the recipe.
ROWS = {
    "gemma-few": (GEMMA, "nsmc-lora", "8 examples in the prompt", FEW),
    "gemma-p70": (GEMMA, "nsmc-ptuning", "p-tuning", {"examples": 70, "epochs": 20}),
    "gemma-p2000": (GEMMA, "nsmc-ptuning", "p-tuning", {"examples": 2000, "epochs": 4}),
    "gemma-p4000": (GEMMA, "nsmc-ptuning", "p-tuning", {}),
    "gemma-p32000": (GEMMA, "nsmc-ptuning", "p-tuning", {"examples": 32_000, "epochs": 1, "evaluate_every": 500}),
    "gemma-p54000": (GEMMA, "nsmc-ptuning", "p-tuning", {"examples": 54_000, "epochs": 1, "evaluate_every": 1000, "keep_packed": "true"}),
    # A pass over all that there are, as many of each kind: more than three hours of a processor.
    "gemma-pall": (GEMMA, "nsmc-ptuning", "p-tuning", {"examples": 227_580, "epochs": 1, "evaluate_every": 2000, "checkpoint_every": 500, "final_share": 0.02, "keep_packed": "true"}),
    "gemma-prefix32000": (GEMMA, "nsmc-ptuning", "prefix tuning", {"method": '"prefix"', "learning_rate": "1e-2", "examples": 32_000, "epochs": 1, "evaluate_every": 5000, "keep_packed": "true"}),
    "gemma-lora": (GEMMA, "nsmc-lora", "LoRA", {}),
    "gemma-lora24000": (GEMMA, "nsmc-lora", "LoRA", {"examples": 24_000, "evaluate_every": 500, "keep_packed": "true"}),
    "gemma-head": (GEMMA, "nsmc-lora", "LoRA and a head", HEAD),
    "gemma-head24000": (GEMMA, "nsmc-lora", "LoRA and a head", {**HEAD, "examples": 24_000, "evaluate_every": 500, "keep_packed": "true"}),
    "gemma-full": (GEMMA, "nsmc-lora", "all weights", {"method": '"full"', "learning_rate": "2e-5"}),
    "qwen-few": (QWEN, "nsmc-lora", "8 examples in the prompt", FEW),
    "qwen-p70": (QWEN, "nsmc-ptuning", "p-tuning", {"examples": 70, "epochs": 20, "evaluate_every": 250}),
    "qwen-p2000": (QWEN, "nsmc-ptuning", "p-tuning", {"examples": 2000, "epochs": 4, "evaluate_every": 250, "keep_packed": "true"}),
    "qwen-p4000": (QWEN, "nsmc-ptuning", "p-tuning", {"evaluate_every": 375, "keep_packed": "true"}),
    "qwen-p16000": (QWEN, "nsmc-ptuning", "p-tuning", {"examples": 16_000, "epochs": 1, "evaluate_every": 500, "keep_packed": "true"}),
    "qwen-lora": (QWEN, "nsmc-lora", "LoRA", {}),
    "qwen-lora12000": (QWEN, "nsmc-lora", "LoRA", {"examples": 12_000, "evaluate_every": 250}),
    "qwen-lora16000": (QWEN, "nsmc-lora", "LoRA", {"examples": 16_000, "evaluate_every": 500}),
    "qwen-lora17000": (QWEN, "nsmc-lora", "LoRA", {"examples": 17_000, "evaluate_every": 500, "keep_packed": "true"}),
    "qwen-head": (QWEN, "nsmc-lora", "LoRA and a head", HEAD),
    # Questions and answers, a tenth of which is held out; what counts is the loss of their answers.
    "gemma-dialogue-base": (GEMMA, "dialogue-lora", "as it is", UNTOUCHED),
    "gemma-dialogue-p": (GEMMA, "dialogue-lora", "p-tuning", {"method": '"p-tuning"', "learning_rate": "2e-3", "keep_packed": "true"}),
    "gemma-dialogue": (GEMMA, "dialogue-lora", "LoRA", {}),
    "gemma-dialogue-full": (GEMMA, "dialogue-lora", "all weights", {"method": '"full"', "learning_rate": "2e-5"}),
    "qwen-dialogue-base": (QWEN, "dialogue-lora", "as it is", UNTOUCHED),
    "qwen-dialogue-p": (QWEN, "dialogue-lora", "p-tuning", {"method": '"p-tuning"', "learning_rate": "2e-3", "evaluate_every": 1000, "keep_packed": "true"}),
    "qwen-dialogue": (QWEN, "dialogue-lora", "LoRA", {"evaluate_every": 1000, "keep_packed": "true"}),
}


def recipe(name: str) -> str:
    model, file, _, changes = ROWS[name]
    text = (ROOT / f"recipes/{file}.toml").read_text(encoding="utf-8")
    changes = {"base": json.dumps(str(model_path(model).resolve())), **changes}
    if changes.pop("prompt", False):
        text = text.replace('prompt = "{{text}} =>"', f'prompt = """{EXAMPLES}{{{{text}}}} =>"""')
    if "task" in changes:
        text = re.sub(r"^answer = .*\n", "", text, flags=re.MULTILINE)
    if changes.get("method") in ('"full"', '"p-tuning"'):
        text = re.sub(r"^(rank|alpha) = .*\n", "", text, flags=re.MULTILINE)
    for key, value in changes.items():
        line = f"{key} = {value}"
        text, count = re.subn(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
        if count == 0:
            section = "[tune]" if key in ("keep_packed", "task") else "[train]"
            text = text.replace(f"{section}\n", f"{section}\n{line}\n")
    return text.replace('"data/', f'"{ROOT}/recipes/data/')


def run(name: str, threads: int, runs: Path) -> dict:
    folder, known = runs / name, runs / f"{name}.json"
    if known.exists():
        return json.loads(known.read_text(encoding="utf-8"))
    path = runs / f"{name}.toml"
    path.write_text(recipe(name), encoding="utf-8")
    resume = ["--resume"] if (folder / "recipe.toml").exists() else []
    process = subprocess.Popen([SAEM, "tune", path, "--run", folder, "--threads", str(threads), "--json", *resume], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{name}: saem tune failed")
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    result = {"accuracy": last.get("validation_accuracy"), "macro_f1": last.get("validation_f1"), "loss": last["validation_loss"], "steps": last["step"], "tokens": last["tokens"],
              "seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024, "went_on": bool(resume)}
    known.write_text(json.dumps(result), encoding="utf-8")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=Path, default=ROOT / "target/nsmc")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    about, lines = machine(), []
    products = "tiles" if "amx_int8" in about["instructions"] else "vectors"
    for name in args.rows:
        model, _, method, changes = ROWS[name]
        found = run(name, args.threads, args.runs)
        few = "prompt" in changes
        lines.append({"name": name, "model": model, "method": method, "examples": 8 if few else changes.get("examples", 4000 if found["accuracy"] else None), "products": products, "kept_packed": "keep_packed" in changes, **found})
        how = f"loss {found['loss']:.3f}" if found["accuracy"] is None else f"accuracy {100 * found['accuracy']:.1f} %, macro F1 {found['macro_f1']:.3f}"
        print(f"{name}: {how}, {found['seconds'] / 60:.1f} minutes of a processor", flush=True)
    if args.save:
        # Rows that were not asked for stay as they are, for each takes its time, and so does what is said of how all were called.
        path = ROOT / "bench/results/nsmc.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"lines": []}
        others = [line for line in known["lines"] if line["name"] not in args.rows]
        lines = sorted(lines + others, key=lambda line: list(ROWS).index(line["name"]))
        print(save("nsmc", {"machine": about, "threads": known["threads"] if others else args.threads, "command": known["command"] if others else command(), "lines": lines}))


if __name__ == "__main__":
    main()
