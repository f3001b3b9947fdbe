#!/usr/bin/env python3
"""Compare Saem's tokenizers with `tokenizers` and llama.cpp, id by id, on a corpus.

    tokenizer-parity.py ENCODER CORPUS [--json FILE ...] [--gguf FILE ...] [--synthetic FILE=PRE ...] [--parse]

ENCODER is the built example `encode` of saem-tokenizer; CORPUS the file of parity-corpus.py. Files after --json are
compared with `tokenizers`, models after --gguf with llama.cpp. --synthetic makes a GGUF vocabulary of a byte-level
tokenizer.json (such as tokenizer-fixtures.py trains) with the name PRE for its pre-tokeniser, and compares that with
llama.cpp. Decoding is compared too. --parse also reads the spelling of special tokens.

Needs: pip install tokenizers gguf llama-cpp-python (only those used). Exits with 1 if anything differs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
KEYS = ["model", "pre", "tokens", "scores", "token_type", "merges", "bos_token_id", "eos_token_id", "eot_token_id",
        "unknown_token_id", "padding_token_id", "add_bos_token", "add_eos_token", "add_space_prefix",
        "remove_extra_whitespaces", "precompiled_charsmap"]


def parts_of(path):
    """The tokenizer's keys of a GGUF file, as `encode` reads them."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    parts = {"gguf": True}
    for key in KEYS:
        field = reader.fields.get(f"tokenizer.ggml.{key}")
        if field is not None:
            parts[key] = field.contents()
    return parts


def synthesize(tokenizer_json, pre, path):
    """Writes a GGUF file that has nothing but the vocabulary of a tokenizer.json."""
    from gguf import GGUFWriter

    data = json.loads(pathlib.Path(tokenizer_json).read_text(encoding="utf-8"))
    added = {token["content"]: token for token in data["added_tokens"]}
    model = data["model"]
    writer = GGUFWriter(path, "llama")
    for key, value in [("context_length", 128), ("embedding_length", 8), ("block_count", 1), ("feed_forward_length", 8),
                       ("attention.head_count", 1)]:
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    if model["type"] == "Unigram":
        tokens = [token for token, _ in model["vocab"]]
        scores = [score for _, score in model["vocab"]]
    else:
        by_id = {id: token for token, id in model["vocab"].items()} | {token["id"]: token["content"] for token in data["added_tokens"]}
        tokens = [by_id[id] for id in range(len(by_id))]
        # Merges as scores: the earlier, the higher.
        ranks = {"".join(merge): -float(rank) for rank, merge in reversed(list(enumerate(model["merges"])))}
        scores = [ranks.get(token, -1e6) for token in tokens]
    is_byte = lambda token: token.startswith("<0x") and token.endswith(">") and len(token) == 6
    kind = lambda token: (2 if token == "<unk>" else 3 if token in added and added[token]["special"] else 4 if token in added
                          else 6 if is_byte(token) else 1)
    kinds = [kind(token) for token in tokens]
    names = {"spm": "llama", "unigram": "t5"}
    writer.add_tokenizer_model(names.get(pre, "gpt2"))
    writer.add_tokenizer_pre("default" if pre in names else pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if pre in names:
        writer.add_token_scores(scores)
        writer.add_unk_token_id(tokens.index("<unk>"))
        writer.add_eos_token_id(tokens.index("</s>"))
        writer.add_bos_token_id(tokens.index("<s>") if "<s>" in tokens else 0)
        if pre == "unigram":
            writer.add_add_space_prefix(True)
            writer.add_remove_extra_whitespaces(True)
    else:
        writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
        special = [index for index, number in enumerate(kinds) if number == 3]
        writer.add_bos_token_id(special[0])
        writer.add_eos_token_id(special[-1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ours(encoder, tokenizer, mode, lines, options):
    """Runs the example on lines, returns its lines."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))
        file.flush()
        output = subprocess.run([encoder, tokenizer, mode, file.name, *options], check=True, capture_output=True, text=True).stdout
    return output.split("\n")[:-1]


def report(name, documents, expected, got, seconds):
    wrong = [index for index, ids in enumerate(expected) if ids != got[index]]
    size = sum(len(text.encode()) for text in documents)
    print(f"{name:<34} {len(documents):>6} documents {size / 1e6:6.2f} MB {sum(map(len, expected)):>9} ids   "
          f"{'identical' if not wrong else f'{len(wrong)} documents differ'}   (reference {size / 1e6 / seconds:.2f} MB/s)", flush=True)
    for index in wrong[:5]:
        left, right = expected[index], got[index]
        at = next((at for at, pair in enumerate(zip(left, right)) if pair[0] != pair[1]), min(len(left), len(right)))
        print(f"    document {index} at {at}: expected {left[at:at + 6]!r}, got {right[at:at + 6]!r} after {left[max(0, at - 4):at]!r}")
        print(f"    {documents[index][:100]!r}")
    return not wrong


def compare_json(encoder, path, documents, parse):
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(path))
    reference.encode_special_tokens = not parse
    start = time.perf_counter()
    expected = [reference.encode(text, add_special_tokens=parse).ids for text in documents]
    seconds = time.perf_counter() - start
    options = ["special", "parse"] if parse else []
    got = [list(map(int, line.split())) for line in ours(encoder, path, "encode", map(json.dumps, documents), options)]
    good = report(f"{pathlib.Path(path).parent.name}/{pathlib.Path(path).name}{' parse' if parse else ''}", documents, expected, got, seconds)
    if not parse:
        texts = [reference.decode(ids, skip_special_tokens=False) for ids in expected]
        decoded = [json.loads(line) for line in ours(encoder, path, "decode", (" ".join(map(str, ids)) for ids in expected), [])]
        wrong = [index for index, text in enumerate(texts) if text != decoded[index]]
        for index in wrong[:3]:
            print(f"    decoding differs: {texts[index][:80]!r} {decoded[index][:80]!r}")
        good &= not wrong
    return good


def compare_gguf(encoder, path, documents, parse, name):
    from llama_cpp import Llama

    reference = Llama(str(path), vocab_only=True, verbose=False)
    start = time.perf_counter()
    expected = [reference.tokenize(text.encode(), add_bos=False, special=parse) for text in documents]
    seconds = time.perf_counter() - start
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(parts_of(path), file)
        file.flush()
        lines = ours(encoder, file.name, "encode", map(json.dumps, documents), ["parse"] if parse else [])
    got = [list(map(int, line.split())) for line in lines]
    return report(f"{name}{' parse' if parse else ''} (llama.cpp)", documents, expected, got, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--json", nargs="*", default=[])
    parser.add_argument("--gguf", nargs="*", default=[])
    parser.add_argument("--synthetic", nargs="*", default=[])
    parser.add_argument("--parse", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="take every n-th document only")
    arguments = parser.parse_args()
    documents = [json.loads(line) for line in arguments.corpus.open(encoding="utf-8")][:: arguments.every]
    good = True
    for parse in [False, True] if arguments.parse else [False]:
        for path in arguments.json:
            good &= compare_json(arguments.encoder, path, documents, parse)
        for path in arguments.gguf:
            good &= compare_gguf(arguments.encoder, path, documents, parse, pathlib.Path(path).name)
        for item in arguments.synthetic:
            path, pre = item.split("=")
            with tempfile.TemporaryDirectory() as folder:
                gguf = pathlib.Path(folder, "vocabulary.gguf")
                synthesize(path, pre, gguf)
                good &= compare_gguf(arguments.encoder, gguf, documents, parse, f"{pathlib.Path(path).stem} as {pre}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
