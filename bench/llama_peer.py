#!/usr/bin/env python3
"""llama.cpp, measured through its C interface: the peer of every figure in this folder.

The Python binding is only the door: no Python runs inside a timed region, which holds `llama_decode` and
`llama_synchronize` and nothing else (choosing the next token is *not* counted, in the peer's favour). One process
measures one setting and prints one JSON object, so that peak memory and load time belong to that setting alone.

    llama_peer.py speed  --model M.gguf --threads 2 --prefill 512 --decode 64 --batch 1
    llama_peer.py start  --model M.gguf --threads 2 --prompt "Hello"
    llama_peer.py logits --model M.gguf --tokens ids.json --out logits.f32
    llama_peer.py greedy --model M.gguf --tokens pairs.json
    llama_peer.py info   --model M.gguf
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import resource
import statistics
import sys
import time

import llama_cpp as llama
import numpy

FLASH = {"auto": -1, "off": 0, "on": 1}
LOG: list[str] = []


@llama.llama_log_callback
def collect_log(_level, text, _user_data):
    LOG.append(text.decode("utf-8", "replace"))


def buffers() -> dict[str, float]:
    """The weight buffers that llama.cpp announced while loading, in MiB: CPU_Mapped, CPU_REPACK, AMX..."""
    found: dict[str, float] = {}
    for name, size in re.findall(r"(\S+) model buffer size =\s*([\d.]+) MiB", "".join(LOG)):
        found[name] = found.get(name, 0.0) + float(size)
    return found


class Peer:
    """One loaded model with one context."""

    def __init__(self, path: str, threads: int, context: int, *, batch: int = 512, sequences: int = 1,
                 flash: str = "auto", extra_buffers: bool = True, all_logits: bool = False):
        llama.llama_log_set(collect_log, None)
        llama.llama_backend_init()
        model_params = llama.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model_params.use_extra_bufts = extra_buffers
        self.model = llama.llama_model_load_from_file(path.encode(), model_params)
        if not self.model:
            sys.exit(f"llama.cpp cannot load {path}:\n" + "".join(LOG[-5:]))
        params = llama.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = FLASH[flash]
        params.kv_unified = True
        params.no_perf = True
        self.context = llama.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit(f"llama.cpp cannot make a context for {path}:\n" + "".join(LOG[-5:]))
        self.memory = llama.llama_get_memory(self.context)
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.batch = llama.llama_batch_init(max(batch, sequences), 0, 1)

    def clear(self) -> None:
        llama.llama_memory_clear(self.memory, True)

    def fill(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Sets the batch to rows of (token, position, sequence, wants logits)."""
        self.batch.n_tokens = len(rows)
        for index, (token, position, sequence, logits) in enumerate(rows):
            self.batch.token[index] = token
            self.batch.pos[index] = position
            self.batch.n_seq_id[index] = 1
            self.batch.seq_id[index][0] = sequence
            self.batch.logits[index] = logits

    def decode(self) -> float:
        """Runs the filled batch to its end and returns the seconds it took."""
        start = time.perf_counter()
        status = llama.llama_decode(self.context, self.batch)
        llama.llama_synchronize(self.context)
        seconds = time.perf_counter() - start
        if status != 0:
            sys.exit(f"llama_decode failed with status {status}")
        return seconds

    def logits(self, row: int) -> numpy.ndarray:
        """The logits of one row of the last batch: a view that the next `decode` overwrites."""
        pointer = llama.llama_get_logits_ith(self.context, row)
        return numpy.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self.vocabulary,))

    def prefill(self, tokens: list[int], sequence: int = 0, chunk: int = 512) -> float:
        """Runs a prompt in chunks, with logits for its last token only; returns the seconds."""
        seconds = 0.0
        for start in range(0, len(tokens), chunk):
            part = tokens[start:start + chunk]
            last = start + len(part) == len(tokens)
            self.fill([(token, start + i, sequence, last and i == len(part) - 1) for i, token in enumerate(part)])
            seconds += self.decode()
        return seconds


def some_tokens(count: int, vocabulary: int) -> list[int]:
    """Ordinary token ids, spread over the vocabulary, the same in every run."""
    return [1000 + (index * 7919) % (vocabulary - 2000) for index in range(count)]


def speed(args: argparse.Namespace) -> dict:
    context = max(args.prefill * args.batch + args.decode * args.batch, 64) + 64
    peer = Peer(args.model, args.threads, context, batch=max(args.chunk, args.batch), sequences=args.batch,
                flash=args.flash, extra_buffers=not args.no_extra_buffers)
    prompt = some_tokens(args.prefill, peer.vocabulary)
    prefill, decode = [], []
    for repetition in range(args.repetitions + 1):  # the first warms caches, page tables and clocks, and is dropped
        peer.clear()
        seconds = sum(peer.prefill(prompt, sequence, args.chunk) for sequence in range(args.batch))
        token = int(peer.logits(len(prompt) % args.chunk - 1 if len(prompt) % args.chunk else -1).argmax())
        tokens = [token] * args.batch
        generated = 0.0
        for step in range(args.decode):
            peer.fill([(tokens[s], len(prompt) + step, s, True) for s in range(args.batch)])
            generated += peer.decode()
            tokens = [int(peer.logits(s).argmax()) for s in range(args.batch)]
        if repetition or args.repetitions == 0:
            prefill.append(args.batch * len(prompt) / seconds)
            decode.append(args.batch * args.decode / generated if args.decode else 0.0)
    return {
        "prefill_tokens_per_second": statistics.median(prefill),
        "decode_tokens_per_second": statistics.median(decode),
        "prefill_runs": prefill,
        "decode_runs": decode,
        "peak_bytes": peak_bytes(),
    }


def start(args: argparse.Namespace) -> dict:
    """From opening the file to the first token, without the start of Python itself."""
    begin = time.perf_counter()
    peer = Peer(args.model, args.threads, 2048, flash=args.flash)
    loaded = time.perf_counter()
    vocab = llama.llama_model_get_vocab(peer.model)
    text = args.prompt.encode()
    buffer = (llama.llama_token * (len(text) + 8))()
    count = llama.llama_tokenize(vocab, text, len(text), buffer, len(buffer), True, True)
    peer.prefill(list(buffer[:count]))
    int(peer.logits(-1).argmax())
    done = time.perf_counter()
    return {"load_seconds": loaded - begin, "first_token_seconds": done - begin, "peak_bytes": peak_bytes()}


def logits(args: argparse.Namespace) -> dict:
    """Writes f32 logits [positions, vocabulary] of one token sequence, every position, in file order."""
    with open(args.tokens, encoding="utf-8") as file:
        tokens = json.load(file)
    peer = Peer(args.model, args.threads, len(tokens) + 64, flash=args.flash, batch=256,
                extra_buffers=not args.no_extra_buffers)
    with open(args.out, "wb") as out:
        for begin in range(0, len(tokens), 256):
            part = tokens[begin:begin + 256]
            peer.fill([(token, begin + i, 0, True) for i, token in enumerate(part)])
            peer.decode()
            for row in range(len(part)):
                out.write(peer.logits(row).astype("<f4").tobytes())
    return {"positions": len(tokens), "vocabulary": peer.vocabulary}


def greedy(args: argparse.Namespace) -> dict:
    """Greedy continuations beside those of another engine, up to the first token on which they differ.

    `--tokens` holds `[{"prompt": [ids], "other": [ids]}, ...]`. At a difference, the gap between the logits of the two candidates says
    whether the engines disagree or the choice was a toss-up.
    """
    with open(args.tokens, encoding="utf-8") as file:
        pairs = json.load(file)
    longest = max(len(pair["prompt"]) + len(pair["other"]) for pair in pairs)
    peer = Peer(args.model, args.threads, longest + 64, flash=args.flash, extra_buffers=not args.no_extra_buffers)
    results = []
    for pair in pairs:
        peer.clear()
        peer.prefill(pair["prompt"])
        result = {"same": 0, "divergence": None}
        for step, token in enumerate(pair["other"]):
            row = peer.logits(-1)
            best = int(row.argmax())
            if best != token:
                result["divergence"] = {"position": step, "token": best, "other": token, "gap": float(row[best] - row[token])}
                break
            result["same"] += 1
            peer.fill([(token, len(pair["prompt"]) + step, 0, True)])
            peer.decode()
        results.append(result)
    return {"continuations": results}


def info(args: argparse.Namespace) -> dict:
    Peer(args.model, args.threads, 512, flash=args.flash, extra_buffers=not args.no_extra_buffers)
    return {}


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"speed": speed, "start": start, "logits": logits, "greedy": greedy, "info": info}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flash", choices=FLASH, default="auto")
    parser.add_argument("--no-extra-buffers", action="store_true", help="plain CPU buffers: no repacking, no AMX")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1, help="sequences decoded together")
    parser.add_argument("--chunk", type=int, default=512, help="prompt rows per pass (n_batch and n_ubatch)")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--prompt", default="Hello")
    parser.add_argument("--tokens")
    parser.add_argument("--out")
    args = parser.parse_args()
    python_bytes = peak_bytes()  # what Python and NumPy take before anything of the peer is loaded
    result = commands[args.command](args)
    result |= {
        "engine": f"llama-cpp-python {llama.__version__}",
        "system_info": llama.llama_print_system_info().decode().strip(),
        "buffers_mib": buffers(),
        "python_bytes": python_bytes,
        "flash": args.flash,
    }
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
