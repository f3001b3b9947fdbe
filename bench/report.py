#!/usr/bin/env python3
"""Writes bench/RESULTS.md and the figures of the READMEs from bench/results/*.json, so that no figure is typed by hand."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from engines import MODELS, ROOT

PREFILL, DECODE = "prefill_tokens_per_second", "decode_tokens_per_second"
RESULTS = ROOT / "bench/results"


def load(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def title(name: str) -> str:
    return MODELS.get(name, f"`{name}`")


def limits(result: dict) -> dict[str, float]:
    found = (result.get("kernels") or {}).get("limits") or {}
    operations = [found.get("int8_operations_per_second") or 0, found.get("tile_operations_per_second") or 0]
    if result.get("isa") not in (None, "amx"):
        operations = operations[:1]
    return {"operations": max(operations), "bytes": found.get("read_bytes_per_second") or 0}


def cells(line: dict, figure: str, limit: float) -> list[str]:
    """Saem, llama.cpp, ratio, limit, share of the limit."""
    row = line[figure]
    share = [number(limit), f"{100 * row['saem'] / limit:.0f} %"] if limit else ["", ""]
    return [number(row["saem"]), number(row["llama.cpp"]), f"{row['ratio']:.2f} ×", *share]


def speed_table(result: dict, lines: list[dict], label: str, key) -> str:
    of = limits(result)
    rows = []
    for line in lines:
        work = line["work"]
        rows.append([key(line), *cells(line, PREFILL, of["operations"] / work["prefill_operations"]),
                     *cells(line, DECODE, line["batch"] * of["bytes"] / work["decode_bytes"])])
    head = [label, "prefill: Saem", "llama.cpp", "ratio", "limit", "reached", "decode: Saem", "llama.cpp", "ratio", "limit", "reached"]
    return table(head, rows)


def describe(result: dict) -> str:
    machine, peer = result["machine"], result["peer"]
    found = (result.get("kernels") or {}).get("limits") or {}
    giga = lambda key: f"{(found.get(key) or 0) / 1e9:,.0f}"
    measured = f" Limits measured with {result['kernels']['threads']} threads: memory read {giga('read_bytes_per_second')} GB/s, int8 dot products " \
               f"{giga('int8_operations_per_second')} Gop/s, int8 tiles {giga('tile_operations_per_second')} Gop/s, f32 {giga('f32_operations_per_second')} GFLOP/s." if found else ""
    return (f"{machine['date']}, commit `{machine['commit']}`, {machine['processor']}, {machine['cores']} cores ({', '.join(machine['instructions'])}), "
            f"load before the run {machine['load_before']}." + measured + f" Peer: {peer['engine']} (`{peer['system_info']}`).\n\n"
            + (f"`SAEM_ISA={result['isa']} " if result.get("isa") else "`") + f"{result['command']}`\n")


def speed_sections() -> list[str]:
    parts = []
    result = load("speed-models")
    if result:
        parts += ["## Speed\n", describe(result), "Prompt of 512 tokens, then 64 tokens one by one; tokens per second, medians of interleaved runs.\n",
                  speed_table(result, result["models"], "model", lambda line: title(line["model"]))]
    other = load("speed-no-amx")
    if other:
        parts += ["## Speed without AMX\n", "As on processors that have AVX-512 VNNI but no AMX: llama.cpp compiled without it, Saem told not to use it.\n", describe(other),
                  speed_table(other, other["models"], "model", lambda line: title(line["model"]))]
    other = load("speed-package")
    if other:
        lines = other["models"] + other.get("prompts", [])
        parts += ["## Speed beside the package as it builds\n",
                  "Saem with all it has, llama.cpp compiled without AMX. That is what its package gives with gcc 12: built there with AMX, it crashes on the first prompt (see the end of this page).\n",
                  describe(other), speed_table(other, lines, "model, tokens of the prompt", lambda line: f"{title(line['model'])}, {line['prefill']:,}")]
    result = load("speed-sweeps")
    if result:
        parts += ["## What the speed depends on\n", describe(result)]
        for key, heading, label, cell in (
                ("threads", "Threads", "model, threads", lambda line: f"{title(line['model'])}, {line['threads']}"),
                ("prompts", "Length of the prompt", "tokens", lambda line: str(line["prefill"])),
                ("batches", "Sequences at once", "sequences", lambda line: str(line["batch"])),
                ("types", "Types of weights", "type", lambda line: f"`{line['model']}`")):
            if result.get(key):
                note = "" if key == "threads" else f"{title(result[key][0]['model']) if key != 'types' else title('smollm2-135m') + ', converted'}, {result[key][0]['threads']} threads.\n"
                # The limits were measured for the most threads; with fewer they would mislead.
                shown = dict(result, kernels=None) if key == "threads" else result
                parts += [f"### {heading}\n", note, speed_table(shown, result[key], label, cell)]
        if result.get("start"):
            rows = []
            for line in result["start"]:
                first, peak, size = line["first_token_seconds"], line["peak_bytes"], line["file_bytes"]
                rows.append([title(line["model"]), f"{1000 * first['saem']:.0f} ms", f"{1000 * first['llama.cpp']:.0f} ms",
                             f"{peak['saem'] / 2**20:.0f} MiB", f"{peak['llama.cpp'] / 2**20:.0f} MiB", f"{size / 2**20:.0f} MiB",
                             f"{100 * (peak['saem'] / size - 1):+.0f} %"])
            parts += ["### Start and memory\n",
                      "File in the page cache. Saem: the whole process `saem run --max-tokens 1`, from its start to its end. llama.cpp: from opening the file to the first token "
                      "inside a process that already runs, and its memory without what Python took.\n",
                      table(["model", "first token: Saem", "llama.cpp", "peak memory: Saem", "llama.cpp", "file", "Saem over file"], rows)]
    server = load("server")
    if server:
        rows = []
        for line in server["lines"]:
            ours, theirs = line["saem"], line["llama_cpp.server"]
            rows.append([str(line["clients"]), str(line["prefix"] or ""), number(ours["tokens_per_second"]), number(theirs["tokens_per_second"]), f"{line['ratio']:.1f} ×",
                         f"{ours['first_token_seconds']:.2f} s", f"{theirs['first_token_seconds']:.2f} s", f"{line['first_token_ratio']:.2f} ×",
                         f"{ours['overhead_microseconds']:.0f} µs"])
        parts += ["## Many clients at once\n", f"{server['machine']['date']}, commit `{server['machine']['commit']}`, {title(server['model'])}, {server['threads']} threads; prompts of about 128 tokens, "
                  f"answers of {server['tokens']}, through `/v1/completions`. Peer: {server['peer']}, which works on one request at a time. `{server['command']}`\n",
                  table(["clients", "shared tokens in front", "tokens/s: Saem", "llama_cpp.server", "ratio", "first token: Saem", "llama_cpp.server", "ratio", "HTTP, per token"], rows),
                  "The last column is the processor time of Saem's threads that move bytes, for each token that was streamed.\n"]
    tokenizer = load("tokenizer")
    if tokenizer:
        rows = [[line["tokenizer"], line["text"], f"{line['saem'] / 1e6:.1f}", f"{line['tokenizers'] / 1e6:.1f}", f"{line['saem'] / line['tokenizers']:.1f} ×"]
                for line in tokenizer["lines"]]
        parts += ["## Tokenizer\n", f"{tokenizer['machine']['date']}, one thread, MB/s of text encoded; {tokenizer['peer']}. `{tokenizer['command']}`\n",
                  table(["tokenizer", "text", "Saem", "tokenizers", "ratio"], rows)]
    embeddings = load("embeddings")
    if embeddings:
        rates, ratio, single = embeddings["sentences_per_second"], embeddings["ratio"], embeddings["single_seconds"]
        about = embeddings["machine"]
        rows = [["whole list, no word met before", f"{rates['cold']:,.0f} /s", f"{rates['peer']:,.0f} /s", f"{ratio['cold']:.1f} ×"],
                ["whole list, words met before", f"{rates['warm']:,.0f} /s", f"{rates['peer']:,.0f} /s", f"{ratio['warm']:.1f} ×"],
                ["one sentence at a time", f"{1 / single['saem']:,.0f} /s", f"{1 / single['peer']:,.0f} /s", f"{ratio['single']:.1f} ×"]]
        quality = (f" Spearman's correlation with the judgement of people (KorSTS, test): Saem {embeddings['spearman']:.4f}, package {embeddings['peer_spearman']:.4f}."
                   if "spearman" in embeddings else "")
        parts += ["## Sentence embeddings\n",
                  f"{about['date']}, commit `{about['commit']}`, {about['processor']}, load before the run {about['load_before']}; {embeddings['texts']}, {embeddings['tokens']} tokens, "
                  f"{embeddings['threads']} threads, medians of {embeddings['rounds']} turns; {embeddings['peer']}. `{embeddings['command']}`\n",
                  table(["sentences per second", "Saem", "package", "ratio"], rows),
                  f"Largest difference of a number of a vector: {embeddings['largest_difference']:.0e}.{quality}\n"]
    return parts


def parity_sections() -> list[str]:
    rows, greedy = [], []
    date = ""
    for name in MODELS:
        result = load(f"parity-{name}")
        if not result:
            continue
        date = f"{result['machine']['date']}, commit `{result['machine']['commit']}`"
        for language in ("ko", "en"):
            row = result[language]
            figures = lambda key: [f"{row[key]['mean_kl']:.1e}", f"{100 * row[key]['top1']:.2f} %", f"{100 * row[key]['perplexity_difference']:.3f} %"]
            rows.append([title(name), language, str(row["exact"]["positions"]), *figures("exact"), *figures("saem"), *figures("llama.cpp"), *figures("direct")])
        for kind, continued in (result.get("continuations") or {}).items():
            parted = [line for line in continued if line["divergence"]]
            greedy.append([title(name), kind, f"{len(continued) - len(parted)} of {len(continued)}",
                           f"{max([line['divergence']['gap'] for line in parted], default=0):.4f}"])
    if not rows:
        return []
    return ["## Is it the same model?\n", f"{date}. `bench/parity.py --model NAME --save`; Korean and English prose of `bench/texts`, the same token ids in both engines, every position compared.\n",
            "*Exact*: the file's weights expanded to f32 by the reference implementation, both engines computing in f32. *Quantised*: the file itself; both engines round activations to bytes, "
            "each in its own order. Neither is the truth, so both are measured from the exact answer first, and then against each other. Each group: mean KL divergence, agreement of the most "
            "probable token, difference of perplexity.\n",
            table(["model", "text", "positions", "exact: KL", "top-1", "perplexity", "Saem from exact: KL", "top-1", "perplexity", "llama.cpp from exact: KL", "top-1", "perplexity",
                   "Saem and llama.cpp, quantised: KL", "top-1", "perplexity"], rows),
            "Greedy continuations of the thirty prompts of `bench/texts/prompts.json`, 48 tokens each. Where they part, the gap is the distance of the two candidates' logits in llama.cpp at that token.\n",
            table(["model", "weights", "identical", "largest gap"], greedy)]


def constraint_sections() -> list[str]:
    costs, kept = [], []
    date = ""
    for name in MODELS:
        result = load(f"constraint-{name}")
        if not result:
            continue
        date = f"{result['machine']['date']}, commit `{result['machine']['commit']}`, {result['threads']} threads"
        for line in result["cost"]["lines"]:
            costs.append([title(name), f"{result['vocabulary']:,}", line["schema"], *(f"{line[key]:,.0f}" for key in ("mean_micros", "p50_micros", "p95_micros", "max_micros")),
                          f"{line['decode_micros']:,.0f}", f"{100 * line['share']:.2f} %"])
        for key, what in (("suite", "JSON-Schema-Test-Suite, drafts 4 to 2020-12"), ("made_up", "made-up schemas")):
            if found := result.get(key):
                kept.append([title(name), what, *(str(found[count]) for count in ("schemas", "refused", "cut", "valid")), str(len(found["invalid"]))])
    if not costs:
        return []
    parts = ["## Constrained decoding\n", f"{date}. `bench/constraint.py --model NAME --save`; microseconds that finding, applying and following the allowed tokens take for each token of an answer, "
             "beside the microseconds that the model takes for a token.\n",
             table(["model", "vocabulary", "schema", "mean", "median", "95th percentile", "most", "decoding", "share"], costs)]
    if kept:
        parts += ["One answer for each schema, judged by Python's `jsonschema` with its checks of formats. *Refused*: the schema asks for something that is not supported, or nothing fulfils it. "
                  "*Cut*: by the limit of tokens.\n", table(["model", "schemas", "all", "refused", "cut", "valid", "not valid"], kept)]
    return parts


def brief(result: dict) -> str:
    machine = result["machine"]
    return (f"{machine['date']}, commit `{machine['commit']}`, {machine['cores']} cores, {result['threads']} threads, load before the run {machine['load_before']}. "
            f"`{result['command']}`.")


def train_table(result: dict) -> str:
    rows = []
    for line in result["lines"]:
        pairs = [("saem f32", "torch eager"), ("saem f32", "torch compile"), ("saem split", "torch eager"), ("saem split", "torch compile"), ("saem bf16", "torch bf16")]
        for ours, peer in ((way, other) for way, other in pairs if other in line):
            way, ours, peer = f"{ours.removeprefix('saem ')}, {peer.removeprefix('torch ')}", line[ours], line[peer]
            limit = f", {ours['operations_per_second'] / line['f32_peak']:.0%}" if "f32_peak" in line and way.startswith("f32") else ""
            rows.append([f"{line['shape']}, {line['batch']} x {line['sequence']}", way, f"{ours['tokens_per_second']:,.0f}", f"{peer['tokens_per_second']:,.0f}",
                         f"{ours['tokens_per_second'] / peer['tokens_per_second']:.2f} ×", f"{ours['operations_per_second'] / 1e9:,.0f}{limit}",
                         f"{ours['peak_bytes'] / 2**20:,.0f} ({ours['planned_bytes'] / 2**20:,.0f})", f"{peer['peak_bytes'] / 2**20:,.0f}"])
    return table(["model", "Saem, PyTorch", "Saem, tokens/s", "PyTorch", "ratio", "Saem, GFLOP/s" + (", share of f32 multiply-adds" if "f32_peak" in result["lines"][0] else ""), "Saem's peak, MiB", "PyTorch's peak, MiB"], rows)


def without_tiles(result: dict | None, lines) -> list[str]:
    """The same on a processor without AMX."""
    if not result:
        return []
    return [f"A processor without AMX, {result['machine']['processor']}: {', '.join(result['machine']['instructions'])}. {brief(result)}\n", lines(result)]


def train_sections() -> list[str]:
    result = load("train")
    if not result:
        return []
    return ["## Training\n", f"{brief(result)} PyTorch {result['lines'][0]['torch']}. Whole steps: forward, backward, clipping, AdamW, with weights and sums in f32; the median of steps. *f32* is f32 on both sides, *split* has products with an error of 2⁻¹⁶ where there are tiles, which PyTorch does not have on processors, *bf16* multiplies bf16 numbers, on PyTorch's side by autocast. In brackets, the "
            "memory that Saem's plan promised before the run; Saem's peak holds its program, too.\n",
            train_table(result), *without_tiles(load("train-no-amx"), train_table), *curve(), *large()]


def plans() -> list[str]:
    result = load("plan")
    if not result:
        return []
    rows = [[line["what"], f"{line['tokens']:,}", f"{line['planned_rate']:,.0f}", f"{line['rate']:,.0f}", f"{line['planned_rate'] / line['rate']:.2f} ×",
             f"{line['planned_bytes'] / 2**20:,.0f}", f"{line['peak_bytes'] / 2**20:,.0f}", f"{line['peak_bytes'] / line['planned_bytes']:.3f} ×"] for line in result["lines"]]
    return ["## Plans\n", f"{brief(result)} What `saem plan` said of runs, and what these took.\n",
            table(["run", "tokens in a step", "planned, tokens/s", "found", "ratio", "planned, MiB", "peak", "ratio"], rows)]


def ladder() -> list[str]:
    result = load("ladder")
    if not result:
        return []
    *_, last = points = result["points"]
    law = result["law"]
    formula = f"{law['floor']:.3f} + {law['scale']:.3g} × C^−{law['exponent']:.4f}"
    bars = "; ".join(f"{what} {low:.3f} to {high:.3f}" for what, (low, high) in [("floor", law["floor_interval"]), ("exponent", law["exponent_interval"])] if high)
    rows = [[f"{point['parameters'] / 1e6:.2f} M", f"{point['tokens'] / 1e6:.1f} M", f"{point['operations']:.2e}", f"{point['loss']:.4f}"] for point in points]
    ahead = [[f"{line['parameters'] / 1e6:,.0f} M", f"{line['tokens'] / 1e6:,.0f} M", f"{line['operations']:.2e}", f"{line['loss']:.3f} ({line['interval'][0]:.3f} to {line['interval'][1]:.3f})"] for line in result["predictions"][:3]]
    return ["### A law of one's own\n", f"{brief(result)} Llama shapes from nothing on 663,350 Korean film reviews, a vocabulary of 4,096, ten tokens for each parameter, loss on 12,464 reviews of other films.\n",
            table(["parameters", "tokens", "operations", "loss"], rows),
            f"`saem plan --fit` of all but the largest: loss = {formula} (95 of 100: {bars}; residuals {100 * law['rms']:.2f} %). To the largest it foretells {result['foretold']:.4f}; "
            f"found {last['loss']:.4f}, {100 * (last['loss'] / result['foretold'] - 1):+.2f} %. Of all:\n", table(["parameters", "tokens", "operations", "loss foretold"], ahead)]


def large() -> list[str]:
    result = load("large")
    if not result:
        return []
    peer = result["peer"]
    peer = f"PyTorch {peer['torch']} takes {peer['peak_bytes'] / 2**30:.2f} GiB for one sequence and one step with gradient checkpointing" if "torch" in peer else "PyTorch's process was ended by the system for want of memory"
    ways = result["ways"]
    first = next(iter(ways.values()))
    rows = [[weights, f"{way['planned_bytes'] / 2**30:.2f} GiB", f"{way['peak_bytes'] / 2**30:.2f} GiB", f"{way['peak_bytes'] / way['planned_bytes']:.4f}", f"{way['tokens_per_second']:.0f}", f"{way['losses'][-1]:.4f}"]
            for weights, way in ways.items()]
    return [f"{first['parameters'] / 1e6:.0f} million parameters from nothing (`{result['command']}`), {first['steps']} steps of {first['tokens'] // first['steps']:,} tokens; {peer}.\n",
            table(["weights", "planned", "peak", "of the plan", "tokens/s", "last loss"], rows)]


def curve() -> list[str]:
    result = load("curve")
    if not result:
        return []
    return [f"A model of 5 million parameters from nothing, the same first weights and the same {result['tokens']:,} tokens in the same order (`{result['command']}`): after {result['steps']} steps the mean loss of 20 "
            f"steps is {result['last'][0]:.5f}, PyTorch's {result['last'][1]:.5f}; on the way they are at most {100 * result['most']:.3f} % apart.\n"]


def tune_table(result: dict) -> str:
    rows = []
    for line in result["lines"]:
        peer = line["peft"]
        for way in ("f32", "split", "bf16"):
            ours = line[f"saem {way}"]
            rows.append([{"lora": "LoRA, rank 16"}.get(line["method"], f"{line['method']}, 32 rows"), way, f"{ours['tokens_per_second']:,.0f}", f"{peer['tokens_per_second']:,.0f}",
                         f"{ours['tokens_per_second'] / peer['tokens_per_second']:.2f} ×", f"{ours['peak_bytes'] / 2**20:,.0f}", f"{peer['peak_bytes'] / 2**20:,.0f}", f"{ours['peak_bytes'] / peer['peak_bytes']:.2f} ×"])
    return table(["method", "products", "Saem, tokens/s", "peft", "ratio", "Saem's peak, MiB", "peft's peak, MiB", "ratio"], rows)


def tune_sections() -> list[str]:
    result = load("tune")
    if not result:
        return []
    line = result["lines"][0]
    return ["## Tuning\n", f"{brief(result)} {title(line['model'])}, {line['batch']} x {line['sequence']} tokens in a step. Saem tunes the quantised file as it is; the peer is `peft` on `transformers` (PyTorch {line['torch']}) with the same weights in f32.\n",
            tune_table(result), *without_tiles(load("tune-no-amx"), tune_table)]


def nsmc_sections() -> list[str]:
    result = load("nsmc")
    if not result:
        return []
    rows = [[title(line["model"]), line["method"], f"{line['examples']:,}", f"{100 * line['accuracy']:.1f} %", f"{line['macro_f1']:.3f}", f"{line['seconds'] / 60:.0f}", line["products"] + packed(line), f"{line['peak_bytes'] / 2**20:,.0f}"]
            for line in result["lines"] if line["accuracy"] is not None]
    said = [[title(line["model"]), line["method"], f"{line['loss']:.3f}", f"{math.exp(line['loss']):.1f}", f"{line['seconds'] / 60:.0f}", line["products"] + packed(line)] for line in result["lines"] if line["accuracy"] is None]
    dialogue = ["Questions and answers in Korean (Chatbot_data, MIT: nine tenths of 11,323 pairs), and 1,000 others that were held out: the loss of an answer's tokens, in nats.\n",
                table(["model", "method", "loss", "perplexity", "processor minutes", "bf16 products by"], said)] if said else []
    return ["## A task that was learnt\n", f"{brief(result)} Is a Korean film review favourable? Held-out reviews of other films, as many of each kind, so that guessing gets 50 %. "
            "For comparison, HyperCLOVA's p-tuning of its smallest model (137M) gets 60.9 / 77.9 / 81.2 % with 70 / 2,000 / 4,000 examples and 87.2 % with all 150,000 (Kim et al. 2021, arXiv 2109.04650, on the official split). "
            "Measured with 2,000 reviews, an accuracy of 86 % has a standard error of 0.8 points.\n",
            table(["model", "method", "examples", "accuracy", "macro F1", "processor minutes", "bf16 products by", "peak, MiB"], rows), *ngram_table(), *dialogue]


def packed(line: dict) -> str:
    return ", `keep_packed`" if line["kept_packed"] else ""


def ngram_table() -> list[str]:
    result = load("nsmc-ngrams")
    if not result:
        return []
    rows = [[f"{line['examples']:,}", f"{100 * line['accuracy']:.1f} %", f"{line['measured']:,}", f"{line['seconds']:.1f}"] for line in result["lines"]]
    return [f"The same by a peer that knows no language: logistic regression on groups of one to four characters (scikit-learn; `{result['command']}`), on reviews drawn from the same files. "
            "It is behind LoRA with as many examples, ahead of soft prompts from 24,000 on, and with all of them ahead of every row above.\n",
            table(["examples", "accuracy", "reviews measured", "processor seconds"], rows)]


def reuse_sections() -> list[str]:
    rows = []
    about = ""
    for name in MODELS:
        result = load(f"reuse-{name}")
        if not result:
            continue
        about = brief(result)
        rows.append([title(name), f"{result['prefix']['new_ms']:,.0f} ms", f"{result['prefix']['known_ms']:,.0f} ms", f"{result['prefix']['times']:.1f} ×",
                     " / ".join(f"{times:.2f}" for times in result["copying"]["times"]), " / ".join(f"{times:.2f}" for times in result["plain"]["times"])])
    if not rows:
        return []
    return ["## What comes again\n", f"{about} The time to the first token of a prompt of 1,500 tokens, new and seen before; and how many times faster decoding is with guesses from the text so far, "
            "on three prompts whose answer copies the input and on three where there is little to guess. Texts are the same with and without.\n",
            table(["model", "new prompt", "known prompt", "ratio", "copying", "free text"], rows)]


def readme_figures(korean: bool) -> str:
    result = load("speed-models")
    if not result:
        return ""
    words = {"model": "모델", "prefill": "프롬프트 512 토큰", "decode": "한 토큰씩", "plain": "AMX 없이: 프롬프트", "plain decode": "한 토큰씩", "first": "첫 토큰까지", "peak": "최대 메모리"} if korean else \
            {"model": "model", "prefill": "prompt of 512", "decode": "one by one", "plain": "both without AMX: prompt", "plain decode": "one by one", "first": "to the first token", "peak": "peak memory"}
    starts = {line["model"]: line for line in (load("speed-sweeps") or {}).get("start", [])}
    plain = {line["model"]: line for line in (load("speed-no-amx") or {}).get("models", [])}
    rows = []
    for line in result["models"]:
        row = [title(line["model"])] + [f"{number(line[f]['saem'])} ({line[f]['ratio']:.1f} ×)" for f in (PREFILL, DECODE)]
        if plain:
            row += [f"{number(plain[line['model']][f]['saem'])} ({plain[line['model']][f]['ratio']:.1f} ×)" for f in (PREFILL, DECODE)]
        if starts:
            begin = starts[line["model"]]
            row += [f"{1000 * begin['first_token_seconds']['saem']:.0f} ms ({1000 * begin['first_token_seconds']['llama.cpp']:.0f} ms)",
                    f"{begin['peak_bytes']['saem'] / 2**20:.0f} MiB ({begin['peak_bytes']['llama.cpp'] / 2**20:.0f} MiB)"]
        rows.append(row)
    machine = result["machine"]
    about = (f"초당 토큰. 괄호 안은 llama.cpp의 몇 배인지, 또는 llama.cpp의 값. {machine['cores']}코어, {result['models'][0]['threads']}스레드, {', '.join(machine['instructions'])}, {machine['date']}. "
             f"조건과 한계와의 거리는 [측정 결과](bench/RESULTS.md)에 있습니다.") if korean else \
            (f"Tokens per second; in brackets, times llama.cpp, or llama.cpp's own figure. {machine['cores']} cores, {result['models'][0]['threads']} threads, {', '.join(machine['instructions'])}, {machine['date']}. "
             f"Conditions and the distance to the limits: [results](bench/RESULTS.md).")
    return table([words["model"], words["prefill"], words["decode"], *([words["plain"], words["plain decode"]] if plain else []), *([words["first"], words["peak"]] if starts else [])], rows) + "\n" + about + "\n"


def main() -> None:
    parts = ["# Results\n", "Written by `bench/report.py` from the files in `bench/results`; no figure is typed by hand. A ratio is Saem over llama.cpp at its best setting, both measured in "
             "the same run on the same machine, taking turns. A limit is what the machine could do at most: for a prompt, int8 operations per second over the operations of a token; for decoding, "
             "bytes read per second over the bytes of weights.\n"]
    body = speed_sections() + parity_sections() + constraint_sections() + reuse_sections() + train_sections() + tune_sections() + plans() + ladder() + nsmc_sections()
    parts += body or ["Nothing has been measured yet.\n"]
    parts += ["## Measure it yourself\n",
              "```sh no-run: takes a day\nbench/setup\ncargo build --release\nscripts/test build models\nbench/speed.py\nbench/speed.py --suite sweeps\nSAEM_BENCH_AMX=off bench/setup target/bench-no-amx\nSAEM_BENCH_VENV=target/bench-no-amx bench/speed.py --suite no-amx\nSAEM_BENCH_VENV=target/bench-no-amx bench/speed.py --suite package\nbench/parity.py --model smollm2-135m --save\nbench/constraint.py --model smollm2-135m --save\nbench/reuse.py --model qwen2.5-coder-0.5b --save\nbench/train.py --compile --save\nbench/curve.py --save\nbench/large.py --weights f32 halves bf16 --save\nbench/tune.py --save\nbench/plan.py --save\nbench/ladder.py --save\nbench/nsmc.py --save\nbench/nsmc-ngrams.py --save\nbench/report.py\n```\n",
              "`bench/setup` compiles the peer for this processor (llama-cpp-python 0.3.36). Where gcc is older than 13, its AMX header is corrected on the way, since llama.cpp otherwise crashes on "
              "processors with AMX.\n"]
    (ROOT / "bench/RESULTS.md").write_text("\n".join(parts), encoding="utf-8")
    for name in ("README.md", "README.ko.md"):
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(<!-- figures: begin[^\n]*-->\n).*?(<!-- figures: end -->)", lambda match: match[1] + readme_figures(name == "README.ko.md") + match[2], text, flags=re.DOTALL)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
