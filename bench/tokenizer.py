#!/usr/bin/env python3
"""Encoding speed on one thread, beside `tokenizers` of Hugging Face, for the same tokenizer.json and with the same ids.

The vocabularies are those of the models (byte-level BPE of SmolLM2 and Qwen 2.5), written as tokenizer.json from their GGUF files. The peer encodes
whole batches without threads and without offsets (`encode_batch_fast`), its fastest way.

    bench/tokenizer.py [--texts ko=FILE en=FILE]     default: the prose of bench/texts, repeated; larger texts are fairer to both
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from engines import ROOT, machine, median, model_path, need, save

need("gguf", "tokenizers")
import gguf  # noqa: E402
import tokenizers  # noqa: E402
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402

QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
FAMILIES = {
    "smollm2-135m": lambda: [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "qwen0.5b": lambda: [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
}
MEGABYTES = 4


def from_gguf(name: str) -> Tokenizer:
    fields = gguf.GGUFReader(model_path(name)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(FAMILIES[name]())
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def documents(path: Path) -> list[str]:
    """Paragraph by paragraph, `MEGABYTES` of them."""
    paragraphs = [part + "\n\n" for part in path.read_text(encoding="utf-8").split("\n\n") if part.strip()]
    taken, size = [], 0
    while size < MEGABYTES * 1_000_000:
        for part in paragraphs:
            taken.append(part)
            size += len(part.encode())
            if size >= MEGABYTES * 1_000_000:
                break
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", default=[f"{language}={ROOT}/bench/texts/{language}.txt" for language in ("ko", "en")])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "saem-tokenizer", "--example", "encode"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    encode = str(target / "release/examples/encode")
    lines = []
    with tempfile.TemporaryDirectory() as directory:
        for name in FAMILIES:
            peer = from_gguf(name)
            file = Path(directory) / f"{name}.json"
            peer.save(str(file))
            for text in args.texts:
                language, _, path = text.partition("=")
                parts = documents(Path(path))
                corpus = Path(directory) / "corpus.jsonl"
                corpus.write_text("".join(json.dumps(part) + "\n" for part in parts), encoding="utf-8")
                size = sum(len(part.encode()) for part in parts)
                rates = []
                for _ in range(args.rounds):
                    begin = time.process_time()
                    encodings = peer.encode_batch_fast(parts, add_special_tokens=False)
                    rates.append(size / (time.process_time() - begin))
                ids = subprocess.run([encode, str(file), "encode", str(corpus)], check=True, stdout=subprocess.PIPE, text=True).stdout
                if [list(map(int, line.split())) for line in ids.split("\n")[:-1]] != [encoding.ids for encoding in encodings]:
                    sys.exit(f"{name}, {language}: the ids differ")
                ours = json.loads(subprocess.run([encode, str(file), "speed", str(corpus)], check=True, stdout=subprocess.PIPE).stdout)
                lines.append({"tokenizer": name, "text": f"{language}, {Path(path).name}", "bytes": size, "saem": ours["median"] * 1e6, "tokenizers": median(rates)})
                print(f"{name} {language}: Saem {ours['median']:.1f} MB/s, tokenizers {median(rates) / 1e6:.1f} MB/s, {ours['median'] * 1e6 / median(rates):.1f} x", flush=True)
    command = "bench/tokenizer.py" + (" --texts " + " ".join(f"{text.partition('=')[0]}={Path(text.partition('=')[2]).name}" for text in args.texts) if len(sys.argv) > 1 else "")
    print(save("tokenizer", {"machine": machine(), "command": command, "peer": f"tokenizers {tokenizers.__version__}, encode_batch_fast, TOKENIZERS_PARALLELISM=false", "lines": lines}))


if __name__ == "__main__":
    main()
