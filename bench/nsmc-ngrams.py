#!/usr/bin/env python3
"""What counting letters tells about the reviews of nsmc.py: logistic regression on groups of one to four characters, the strong simple peer of a tuned model.

    pip install scikit-learn==1.9.1
    bench/nsmc-ngrams.py [--examples 4000 ...] [--save]

Data, labels and the films held out are those of recipes/nsmc-*.toml; as many reviews of each kind are learnt from, 1,000 of each kind are measured. Reads with `zstd`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import time

from engines import ROOT, command, machine, save

DATA = ROOT / "recipes/data"


def reviews(name: str) -> list[list[str]]:
    """Unfavourable reviews (ratings 1 to 4) and favourable ones (9 and 10), as many of each, in an order drawn once."""
    kinds: list[list[str]] = [[], []]
    with (DATA / name).open("rb") as file:
        text = subprocess.run(["zstd", "-dc"], stdin=file, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    for row in map(json.loads, filter(None, text.split("\n"))):
        if row["rating"] <= 4 or row["rating"] >= 9:
            kinds[row["rating"] >= 9].append(row["text"])
    for kind in kinds:
        random.Random(1).shuffle(kind)
    count = min(map(len, kinds))
    return [kind[:count] for kind in kinds]


def main() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, nargs="+", default=[4000, 24_000, 54_000, 1_000_000], help="how many are learnt from; all where there are not as many")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    about, lines = machine(), []
    learnt, held_out = reviews("nsmc-train.jsonl.zst"), reviews("nsmc-dev.jsonl.zst")
    measured = [(text, kind) for kind in (0, 1) for text in held_out[kind][:1000]]
    for examples in args.examples:
        each = min(examples // 2, len(learnt[0]))
        begin = time.process_time()
        counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=4, max_iter=200).fit(counts.fit_transform(learnt[0][:each] + learnt[1][:each]), [0] * each + [1] * each)
        found = model.predict(counts.transform([text for text, _ in measured]))
        accuracy = sum(int(found == kind) for found, (_, kind) in zip(found, measured)) / len(measured)
        lines.append({"examples": 2 * each, "accuracy": accuracy, "measured": len(measured), "seconds": time.process_time() - begin})
        print(f"{2 * each:,} examples: accuracy {100 * accuracy:.1f} %, {lines[-1]['seconds']:.0f} seconds of a processor", flush=True)
    if args.save:
        print(save("nsmc-ngrams", {"machine": about, "threads": 1, "command": command(), "lines": lines}))


if __name__ == "__main__":
    main()
