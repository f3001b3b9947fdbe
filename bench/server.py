#!/usr/bin/env python3
"""Many clients at once: `saem serve` beside `llama_cpp.server`, the server of llama.cpp's Python package, with the same GGUF file and the same threads.

    bench/server.py [--model smollm2-135m] [--clients 1 8 16] [--threads 2] [--save]

Prompts of about 128 tokens, answers of 64, every prompt different; then the same with 1,000 tokens in front that all prompts share. Counted: generated tokens
per second of all clients together, from the first request to the last answer, and the median time from a request to its first token. Both servers are asked in
the same words through /v1/completions with streaming, one after the other; each has answered one request before the clock starts.

HTTP overhead is the processor time of Saem's threads that move bytes (not of those that compute), per streamed token.

The peer needs more than bench/setup installs: pip install 'llama-cpp-python[server]' of the same version.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from engines import ROOT, machine, model_path, need

need("llama_cpp", "fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")

WORDS = """river window garden letter market engine winter summer paper silver mountain shadow bridge kitchen music doctor forest
ticket orange mirror planet harbour button castle thunder pocket village lantern camera station needle blanket feather copper
velvet island pepper saddle marble candle""".split()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def text(seed: str, tokens: int) -> str:
    """About so many tokens: one for each of these words, as both tokenizers have them whole."""
    return " ".join(random.Random(seed).choices(WORDS, k=tokens))


def ask(port: int, model: str, prompt: str, tokens: int) -> tuple[float, int]:
    """Seconds to the first token, and how many tokens came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1800)
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
    begun = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {answer.read()[:300]!r}")
    first, pieces = None, 0
    for line in answer:
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["text"]:
            first = first or time.perf_counter() - begun
            pieces += 1
    connection.close()
    return first or float("nan"), pieces


def load(port: int, model: str, clients: int, each: int, prefix: str, tokens: int, round_name: str) -> dict:
    """`clients` threads that each ask `each` times in a row."""
    firsts, pieces, failures = [], [], []

    def client(number: int) -> None:
        for turn in range(each):
            prompt = prefix + text(f"{round_name}-{number}-{turn}", 120)
            try:
                first, count = ask(port, model, prompt, tokens)
                firsts.append(first)
                pieces.append(count)
            except Exception as error:  # noqa: BLE001 - a failed request is a result
                failures.append(str(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    if failures:
        sys.exit(f"{len(failures)} requests failed: {failures[0]}")
    return {"tokens_per_second": sum(pieces) / seconds, "first_token_seconds": statistics.median(firsts), "requests": len(firsts), "tokens": sum(pieces)}


@contextlib.contextmanager
def serving(command: list[str], environment: dict[str, str], port: int, path: str):
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    tail: list[bytes] = []
    reader = threading.Thread(target=lambda: tail.extend(process.stderr.read().splitlines()[-20:]), daemon=True)
    reader.start()
    try:
        for _ in range(600):
            if process.poll() is not None:
                reader.join()
                sys.exit(f"{command[0]} ended: " + b"\n".join(tail).decode(errors="replace"))
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.2)
        else:
            sys.exit(f"{command[0]} is not ready after two minutes")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def moving_seconds(pid: int) -> float:
    """Processor time of the threads that move bytes: those of the runtime."""
    ticks = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            if name.startswith("tokio"):
                fields = rest.split()
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def saem(binary: str, model: Path, threads: int, port: int):
    command = [binary, "serve", "--model", str(model), "--port", str(port), "--threads", str(threads), "--context", "2048", "--max-sequences", "16"]
    return serving(command, {"SAEM_LOG": "error"}, port, "/health/ready")


def llama(model: Path, threads: int, port: int):
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--port", str(port), "--n_threads", str(threads), "--n_threads_batch", str(threads),
               "--n_ctx", "2048", "--model_alias", model.stem, "--interrupt_requests", "false"]
    return serving(command, {}, port, "/v1/models")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="smollm2-135m")
    arguments.add_argument("--saem", default=str(ROOT / "target/release/saem"))
    arguments.add_argument("--clients", type=int, nargs="+", default=[1, 8, 16])
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--tokens", type=int, default=64)
    arguments.add_argument("--save", action="store_true", help="write bench/results/server.json")
    options = arguments.parse_args()
    model = model_path(options.model)
    about = machine()
    servers = {"saem": lambda port: saem(options.saem, model, options.threads, port), "llama_cpp.server": lambda port: llama(model, options.threads, port)}
    prefix = text("shared", 1000) + " "
    settings = [{"clients": clients, "prefix": 0} for clients in options.clients] + [{"clients": max(options.clients), "prefix": 1000}]
    lines = [dict(setting) for setting in settings]
    for name, start in servers.items():
        port = free_port()
        with start(port) as process:
            ask(port, model.stem, "One, two,", 4)
            for line in lines:
                # The shared beginning is known to whoever keeps it, as in a service that has run for a while.
                front = prefix if line["prefix"] else ""
                if front:
                    ask(port, model.stem, front + text("first", 8), 4)
                each = 2 if line["clients"] > 1 else 4
                before = moving_seconds(process.pid)
                line[name] = load(port, model.stem, line["clients"], each, front, options.tokens, f"{line['clients']}-{line['prefix']}")
                figures = line[name]
                if name == "saem":
                    figures["overhead_microseconds"] = 1e6 * (moving_seconds(process.pid) - before) / figures["tokens"]
                print(f"{name:18} {line['clients']:3} clients, prefix {line['prefix']:4}: {figures['tokens_per_second']:7.1f} tokens/s, "
                      f"first token {figures['first_token_seconds']:6.2f} s", flush=True)
    for line in lines:
        line["ratio"] = line["saem"]["tokens_per_second"] / line["llama_cpp.server"]["tokens_per_second"]
        line["first_token_ratio"] = line["saem"]["first_token_seconds"] / line["llama_cpp.server"]["first_token_seconds"]
        print(f"{line['clients']:3} clients, prefix {line['prefix']:4}: {line['ratio']:.1f} x the tokens, {line['first_token_ratio']:.2f} x the time to the first")
    if options.save:
        import llama_cpp

        result = {"machine": about, "model": options.model, "threads": options.threads, "tokens": options.tokens,
                  "peer": f"llama_cpp.server of llama-cpp-python {llama_cpp.__version__}",
                  "command": f"bench/server.py --model {options.model} --threads {options.threads} --save", "lines": lines}
        (ROOT / "bench/results/server.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
