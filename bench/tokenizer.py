#!/usr/bin/env python3
"""Measure encoding on one thread beside `tokenizers`, in Korean and in English, with the vocabulary of Qwen 2.

    bench/tokenizer.py MODEL.gguf ENCODER --korean DIR [--english DIR] [--megabytes 2] [--rounds 5] [--json]

MODEL is any GGUF file of the Qwen 2 family; ENCODER the example of saem-tokenizer, built by
`cargo build --release -p saem-tokenizer --example encode`. --korean is a folder of texts; English comes from there too,
or from the documentation of Python's modules. Both sides get the same tokenizer.json, made from the model, and the same
documents of 1 to 4 KB, then all of them as one text. The peer runs its two ways to encode, with offsets and without
(`encode_batch_fast`), and the faster counts. Both clocks count the time on a
processor, and rounds alternate, so a busy machine matters little.

Needs: pip install tokenizers gguf
"""

import argparse
import importlib.util
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


corpus, fixtures, parity = script("parity-corpus"), script("tokenizer-fixtures"), script("tokenizer-parity")


def tokenizer_json(parts):
    """Qwen 2's tokenizer.json from the keys of a GGUF file."""
    added = [{"id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": kind == 3}
             for id, (token, kind) in enumerate(zip(parts["tokens"], parts["token_type"])) if kind in (3, 4)]
    names = {token["content"] for token in added}
    vocab = {token: id for id, (token, kind) in enumerate(zip(parts["tokens"], parts["token_type"])) if kind == 1 and token not in names}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": fixtures.QWEN2}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": parts["merges"]},
    }


def documents(lines, size):
    rng = random.Random(5)
    lines = list(lines)
    rng.shuffle(lines) if len(lines) > 200_000 else None
    out, document, length, target = [], [], 0, rng.randint(1000, 4000)
    for line in lines:
        document.append(line)
        length += len(line.encode()) + 1
        if length >= target:
            out.append("\n".join(document))
            size -= length
            document, length, target = [], 0, rng.randint(1000, 4000)
            if size <= 0:
                break
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("encoder")
    parser.add_argument("--korean", required=True)
    parser.add_argument("--english")
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from tokenizers import Tokenizer, __version__

    size = int(arguments.megabytes * 1e6)
    is_korean = lambda line: sum("가" <= character <= "힣" for character in line) * 3 > len(line)
    texts = {
        "Korean": documents(filter(is_korean, corpus.lines_of(arguments.korean)), size),
        "English": documents(corpus.lines_of(arguments.english) if arguments.english else corpus.english(), size),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "tokenizer.json")
        path.write_text(json.dumps(tokenizer_json(parity.parts_of(arguments.model))), encoding="utf-8")
        start = time.process_time()
        peer = Tokenizer.from_file(str(path))
        peer_load = (time.process_time() - start) * 1e3
        load = json.loads(subprocess.run([arguments.encoder, path, "load"], check=True, capture_output=True).stdout)
        for language, docs in texts.items():
            for shape, batch in [("documents", docs), ("one text", ["\n".join(docs)])]:
                file = pathlib.Path(folder, "documents.jsonl")
                file.write_text("".join(json.dumps(text) + "\n" for text in batch), encoding="utf-8")
                bytes = sum(len(text.encode()) for text in batch)
                peer_speeds, our_speeds, first = [], [], []
                for _ in range(arguments.rounds):
                    start = time.process_time()
                    tokens = sum(len(peer.encode(text, add_special_tokens=False).ids) for text in batch)
                    with_offsets = time.process_time() - start
                    start = time.process_time()
                    peer.encode_batch_fast(batch, add_special_tokens=False)
                    fast = time.process_time() - start
                    peer_speeds.append(bytes / 1e6 / min(with_offsets, fast))
                    result = json.loads(subprocess.run([arguments.encoder, path, "speed", file], check=True, capture_output=True).stdout)
                    assert result["tokens"] == tokens, (result["tokens"], tokens)
                    our_speeds.append(result["median"])
                    first.append(result["first"])
                rows.append({
                    "text": f"{language}, {shape}", "megabytes": bytes / 1e6, "tokens": tokens,
                    "tokenizers": statistics.median(peer_speeds), "saem": statistics.median(our_speeds),
                    "saem_first_pass": statistics.median(first),
                    "ratio": statistics.median(our / its for our, its in zip(our_speeds, peer_speeds)),
                })
    if arguments.json:
        print(json.dumps({"tokenizers": __version__, "rows": rows, "load_ms": {"saem": load["median"], "tokenizers": peer_load}}))
        return
    print(f"tokenizers {__version__}, one thread, MB/s (median of {arguments.rounds})\n")
    print("| text | MB | tokens | tokenizers | saem, first pass | saem | ratio |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['text']} | {row['megabytes']:.2f} | {row['tokens']} | {row['tokenizers']:.2f} | {row['saem_first_pass']:.1f} "
              f"| {row['saem']:.1f} | {row['ratio']:.1f} x |")
    print(f"\nLoading: {load['median']:.0f} ms; tokenizers {peer_load:.0f} ms.")


if __name__ == "__main__":
    sys.exit(main())
