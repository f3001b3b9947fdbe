#!/usr/bin/env python3
"""Trains and tunes a tiny model with Saem, loads what came out with transformers and peft, and compares the losses of held-out texts with those that Saem measured.

    pip install torch transformers peft safetensors
    SAEM=target/release/saem python scripts/check-exports.py

What is loaded: a model trained from nothing, one whose weights were all tuned, adapters of LoRA, DoRA, p-tuning, prompt tuning and prefix tuning, and classifiers, as models and as adapters.
Both sides compute in f32; losses may differ by 1e-5 of themselves.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
BASE = ROOT / "crates/model/tests/fixtures/llama"
BOUND = 1e-5
TRAIN = """[train]
steps = 6
sequence = 48
batch = 4
learning_rate = 0.01
evaluate_every = 6
"""
ROWS = [{"text": f"{'good' if row % 2 else 'bad'} and the spring of water number {row}", "label": row % 2} for row in range(40)]


def run(folder: Path, name: str, recipe: str, command: str = "tune") -> tuple[Path, dict]:
    (folder / f"{name}.toml").write_text(recipe)
    done = subprocess.run([SAEM, command, folder / f"{name}.toml", "--run", folder / name, "--threads", "1", "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return folder / name, json.loads((folder / name / "metrics.jsonl").read_text().splitlines()[-1])


def loss_of(model, texts: list[list[int]]) -> float:
    total, count = 0.0, 0
    with torch.no_grad():
        for text in texts:
            # Rows that peft puts before a text foretell its first token, too.
            logits = model(input_ids=torch.tensor([text])).logits[0]
            wanted = text if len(logits) > len(text) else text[1:]
            total += torch.nn.functional.cross_entropy(logits[-len(wanted) - 1 : -1], torch.tensor(wanted), reduction="sum").item()
            count += len(wanted)
    return total / count


def main() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(BASE / "tokenizer.json"))
    end = tokenizer.convert_tokens_to_ids(json.loads((BASE / "tokenizer_config.json").read_text())["eos_token"])

    def encode(row: dict) -> list[int]:
        tokens = tokenizer.encode(row["text"])
        return tokens if tokens[-1] == end else [*tokens, end]

    failed = 0

    def compare(name: str, ours: float, theirs: float) -> None:
        nonlocal failed
        is_good = abs(theirs / ours - 1) < BOUND
        failed += not is_good
        print(f"{name}: Saem {ours:.6f}, loaded elsewhere {theirs:.6f}{'' if is_good else '  DIFFERS'}", flush=True)

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, rows in (("train", ROWS[:32]), ("held-out", ROWS[32:])):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        held_out = [encode(row) for row in ROWS[32:]]
        data = '[data]\ntrain = ["train.jsonl"]\nvalidation = ["held-out.jsonl"]\n'
        model = f'[model]\nbase = "{BASE}"\n'
        for method in ("lora", "dora", "p-tuning", "prompt", "prefix"):
            extra = "rank = 4\n" if method in ("lora", "dora") else "virtual_tokens = 3\n"
            out, last = run(folder, method, f'{model}[tune]\nmethod = "{method}"\n{extra}{data}text = "text"\n{TRAIN}')
            base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
            loaded = PeftModel.from_pretrained(base, out / "adapter").eval()
            compare(method, last["validation_loss"], loss_of(loaded, held_out))
        out, last = run(folder, "full", f'{model}[tune]\nmethod = "full"\n{data}text = "text"\n{TRAIN}')
        compare("full", last["validation_loss"], loss_of(AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32).eval(), held_out))

        labels = 'prompt = "{{text}}"\nlabel = "label"\nlabels = { 0 = "bad", 1 = "good" }\n'
        for method in ("lora", "dora", "head"):
            extra = "" if method == "head" else "rank = 4\n"
            out, last = run(folder, f"classifier-{method}", f'{model}[tune]\nmethod = "{method}"\ntask = "classification"\n{extra}{data}{labels}{TRAIN}')
            whole = AutoModelForSequenceClassification.from_pretrained(out / "model", dtype=torch.float32)
            base = AutoModelForSequenceClassification.from_pretrained(BASE, config=AutoConfig.from_pretrained(out / "adapter"), dtype=torch.float32)
            for kind, loaded in (("model", whole), ("adapter", PeftModel.from_pretrained(base, out / "adapter"))):
                with torch.no_grad():
                    logits = [loaded.eval()(input_ids=torch.tensor([encode(row)[:-1]])).logits[0] for row in ROWS[32:]]
                wanted = torch.tensor([loaded.config.label2id["good" if row["label"] else "bad"] for row in ROWS[32:]])
                compare(f"classifier, {method}, {kind}", last["validation_loss"], torch.nn.functional.cross_entropy(torch.stack(logits), wanted).item())

        shape = 'model_type = "llama"\nhidden_size = 64\nintermediate_size = 96\nnum_hidden_layers = 2\nnum_attention_heads = 4\n'
        recipe = f'[model]\ntokenizer = "{BASE}"\n[model.config]\n{shape}{data}{TRAIN.replace("sequence = 48", "sequence = 16")}'
        out, _ = run(folder, "pretrained", recipe, "pretrain")
        loaded, told = AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32, output_loading_info=True)
        _, last = run(folder, "again", f'[model]\nbase = "{out / "model"}"\n[tune]\nmethod = "full"\n{data}text = "text"\n{TRAIN}learning_rate = 1e-12\n'.replace("learning_rate = 0.01\n", ""))
        compare("pretrained", last["validation_loss"], loss_of(loaded.eval(), held_out))
        if told["missing_keys"] or told["unexpected_keys"]:
            failed += 1
            print(f"pretrained: missing {told['missing_keys']}, unexpected {told['unexpected_keys']}")
    print(f"exports: {failed} problems")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
