#!/usr/bin/env python3
"""A ladder of small models from nothing on Korean film reviews, the law of loss through them, and whether it foretells a run that it has not seen.

    bench/ladder.py [--runs FOLDER] [--threads 2] [--save]

The vocabulary has 4,096 entries, made by `tokenizers` of the texts themselves: with a large model's, rungs of this size would be all embedding. Each rung learns from ten
tokens for each parameter, its last loss is that of all reviews of nsmc-dev (films that none learnt from). `saem plan --fit` gets all rungs but the largest.
Reviews lie in recipes/data/ (see there). Runs that have ended are kept, others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
from pathlib import Path

from engines import ROOT, command, machine, need, save

need("tokenizers")
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

SAEM = os.environ.get("SAEM", str(ROOT / "target/release/saem"))
TRAIN, HELD_OUT = ROOT / "recipes/data/nsmc-train.jsonl.zst", ROOT / "recipes/data/nsmc-dev.jsonl.zst"
VOCABULARY, TOKENS_PER_PARAMETER, SEQUENCE, BATCH = 4096, 10, 256, 16
# Width, width of the feed-forward layers, layers.
RUNGS = [(32, 96, 2), (64, 192, 2), (96, 256, 3), (128, 352, 4), (160, 432, 5)]
HEAD = 32
RECIPE = """[model]
tokenizer = "{tokenizer}"
[model.config]
model_type = "llama"
hidden_size = {width}
intermediate_size = {inner}
num_hidden_layers = {layers}
num_attention_heads = {heads}
tie_word_embeddings = true
[data]
train = ["{train}"]
validation = ["{held_out}"]
[train]
steps = {steps}
sequence = {sequence}
batch = {batch}
micro_batch = {batch}
learning_rate = 3e-3
warm_up = 100
evaluate_every = 500
checkpoint_every = 500
"""


def reviews(path: Path):
    with subprocess.Popen(["zstd", "-dcf", path], stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        for line in process.stdout:
            yield json.loads(line)["text"]


def make_tokenizer(folder: Path) -> None:
    """A folder as of a Hugging Face model: the tokenizer, and a single weight, since a folder without any is no model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(reviews(TRAIN), trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False))
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}), encoding="utf-8")
    shape = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": VOCABULARY, "eos_token_id": 0}
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    header = json.dumps({"model.norm.weight": {"dtype": "F32", "shape": [32], "data_offsets": [0, 128]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(128))


def parameters(width: int, inner: int, layers: int) -> int:
    return VOCABULARY * width + layers * (4 * width * width + 3 * width * inner + 2 * width) + width


def climb(index: int, rung: tuple[int, int, int], folder: Path, threads: int) -> Path:
    width, inner, layers = rung
    run, recipe = folder / str(index), folder / f"{index}.toml"
    if not (run / "model").exists():
        steps = round(TOKENS_PER_PARAMETER * parameters(*rung) / (SEQUENCE * BATCH))
        recipe.write_text(RECIPE.format(tokenizer=folder / "tokenizer", width=width, inner=inner, layers=layers, heads=width // HEAD, train=TRAIN, held_out=HELD_OUT,
                                        steps=steps, sequence=SEQUENCE, batch=BATCH), encoding="utf-8")
        resume = ["--resume"] if (run / "checkpoints").exists() else []
        subprocess.run([SAEM, "pretrain", recipe, "--run", run, "--threads", str(threads), "--json", *resume], check=True, stdout=subprocess.DEVNULL)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "target/ladder")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    folder = args.runs.resolve()
    if not (folder / "tokenizer").exists():
        make_tokenizer(folder / "tokenizer")
    runs = []
    for index, rung in enumerate(RUNGS, 1):
        runs.append(climb(index, rung, folder, args.threads))
        line = json.loads((runs[-1] / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        print(f"{index}: {parameters(*rung):,} parameters, {line['tokens']:,} tokens, loss {line['validation_loss']:.4f}", flush=True)
    # A law that has not seen the largest run, and one of all.
    fit, whole = (json.loads(subprocess.run([SAEM, "plan", "--json", "--fit", *some], check=True, capture_output=True, text=True).stdout) for some in (runs[:-1], runs))
    last, law = whole["points"][-1], fit["law"]
    foretold = law["floor"] + law["scale"] * last["operations"] ** -law["exponent"]
    print(f"foretold {foretold:.4f} of {last['parameters']:,.0f} parameters, found {last['loss']:.4f}")
    if args.save:
        points = [{key: value for key, value in point.items() if key != "run"} for point in whole["points"]]
        print(save("ladder", {"machine": machine(), "threads": args.threads, "command": command(), "points": points, "law": law, "foretold": foretold, "law_of_all": whole["law"],
                              "predictions": whole["predictions"]}))


if __name__ == "__main__":
    main()
