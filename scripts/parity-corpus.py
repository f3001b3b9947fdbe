#!/usr/bin/env python3
"""Write a corpus on which tokenizers are compared: OUT/corpus.jsonl, one JSON string per line.

    parity-corpus.py OUT [--texts DIR ...] [--megabytes 6] [--seed 1]

Prose comes from --texts (folders with .txt, .md, .csv, .tsv, .jsonl and .jsonl.zst files; Korean is wanted there); where
that is too little, its words in random order fill the rest. English comes from the documentation of Python's modules,
code from the standard library and from the sources of Cargo's packages. The rest is made here: emoji sequences,
decomposed Hangul, lone jamo, random code points, control characters, long runs, broken UTF-8, letters of many scripts
and cases, and mixtures of all that with the spellings of special tokens. Equal arguments and files give an equal corpus.
"""

import argparse
import io
import json
import pathlib
import random
import subprocess
import sys
import sysconfig
import unicodedata

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<s>", "</s>", "<unk>", "<pad>",
           "<start_of_turn>", "<|begin_of_text|>", "<|eot_id|>", "[|user|]", "[|endofturn|]", "<tool_call>",
           "<|fim_prefix|>", "<0x0A>", "▁", "Ġ", "<|", "|>", "<table>", "[MASK]"]
WORDS = ["don't", "I'LL", "we'Ve", "it'ſ", "'s", "'", "it’s", "ÉCOLE", "école", "ǅungla", "ʰa", "ΑΒΓ", "αβγ", "Ωmega", "Привет",
         "МИР", "İstanbul", "ıstanbul", "ﬁn", "naïve", "שלום", "مرحبا", "हिन्दी", "ไทย", "日本語", "カタカナ", "ﾊﾝｶｸ", "中文字",
         "㈜삼성", "①②③", "Ⅷ", "½", "١٢٣", "१२३", "1234567", "3.14159", "1,000", "0xFF", "camelCaseWord", "SCREAMING_CASE",
         "snake_case", "a/b/c", "//", "!!!", "...", "…", "¿?", "$100", "€5", "~~", "```", "ㅋㅋㅋ", "ㅠㅠ", "ㅎㅎ", "안녕하세요", "가나다",
         "대한민국의", "\u115f\u1160", "\u3164", "\ufeff", "\u200b", "\u00ad", "e\u0301", "o\u0308\u0304", "\u0345", "ᆨ", "ᅡ", "ᄀ"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n ", "\u00a0", "\u3000", "\u2028", "\u0085", "\x0b", "\x0c", "\x1c",
          "\u1680", "\u2003", "\u202f", ""]
EMOJI = ["😀", "👍", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇰🇷", "🇺🇸", "1️⃣", "#️⃣", "❤️", "☺︎", "🧑🏿‍🚀", "🫠", "🪿", "🫨", "🩷", "⛹🏻‍♀️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "\U0001fae9"]


def lines_of(folder):
    """The lines of text below a folder, in a fixed order."""
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = path.name
        if name.endswith(".jsonl.zst"):
            data = subprocess.run(["zstd", "-dc", str(path)], check=True, capture_output=True).stdout.decode()
        elif name.endswith((".txt", ".md", ".csv", ".tsv", ".jsonl")):
            data = path.read_text(encoding="utf-8", errors="replace")
        else:
            continue
        for line in data.splitlines():
            if name.endswith((".jsonl", ".jsonl.zst")):
                line = str(json.loads(line).get("text", ""))
            if line:
                yield line


def documents(lines, rng, size):
    """Joins lines to documents of some 200 to 4,000 bytes."""
    document, length, target = [], 0, rng.randint(200, 4000)
    for line in lines:
        document.append(line)
        length += len(line.encode())
        if length >= target:
            text = "\n".join(document)
            size -= len(text.encode())
            yield text
            if size <= 0:
                return
            document, length, target = [], 0, rng.randint(200, 4000)
    if document:
        yield "\n".join(document)


def sample(lines, rng, size):
    """Documents from the lines of a large source, taken in runs from random places."""
    lines = list(lines)
    runs = []
    while lines and sum(map(len, runs)) < 4 * len(lines) and len(runs) < 4000:
        at = rng.randrange(len(lines))
        runs.append(lines[at:at + 40])
    yield from documents((line for run in runs for line in run), rng, size)


def filled(lines, rng, size):
    """Documents from the lines, and where they end, documents of their words in random order."""
    for document in sample(lines, rng, size):
        size -= len(document.encode())
        yield document
    words = [word for line in lines for word in line.split()] or WORDS
    while size > 0:
        document = "".join(rng.choice(words) + rng.choice("     \n") for _ in range(rng.randint(30, 500)))
        size -= len(document.encode())
        yield document


def english():
    for name in sorted(sys.stdlib_module_names):
        path = pathlib.Path(sysconfig.get_path("stdlib"), name + ".py")
        if path.is_file():
            inside = False
            for line in path.read_text(errors="replace").splitlines():
                if line.count('"""') == 1:
                    inside = not inside
                elif inside:
                    yield line


def code():
    roots = [pathlib.Path(sysconfig.get_path("stdlib")), pathlib.Path.home() / ".cargo/registry/src"]
    for root in roots:
        paths = sorted(path for suffix in ("*.py", "*.rs", "*.c") for path in root.rglob(suffix) if "test" not in path.parts)
        for path in paths[::7]:
            yield from path.read_text(errors="replace").splitlines()


def made(rng, kind):
    """One made document."""
    pick = lambda options, count: [rng.choice(options) for _ in range(count)]
    code_point = lambda low, high: chr(rng.choice([c for c in (rng.randint(low, high) for _ in range(3)) if not 0xD800 <= c < 0xE000] or [65]))
    if kind == "emoji":
        return "".join(rng.choice(EMOJI) + rng.choice(["", " ", "!", "ㅋ", "a"]) for _ in range(rng.randint(5, 60)))
    if kind == "jamo":
        ranges = [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x3131, 0x3163), (0x1100, 0x11FF), (0x3165, 0x318E), (0xA960, 0xA97C), (0xD7B0, 0xD7FB), (0xAC00, 0xD7A3)]
        return "".join(code_point(*rng.choice(ranges)) if rng.random() < .9 else " " for _ in range(rng.randint(20, 400)))
    if kind == "unicode":
        ranges = rng.choice([[(0, 0x10FFFF)], [(0, 0xFFFF)], [(0x80, 0x2FFF)], [(0x300, 0x36F), (65, 90), (97, 122)], [(0x10000, 0x1FFFF)]])
        return "".join(code_point(*rng.choice(ranges)) for _ in range(rng.randint(20, 400)))
    if kind == "control":
        return "".join(chr(rng.choice([rng.randrange(32), rng.randrange(127, 160), rng.randrange(256)])) for _ in range(rng.randint(10, 200)))
    if kind == "runs":
        return "".join(rng.choice(["a", "A", " ", "\n", "\t", "1", "가", "ㅋ", "ᄀ", ".", "-", "=", "한", "é", "😀", "  a", "\r\n", "'s", "ab", "0"]) * rng.randint(1, 300)
                       for _ in range(rng.randint(1, 6)))
    if kind == "broken":
        raw = "".join(pick(WORDS + EMOJI + SPACES, rng.randint(5, 60))).encode()
        raw = bytes(b if rng.random() < .93 else rng.randrange(256) for b in raw)
        start = rng.randrange(4)
        return raw[start:].decode("utf-8", errors="replace") if rng.random() < .8 else rng.randbytes(rng.randint(10, 300)).decode("utf-8", errors="replace")
    return "".join(rng.choice(rng.choice([WORDS, WORDS, SPACES, SPACES, EMOJI, SPECIAL])) for _ in range(rng.randint(5, 200)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--texts", nargs="*", default=[])
    parser.add_argument("--megabytes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    unit = int(arguments.megabytes * 1e6 / 100)
    prose = [line for folder in arguments.texts for line in lines_of(folder)]
    groups = {
        "prose": list(filled(prose, rng, 32 * unit)),
        "english": list(sample(english(), rng, 15 * unit)),
        "code": list(sample(code(), rng, 15 * unit)),
    }
    groups["decomposed"] = [unicodedata.normalize("NFD", text) for text in sample(prose, rng, 4 * unit)]
    for kind, share in [("mixed", 8), ("emoji", 3), ("jamo", 4), ("unicode", 6), ("control", 2), ("runs", 3), ("broken", 4)]:
        group, size = [], 0
        while size < share * unit:
            group.append(made(rng, kind))
            size += len(group[-1].encode("utf-8"))
        groups[kind] = group
    arguments.out.mkdir(parents=True, exist_ok=True)
    with io.open(arguments.out / "corpus.jsonl", "w", encoding="utf-8") as out:
        for texts in groups.values():
            for text in texts:
                out.write(json.dumps(text) + "\n")
    for name, texts in groups.items():
        print(f"{name:<11} {len(texts):>6} documents {sum(len(text.encode()) for text in texts):>9} bytes")


if __name__ == "__main__":
    main()
