#!/usr/bin/env python3
"""Do Saem and llama.cpp compute the same model from the same file?

Logits at every position of Korean and English text (bench/texts), the same token ids in both engines; then greedy continuations of thirty prompts.
A quantised file has no single answer: both engines round activations to bytes, each in its own order, and llama.cpp differs from *itself* by a
divergence of 4e-3 to 1e-2 when flash attention is switched. So there are two comparisons:

1. exact: the file's weights are expanded to f32 by the reference implementation (expand.py), and both engines run that. Activations stay in f32, so what
   remains is rounding: divergence, agreement and perplexity have absolute tolerances, and every continuation must be the same up to toss-ups.
2. quantised: the file itself. Saem must be as near to the exact answer as llama.cpp is (times 1.1). How far the two are from each other is
   reported, and where continuations part, the gap between the two candidates must be one that the two engines' rounding explains.

    bench/parity.py --model smollm2-135m          a name of engines.py or a path

Exits with 1 where a figure is out of tolerance.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

from engines import ROOT, LlamaCpp, Saem, command, machine, model_path, need, run, save

need("numpy")
import numpy  # noqa: E402

# Of the exact comparison. Its divergence is around 1e-6; a wrong epsilon or scale shows at once.
EXACT = {"mean_kl": 1e-4, "top1": 0.985, "perplexity_difference": 0.005, "gap": 0.02}
# Of the quantised one: Saem's divergence from the exact answer over llama.cpp's.
QUANTISED_RATIO = 1.1
LANGUAGES = ("ko", "en")
# The most exact that llama.cpp offers: attention in f32, no repacked copies.
REFERENCE = ("--flash", "off", "--no-extra-buffers")


def log_softmax(row: numpy.ndarray) -> numpy.ndarray:
    row = row.astype(numpy.float64)
    row -= row.max()
    return row - math.log(numpy.exp(row).sum())


def compare(reference: numpy.ndarray, other: numpy.ndarray, tokens: list[int]) -> dict:
    """KL(reference || other), agreement and perplexities over `[positions, vocabulary]` logits."""
    divergences, gaps, agree, losses = [], [], 0, [0.0, 0.0]
    for position, (a, b) in enumerate(zip(reference, other)):
        p, q = log_softmax(a), log_softmax(b)
        divergences.append(float((numpy.exp(p) * (p - q)).sum()))
        agree += int(p.argmax() == q.argmax())
        first, second = numpy.argpartition(-p, 1)[:2]
        gaps.append(abs(float((p[first] - p[second]) - (q[first] - q[second]))))
        if position + 1 < len(tokens):
            losses[0] -= p[tokens[position + 1]]
            losses[1] -= q[tokens[position + 1]]
    perplexity = [math.exp(loss / (len(tokens) - 1)) for loss in losses]
    return {
        "positions": len(divergences),
        "mean_kl": float(numpy.mean(divergences)),
        "p99_kl": float(numpy.quantile(divergences, 0.99)),
        "top1": agree / len(divergences),
        "perplexity_reference": perplexity[0],
        "perplexity": perplexity[1],
        "perplexity_difference": abs(perplexity[1] / perplexity[0] - 1),
        # How much the engines disagree about the distance between the two best candidates, at worst.
        "gap_noise": max(gaps),
    }


class Comparison:
    """One model in both engines, with files in a temporary directory."""

    def __init__(self, llama: LlamaCpp, saem: Saem, threads: int, directory: Path):
        self.llama, self.saem, self.threads, self.directory = llama, saem, threads, directory
        self.problems: list[str] = []

    def ids(self, model: Path, language: str, count: int) -> list[int]:
        text = (ROOT / f"bench/texts/{language}.txt").read_text(encoding="utf-8")
        return self.saem.tokens(model, text)[:count]

    def of_llama(self, model: Path, ids: list[int], name: str) -> numpy.ndarray:
        (self.directory / "ids.json").write_text(json.dumps(ids))
        out = self.directory / f"{name}.f32"
        result = self.llama.call("logits", model, "--threads", self.threads, "--tokens", self.directory / "ids.json",
                                 "--out", out, *REFERENCE)
        return numpy.memmap(out, "<f4", "r", shape=(len(ids), result["vocabulary"]))

    def of_saem(self, model: Path, ids: list[int], language: str, name: str) -> numpy.ndarray:
        out = self.directory / f"{name}.f32"
        run([self.saem.binary, "perplexity", "--model", str(model), "--file", str(ROOT / f"bench/texts/{language}.txt"),
             "--tokens", str(len(ids)), "--context", str(len(ids)), "--logits-out", str(out), "--threads", str(self.threads)])
        return numpy.memmap(out, "<f4", "r").reshape(len(ids), -1)

    def texts(self, model: Path, exact: Path, language: str, count: int) -> dict:
        ids = self.ids(model, language, count)
        truth, same = self.of_llama(exact, ids, "truth"), self.of_saem(exact, ids, language, "same")
        theirs, ours = self.of_llama(model, ids, "llama"), self.of_saem(model, ids, language, "saem")
        figures = {
            "exact": compare(truth, same, ids),
            "saem": compare(truth, ours, ids),
            "llama.cpp": compare(truth, theirs, ids),
            "direct": compare(theirs, ours, ids),
        }
        for name, title in (("exact", "exact: Saem and llama.cpp with f32 weights"), ("saem", "quantised: Saem from exact"),
                            ("llama.cpp", "quantised: llama.cpp from exact"), ("direct", "quantised: Saem and llama.cpp")):
            row = figures[name]
            print(f"  {language} {title:42} {row['positions']} positions, KL {row['mean_kl']:.2e}, top-1 {100 * row['top1']:6.2f} %, "
                  f"perplexity {row['perplexity']:.3f} / {row['perplexity_reference']:.3f} ({100 * row['perplexity_difference']:.3f} %)", flush=True)
        for key, good in (("mean_kl", figures["exact"]["mean_kl"] <= EXACT["mean_kl"]), ("top1", figures["exact"]["top1"] >= EXACT["top1"]),
                          ("perplexity_difference", figures["exact"]["perplexity_difference"] <= EXACT["perplexity_difference"])):
            if not good:
                self.problems.append(f"{language}, exact: {key} is {figures['exact'][key]:.3g}, tolerance {EXACT[key]}")
        ratio = figures["saem"]["mean_kl"] / max(figures["llama.cpp"]["mean_kl"], EXACT["mean_kl"])
        if ratio > QUANTISED_RATIO:
            self.problems.append(f"{language}, quantised: Saem is {ratio:.2f} times as far from the exact answer as llama.cpp")
        return figures

    def continuations(self, model: Path, length: int, tolerance: float, title: str) -> list[dict]:
        prompts = json.loads((ROOT / "bench/texts/prompts.json").read_text(encoding="utf-8"))
        pairs = []
        for language in LANGUAGES:
            for prompt in prompts[language]:
                tokens = self.saem.greedy(model, self.threads, prompt, length)
                pairs.append({"prompt": self.saem.tokens(model, prompt), "other": tokens, "language": language, "text": prompt})
        file = self.directory / "pairs.json"
        file.write_text(json.dumps(pairs))
        results = self.llama.call("greedy", model, "--threads", self.threads, "--tokens", file, *REFERENCE)["continuations"]
        rows = [{"prompt": pair["text"], "language": pair["language"], "length": len(pair["other"]), **result}
                for pair, result in zip(pairs, results)]
        parted = [row for row in rows if row["divergence"]]
        largest = max([row["divergence"]["gap"] for row in parted], default=0.0)
        print(f"  greedy, {title}: {len(rows) - len(parted)} of {len(rows)} identical; largest gap where they part {largest:.4f} (tolerance {tolerance:.3f})", flush=True)
        for row in parted:
            if row["divergence"]["gap"] > tolerance:
                self.problems.append(f"{title}: the continuation of {row['prompt'][:40]!r} parts at token {row['divergence']['position']} "
                                     f"with a gap of {row['divergence']['gap']:.3f} > {tolerance:.3f}")
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--exact", help="the model's weights in f32 [default: made by expand.py and deleted]")
    parser.add_argument("--tokens", type=int, default=1024, help="tokens of each language")
    parser.add_argument("--continuation", type=int, default=48, help="tokens of each continuation; 0 leaves them out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--saem")
    parser.add_argument("--python")
    parser.add_argument("--save", action="store_true", help="keep the figures in bench/results")
    args = parser.parse_args()
    llama, saem, model = LlamaCpp(args.python), Saem(args.saem), model_path(args.model)
    begin = time.monotonic()
    result: dict = {"machine": machine(), "command": command(), "model": model.stem, "tolerance": EXACT | {"ratio": QUANTISED_RATIO}}
    print(f"{model.stem}:", flush=True)
    with tempfile.TemporaryDirectory(prefix="saem-parity-", dir=ROOT / "target" if (ROOT / "target").is_dir() else None) as name:
        comparison = Comparison(llama, saem, args.threads, Path(name))
        exact = Path(args.exact) if args.exact else Path(name) / f"{model.stem}-f32.gguf"
        if not args.exact:
            run([llama.command[0], str(ROOT / "bench/expand.py"), str(model), str(exact)])
        for language in LANGUAGES:
            result[language] = comparison.texts(model, exact, language, args.tokens)
        if args.continuation:
            noise = max(result[language]["direct"]["gap_noise"] for language in LANGUAGES)
            result["continuations"] = {
                "exact": comparison.continuations(exact, args.continuation, EXACT["gap"], "exact"),
                "quantised": comparison.continuations(model, args.continuation, noise, "quantised"),
            }
    result["problems"] = comparison.problems
    for problem in comparison.problems:
        print(f"error: {model.stem}: {problem}", file=sys.stderr)
    print(f"  {'OUT OF TOLERANCE' if comparison.problems else 'within tolerance'} ({time.monotonic() - begin:.0f} s)")
    if args.save:
        print(save(f"parity-{model.stem}", result))
    sys.exit(bool(comparison.problems))


if __name__ == "__main__":
    main()
