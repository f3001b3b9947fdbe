#!/usr/bin/env python3
"""Train a small tokenizer.json for every family of tokenizers, each with the family's exact pipeline.

    tokenizer-fixtures.py CORPUS OUT [--size 1200] [--only NAME ...] [--expect]

CORPUS is the file of parity-corpus.py. Vocabularies that cannot be had everywhere (EXAONE, HyperCLOVA X, Kanana) are
thus represented by small ones that split and merge text by the same rules. With --expect, OUT/expected.json gets short
texts, their ids and decoded texts by `tokenizers`, and, for families that GGUF files name, the ids by llama.cpp where
they differ; the tests of saem-tokenizer compare with these. The committed files were made by

    scripts/parity-corpus.py CORPUS --texts TEXTS
    scripts/tokenizer-fixtures.py CORPUS/corpus.jsonl crates/tokenizer/tests/fixtures --expect

Needs: pip install tokenizers gguf llama-cpp-python (the last two for --expect)
"""

import argparse
import collections
import importlib.util
import json
import pathlib
import random
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
EXAONE_MOE = CONTRACTIONS + (r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
                             r"|\s*[\r\n]|\s+(?!\S)|\s+")

byte_level = pre_tokenizers.ByteLevel


def split(pattern, behaviour="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behaviour)


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


def plain_bytes():
    return byte_level(add_prefix_space=False, use_regex=False)


def gpt2_bytes():
    return byte_level(add_prefix_space=False, use_regex=True)


# Name: (pre-tokeniser, normaliser, special tokens, ignore_merges, llama.cpp's name of the pre-tokeniser)
BYTE_LEVEL = {
    "gpt2": (gpt2_bytes(), None, ["<|endoftext|>"], False, "gpt-2"),
    "smollm": (sequence(pre_tokenizers.Digits(True), gpt2_bytes()), None, ["<|im_start|>", "<|im_end|>"], False, "smollm"),
    "llama3": (sequence(split(LLAMA3), plain_bytes()), None, ["<|begin_of_text|>", "<|eot_id|>"], True, "llama-bpe"),
    "qwen2": (sequence(split(QWEN2), plain_bytes()), normalizers.NFC(), ["<|im_start|>", "<|im_end|>"], False, "qwen2"),
    "exaone": (sequence(pre_tokenizers.Digits(True), gpt2_bytes()), normalizers.NFKC(), ["[BOS]", "[|endofturn|]", "[|user|]"], False, "exaone"),
    "exaone4": (gpt2_bytes(), normalizers.NFC(), ["[BOS]", "[|endofturn|]", "[|user|]"], False, "exaone4"),
    "exaone-moe": (sequence(split(EXAONE_MOE), plain_bytes()), normalizers.NFC(), ["<|endofturn|>", "<|user|>"], False, "exaone-moe"),
    "hyperclovax": (sequence(split(CL100K), plain_bytes()), None, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], False, None),
    "gpt4o": (sequence(split(GPT4O), plain_bytes()), None, ["<|endoftext|>", "<|eot_id|>"], False, "gpt-4o"),
    "prefixed": (byte_level(add_prefix_space=True, use_regex=True), None, ["<s>", "</s>"], False, None),
}
# Family whose merges may cross spaces: trained on phrases as the pre-tokeniser makes them.
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train_bpe(texts, size, pre_tokenizer, normalizer, special, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = {"limit_alphabet": 400} if options.get("byte_fallback") else {"initial_alphabet": byte_level.alphabet()}
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_level_family(texts, size, name):
    pre_tokenizer, normalizer, special, ignore_merges, _ = BYTE_LEVEL[name]
    tokenizer = train_bpe(texts, size, pre_tokenizer, normalizer, [], ignore_merges=ignore_merges)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    # Two tokens that are not special: one as any, one that strips and stands alone.
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("한국", normalized=True, single_word=True),
                          AddedToken("[MASK]", lstrip=True, normalized=False)])
    if name in ("llama3", "exaone"):
        first = special[0]
        template = processors.TemplateProcessing(single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))])
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return tokenizer


def sentence_piece(texts, size, gemma):
    special = ["<unk>", "<s>", "</s>"] + BYTES
    if gemma:
        normalizer = normalizers.Replace(" ", "▁")
        # Never matches, since the spaces are gone by then; so the file of the family has it.
        final = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        final = None
    words = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer = train_bpe(texts, size, words, normalizers.Replace("\n", " "), special, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    tokenizer.normalizer = normalizer
    # Training needs words, the trained model does not.
    data = json.loads(tokenizer.to_str())
    data["pre_tokenizer"] = json.loads(final.__getstate__()) if final else None
    data["added_tokens"] = [token for token in data["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps if gemma else steps + [decoders.Strip(" ", 1, 0)])
    if gemma:
        tokenizer.add_tokens(["\n", "\n\n", "  ", "   ", "<table>"])
    first = "<s>"
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))])
    return tokenizer


def unigram(texts, size):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    # The trainer keeps every character it sees; it shall see the usual ones only.
    counts = collections.Counter("".join(texts))
    usual = {character for character, _ in counts.most_common(size // 2)}
    texts = ["".join(character if character in usual else " " for character in text) for text in texts]
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    data = json.loads(tokenizer.to_str())
    # The model falls back to bytes, as newer ones do.
    data["model"]["vocab"] += [[byte, -20.0] for byte in BYTES]
    data["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    return tokenizer


def script(name):
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROSE = ["동해 물과 백두산이 마르고 닳도록", "나랏말싸미 듕귁에 달아 문자와로 서르 사맛디 아니할쎄", "오늘 서울의 최저기온은 -3.5도, 낮 최고기온은 12도입니다.",
         "It's 10:30, and we've 1,234 things to do.", "def f(x):\n    return x ** 2  # 제곱\n\n\tprint(f(3))\n"]
ODDITIES = ["", " ", "<|im_start|>user\n안녕<|im_end|>", "<s>a</s> <tool_call>한국 한국어 한국", "a  [MASK] b", "\n\n   x\n",
            "12345 ½ 한글 ABC", "don't I'LL it'ſ", "e\u0301 가\u11a8 \u1112\u1161\u11ab", "🏳️‍🌈👍🏽 ㅋㅋㅋ", "\ufeff\u0000\u0085"]


def short_texts(count):
    """Texts of which each tries something: nothing here was written by others."""
    made, rng = script("parity-corpus").made, random.Random(7)
    texts = PROSE + ODDITIES
    kinds = ["mixed", "mixed", "emoji", "jamo", "unicode", "control", "broken", "runs"]
    while len(texts) < count:
        text = made(rng, kinds[len(texts) % len(kinds)])
        texts.append(text[:rng.randint(10, 70)])
    return texts


def expectations(tokenizer, texts):
    """Per text: ids when special tokens are text, ids when they are read and added, and the decoded text; the last two
    are null where they equal the first and the text."""
    rows = []
    for text in texts:
        tokenizer.encode_special_tokens = False
        parsed = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        decoded = tokenizer.decode(plain, skip_special_tokens=False)
        rows.append([plain, None if parsed == plain else parsed, None if decoded == text else decoded])
    return rows


GGUF = {"gpt2": "default", "smollm": "smollm", "llama3": "llama-bpe", "qwen2": "qwen2", "exaone": "exaone", "exaone4": "exaone4",
        "exaone-moe": "exaone-moe", "gpt4o": "gpt-4o", "hyperclovax": "dbrx", "llama2": "spm", "unigram": "unigram"}


def gguf_expectations(path, pre, texts, rows):
    """Ids by llama.cpp, null where they are those of `tokenizers`."""
    from llama_cpp import Llama

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "vocabulary.gguf")
        script("tokenizer-parity").synthesize(path, pre, file)
        model = Llama(str(file), vocab_only=True, verbose=False)
        ids = [model.tokenize(text.encode(), add_bos=False, special=False) for text in texts]
    return [None if mine == row[0] else mine for mine, row in zip(ids, rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=1200)
    parser.add_argument("--expect", action="store_true")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    documents = [json.loads(line) for line in arguments.corpus.open(encoding="utf-8")]
    training = documents[:1700:2]
    makers = {name: (lambda name=name: byte_level_family(training, arguments.size, name)) for name in BYTE_LEVEL}
    makers["llama2"] = lambda: sentence_piece(training, arguments.size, False)
    makers["gemma3"] = lambda: sentence_piece(training, arguments.size, True)
    makers["unigram"] = lambda: unigram(training[::2], arguments.size)
    texts = short_texts(arguments.texts)
    arguments.out.mkdir(parents=True, exist_ok=True)
    expected = {"texts": texts, "families": {}, "gguf": {}}
    for name in arguments.only or makers:
        tokenizer = makers[name]()
        path = arguments.out / f"{name}.json"
        # Without spaces between fields, as the files are committed.
        data = json.loads(tokenizer.to_str())
        path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        if arguments.expect:
            rows = expected["families"][name] = expectations(Tokenizer.from_file(str(path)), texts)
            if name in GGUF:
                expected["gguf"][name] = [GGUF[name], gguf_expectations(path, GGUF[name], texts, rows)]
        print(f"{name:<12} {tokenizer.get_vocab_size():>6} tokens {path.stat().st_size:>8} bytes")
    if arguments.expect:
        path = arguments.out / "expected.json"
        path.write_text(json.dumps(expected, ensure_ascii=True, separators=(",", ":")))
        print(f"expected.json {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
