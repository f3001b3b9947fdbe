#!/usr/bin/env python3
"""Mixed load on a running `saem serve`: good requests, clients that hang up, and requests that are wrong.

    scripts/soak.py http://127.0.0.1:8080 PID [--seconds 300] [--clients 8] [--seed 1]

Fails where a good request fails, a wrong one is not refused in its own way (a 4xx with a code and a message), the model holds blocks of the cache after the
last client is gone, or the memory of process PID grows: the mean of the last sixth of the time against the mean of the second sixth, by more than 2 %.
The server must serve smollm2-135m and use-multilingual.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from urllib.parse import urlparse

MODEL, ENCODER = "smollm2-135m", "use-multilingual"
WORDS = "river window garden letter market engine winter 샘 바다 회의 하늘 summer paper 봄날 silver mountain shadow bridge 🙂 kitchen".split()
# Longest answer: some streams are left in the middle of it.
TOKENS = 48


class Load:
    def __init__(self, url: str, seed: int) -> None:
        parts = urlparse(url)
        self.host, self.port = parts.hostname, parts.port
        self.seed = seed
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stop = threading.Event()
        self.shared = " ".join(random.Random(seed).choices(WORDS, k=150))

    def text(self, dice: random.Random, most: int) -> str:
        prompt = " ".join(dice.choices(WORDS, k=dice.randint(1, most)))
        return f"{self.shared}\n{prompt}" if dice.random() < 0.3 else prompt

    def send(self, path: str, body: bytes, kind: str = "application/json", method: str = "POST") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        try:
            connection.request(method, path, body, {"content-type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, path: str, body: dict) -> dict:
        status, answer = self.send(path, json.dumps(body).encode())
        if status != 200:
            raise AssertionError(f"{path}: {status} {answer[:200]!r}")
        return json.loads(answer)

    # ------------------------------------------------------------ good requests

    def chat(self, dice: random.Random) -> None:
        messages = [{"role": "user", "content": self.text(dice, 120)}]
        answer = self.ask("/v1/chat/completions", {"model": MODEL, "messages": messages, "max_tokens": dice.randint(1, TOKENS), "seed": dice.randint(0, 9)})
        assert answer["usage"]["completion_tokens"] > 0, answer

    def stream(self, dice: random.Random) -> None:
        body = {"model": MODEL, "prompt": self.text(dice, 200), "max_tokens": dice.randint(1, TOKENS), "stream": True}
        status, answer = self.send("/v1/completions", json.dumps(body).encode())
        assert status == 200 and answer.rstrip().endswith(b"data: [DONE]"), answer[-200:]
        answer.decode()  # whole characters only

    def form(self, dice: random.Random) -> None:
        schema = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"], "additionalProperties": False}
        answer = self.ask("/v1/chat/completions", {
            "model": MODEL, "messages": [{"role": "user", "content": self.text(dice, 20)}], "max_tokens": 24,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}})
        if answer["choices"][0]["finish_reason"] == "stop":
            assert json.loads(answer["choices"][0]["message"]["content"])["n"] in (1, 2, 3), answer

    def embed(self, dice: random.Random) -> None:
        texts = [self.text(dice, 60) for _ in range(dice.randint(1, 8))]
        assert len(self.ask("/v1/embeddings", {"model": ENCODER, "input": texts})["data"]) == len(texts)

    def count(self, dice: random.Random) -> None:
        assert self.ask("/tokenize", {"model": MODEL, "prompt": self.text(dice, 400)})["count"] > 0

    def clova(self, dice: random.Random) -> None:
        answer = self.ask("/testapp/v1/completions/LK-D2", {"text": self.text(dice, 60), "maxTokens": dice.randint(1, TOKENS)})
        assert answer["status"]["code"] == "20000", answer

    # ------------------------------------------------------------ clients that go away

    def hang_up(self, dice: random.Random) -> None:
        body = json.dumps({"model": MODEL, "prompt": self.text(dice, 300), "max_tokens": 400, "stream": dice.random() < 0.7}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection((self.host, self.port), timeout=300) as connection:
            connection.sendall(head + body[: dice.choice([len(body), len(body), len(body), len(body) // 2])])
            connection.settimeout(dice.choice([0.01, 0.1, 0.5]))
            try:
                connection.recv(dice.choice([1, 500, 4000]))
            except TimeoutError:
                pass

    # ------------------------------------------------------------ wrong requests

    def wrong(self, dice: random.Random) -> None:
        good = {"model": MODEL, "prompt": "a", "max_tokens": 1}
        deep = b'{"model":' + b"[" * 500 + b"]" * 500 + b"}"
        path, body, kind, expected = dice.choice([
            ("/v1/completions", b"{", "application/json", 400),
            ("/v1/completions", b'{"model": "\xed\xa0\x80\xff"}', "application/json", 400),
            ("/v1/completions", deep, "application/json", 400),
            ("/v1/completions", json.dumps(good | {"tempreature": 1}).encode(), "application/json", 400),
            ("/v1/completions", json.dumps(good | {"temperature": 1e9}).encode(), "application/json", 400),
            ("/v1/completions", json.dumps(good | {"model": "none"}).encode(), "application/json", 404),
            ("/v1/completions", json.dumps(good | {"prompt": "word " * 20_000}).encode(), "application/json", 400),
            ("/v1/completions", json.dumps(good).encode(), "text/plain", 415),
            ("/v1/completions", b" " * (5 << 20), "application/json", 413),
            ("/v1/chat/completions", json.dumps({"model": MODEL, "messages": []}).encode(), "application/json", 400),
            ("/v1/embeddings", json.dumps({"model": ENCODER, "input": ""}).encode(), "application/json", 400),
            ("/v1/nothing", b"{}", "application/json", 404),
        ])
        try:
            status, answer = self.send(path, body, kind)
        except (BrokenPipeError, ConnectionResetError):
            assert expected == 413, "only a body that is too large may be cut off"
            return
        assert status == expected, (path, body[:80], status, answer[:200])
        error = json.loads(answer)["error"]
        assert error["message"] and error["code"], error

    def client(self, number: int) -> None:
        dice = random.Random(self.seed * 1000 + number)
        kinds = {self.chat: 25, self.stream: 25, self.form: 5, self.embed: 10, self.count: 5, self.clova: 5, self.hang_up: 12, self.wrong: 13}
        while not self.stop.is_set():
            kind = dice.choices(list(kinds), list(kinds.values()))[0]
            try:
                kind(dice)
                self.done[kind.__name__] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                self.failures.append(f"{kind.__name__}: {type(error).__name__}: {error}")


def memory(pid: int) -> int:
    """Bytes of the process that are in memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def gauge(load: Load, name: str) -> float:
    _, text = load.send("/metrics", b"", method="GET")
    return next(float(line.split()[1]) for line in text.decode().splitlines() if line.startswith(f"{name}{{model=\"{MODEL}\"}}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("pid", type=int)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    load = Load(args.url, args.seed)
    threads = [threading.Thread(target=load.client, args=(number,)) for number in range(args.clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    samples: list[tuple[float, int]] = []
    while (passed := time.monotonic() - begun) < args.seconds and len(load.failures) < 10:
        samples.append((passed / args.seconds, memory(args.pid)))
        if sys.stderr.isatty():
            print(f"\r{passed:.0f} of {args.seconds:.0f} s, {load.done.total()} requests, {samples[-1][1] / 2**20:.0f} MiB", end="", file=sys.stderr)
        time.sleep(0.5)
    load.stop.set()
    for thread in threads:
        thread.join()
    for _ in range(100):
        held = gauge(load, "saem_cache_blocks_used"), gauge(load, "saem_running")
        if held == (0, 0):
            break
        time.sleep(0.1)
    early = statistics.mean(size for when, size in samples if 1 / 6 <= when < 2 / 6)
    late = statistics.mean(size for when, size in samples if when >= 5 / 6)
    growth = late / early - 1
    print(json.dumps({
        "seconds": round(time.monotonic() - begun, 1), "requests": dict(load.done), "failures": len(load.failures), "blocks_held": held[0],
        "early_mib": round(early / 2**20, 1), "late_mib": round(late / 2**20, 1), "growth_percent": round(100 * growth, 2)}))
    for failure in load.failures[:5]:
        print(failure[:400])
    if load.failures or held != (0, 0) or abs(growth) > 0.02:
        sys.exit("soak: failed")


if __name__ == "__main__":
    main()
