#!/usr/bin/env python3
"""Saem and llama.cpp side by side, in one run on one machine.

The engines take turns, one process for each measurement (A B A B ...), and medians are compared, so that a slow minute of the machine
hits both. llama.cpp is given its best setting: before the comparison, flash attention on and off and its repacked (or AMX) weights on and off
are tried, and the fastest setting is taken for prefill and for decode apart.

    bench/speed.py                     the table of the four models
    bench/speed.py --suite sweeps      start and memory, threads, prompt lengths, batches, types of weights
    bench/speed.py --suite no-amx      the four models as on processors without AMX (needs such a peer, see bench/setup)
    bench/speed.py --suite package     Saem with all it has, beside such a peer: what the package gives where its build cannot use AMX
    bench/speed.py --models qwen0.5b --repetitions 7
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from engines import MODELS, EngineFailed, LlamaCpp, Saem, command, machine, median, model_path, run, save

PREFILL, DECODE = "prefill_tokens_per_second", "decode_tokens_per_second"
SETTINGS = {
    "flash on": ("--flash", "on"),
    "flash off": ("--flash", "off"),
    "flash on, plain buffers": ("--flash", "on", "--no-extra-buffers"),
    "flash off, plain buffers": ("--flash", "off", "--no-extra-buffers"),
}
PROMPT = "The capital of France is"


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def try_settings(llama: LlamaCpp, model, threads: int, prefill: int, decode: int, batch: int) -> dict[str, dict]:
    """A run of llama.cpp with each setting."""
    tried = {}
    for name, flags in SETTINGS.items():
        try:
            tried[name] = llama.speed(model, threads, prefill, decode, batch, flags)
        except EngineFailed as error:
            note(f"  llama.cpp {name}: {error}")
    if not tried:
        sys.exit("llama.cpp fails with every setting; see above")
    return tried


def compare(llama: LlamaCpp, saem: Saem, name: str, threads: int, prefill: int = 512, decode: int = 64, batch: int = 1,
            repetitions: int = 5) -> dict:
    """One line of a table: medians of interleaved runs and their ratios."""
    model = model_path(name)
    tried = try_settings(llama, model, threads, prefill, decode, batch)
    best = {figure: max(tried, key=lambda name: tried[name][figure]) for figure in (PREFILL, DECODE)}
    runs: dict[str, list[dict]] = {"saem": [], **{setting: [tried[setting]] for setting in set(best.values())}}
    for repetition in range(repetitions):
        for setting in runs:
            if setting == "saem":
                runs[setting].append(saem.speed(model, threads, prefill, decode, batch))
            elif repetition > 0:
                runs[setting].append(llama.speed(model, threads, prefill, decode, batch, SETTINGS[setting]))
    line = {"model": name, "threads": threads, "prefill": prefill, "decode": decode, "batch": batch, "llama_settings": best,
            "llama_buffers_mib": runs[best[PREFILL]][0]["buffers_mib"], "work": saem.work(model)}
    for figure in (PREFILL, DECODE):
        ours = [run[figure] for run in runs["saem"]]
        theirs = [run[figure] for run in runs[best[figure]]]
        line[figure] = {"saem": median(ours), "llama.cpp": median(theirs), "ratio": median(ours) / max(median(theirs), 1e-9),
                        "saem_runs": ours, "llama_runs": theirs}
    note(f"  {name} t={threads} p={prefill} d={decode} b={batch}: prefill {line[PREFILL]['saem']:.0f} / {line[PREFILL]['llama.cpp']:.0f}"
         f" = {line[PREFILL]['ratio']:.2f} x, decode {line[DECODE]['saem']:.1f} / {line[DECODE]['llama.cpp']:.1f}"
         f" = {line[DECODE]['ratio']:.2f} x")
    return line


def start(llama: LlamaCpp, saem: Saem, name: str, threads: int, repetitions: int) -> dict:
    """To the first token with the file in the page cache, and peak memory.

    Memory is the most that was resident; of llama.cpp's process, what Python and NumPy took before loading is subtracted.
    Saem: the whole life of the process `saem run --max-tokens 1`. llama.cpp: opening the file to first token inside a process that
    already runs, since its package has no command; what Python itself takes is left out, in its favour.
    """
    model = model_path(name)
    ours, theirs = [], []
    for _ in range(repetitions + 1):
        ours.append(saem.start(model, threads, PROMPT))
        run = llama.start(model, threads, PROMPT)
        theirs.append(run | {"peak_bytes": run["peak_bytes"] - run["python_bytes"]})
    ours, theirs = ours[1:], theirs[1:]  # the first fills the page cache
    line = {"model": name, "threads": threads, "file_bytes": model.stat().st_size}
    for key in ("first_token_seconds", "peak_bytes"):
        line[key] = {"saem": median([run[key] for run in ours]), "llama.cpp": median([run[key] for run in theirs])}
    note(f"  {name}: first token {1000 * line['first_token_seconds']['saem']:.0f} / {1000 * line['first_token_seconds']['llama.cpp']:.0f} ms,"
         f" peak {int(line['peak_bytes']['saem']) >> 20} / {int(line['peak_bytes']['llama.cpp']) >> 20} MiB, file {line['file_bytes'] >> 20} MiB")
    return line


def types(llama: LlamaCpp, saem: Saem, name: str, threads: int, repetitions: int) -> list[dict]:
    """The same model in every type of weights, written by `saem convert`."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="saem-types-") as directory:
        for data_type in ("q2_k", "q3_k", "q4_0", "q4_1", "q4_k", "q5_0", "q5_1", "q5_k", "q6_k", "q8_0", "iq4_nl", "iq4_xs", "f16", "bf16", "f32"):
            path = Path(directory) / f"{data_type}.gguf"
            run([saem.binary, "convert", str(model_path(name)), str(path), "--quantize", data_type])
            lines.append(compare(llama, saem, str(path), threads, repetitions=repetitions) | {"model": data_type})
            path.unlink()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=["models", "no-amx", "package", "sweeps", "smoke"], default="models")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--saem", help="the binary [default: target/release/saem]")
    parser.add_argument("--python", help="the Python that has llama_cpp [default: that of bench/setup]")
    parser.add_argument("--name", help="name of the result in bench/results [default: the suite's]")
    args = parser.parse_args()
    if args.suite == "no-amx":
        os.environ["SAEM_ISA"] = "avx512"
    llama, saem, times = LlamaCpp(args.python), Saem(args.saem), args.repetitions
    result: dict = {"machine": machine(), "command": command(),
                    "isa": os.environ.get("SAEM_ISA")}
    info = llama.call("info", model_path(args.models[0]))
    result["peer"] = {key: info[key] for key in ("engine", "system_info")}
    note(f"{result['machine']}\n{result['peer']}")
    if result["machine"]["load_before"] > 0.5:
        note("warning: the machine is busy; figures will be low and noisy")
    try:
        result["kernels"] = saem.kernels(args.threads)
    except EngineFailed as error:
        note(f"no limits: {error}")
    if args.suite == "smoke":
        result["models"] = [compare(llama, saem, args.models[0], args.threads, 64, 8, 1, 1)]
    elif args.suite == "sweeps":
        small = args.models[0]
        note("start and memory")
        result["start"] = [start(llama, saem, name, args.threads, times) for name in args.models]
        note("prompt lengths")
        result["prompts"] = [compare(llama, saem, small, args.threads, prefill=length, decode=16, repetitions=times)
                             for length in (16, 64, 256, 1024, 2048, 4096)]
        note("batches")
        result["batches"] = [compare(llama, saem, small, args.threads, prefill=64, decode=32, batch=batch, repetitions=times)
                             for batch in (1, 2, 4, 8, 16, 32)]
        note("threads")
        result["threads"] = [compare(llama, saem, name, threads, repetitions=times) for name in args.models[:3:2] for threads in sorted({1, args.threads})]
        note("types of weights")
        result["types"] = types(llama, saem, small, args.threads, 1)
    else:
        note("models")
        result["models"] = [compare(llama, saem, name, args.threads, repetitions=times) for name in args.models]
        if args.suite == "package":
            note("a long prompt")
            result["prompts"] = [compare(llama, saem, args.models[0], args.threads, prefill=4096, decode=16, repetitions=2)]
    print(save(args.name or f"speed-{args.suite}", result))


if __name__ == "__main__":
    main()
