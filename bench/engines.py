"""Both engines behind the same few functions; each call is a process of its own, so that memory and load time are its own too."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = {
    "smollm2-135m": "SmolLM2-135M-Instruct Q4_1",
    "gemma3-270m": "Gemma-3-270M Q4_K_M",
    "qwen0.5b": "Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
    "qwen1.5b": "Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
}


def environment_python() -> str:
    """The Python that has the peers: this one, if it can import them."""
    venv = os.environ.get("SAEM_BENCH_VENV", str(ROOT / "target/bench-venv"))
    python = Path(venv) / "bin/python"
    if not python.exists():
        sys.exit(f"{python} does not exist: run bench/setup first (or set SAEM_BENCH_VENV)")
    return str(python)


def need(*modules: str) -> None:
    """Starts the script again in the environment of bench/setup where this Python lacks a module."""
    if any(importlib.util.find_spec(module) is None for module in modules):
        python = environment_python()
        if sys.executable == python:
            sys.exit(f"{python} lacks {', '.join(modules)}: run bench/setup")
        os.execv(python, [python, *sys.argv])


def model_path(name: str) -> Path:
    """A model's file: a path, or one of `MODELS` in $SAEM_TEST_MODELS (default: target/test-models)."""
    if Path(name).is_file():
        return Path(name)
    path = Path(os.environ.get("SAEM_TEST_MODELS", ROOT / "target/test-models")) / f"{name}.gguf"
    if not path.is_file():
        sys.exit(f"{path} does not exist: run `scripts/test build models`, or set SAEM_TEST_MODELS")
    return path


class EngineFailed(Exception):
    """The process of an engine ended with an error; the text says which."""


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if result.returncode != 0:
        text = result.stderr.decode("utf-8", "replace")[-2000:]
        raise EngineFailed(f"exit code {result.returncode} of {' '.join(map(str, command))}\n{text}")
    return result


class LlamaCpp:
    """llama.cpp by way of llama_peer.py."""

    name = "llama.cpp"

    def __init__(self, python: str | None = None):
        self.command = [python or environment_python(), str(ROOT / "bench/llama_peer.py")]

    def call(self, command: str, model: Path, *arguments) -> dict:
        done = run([*self.command, command, "--model", str(model), *map(str, arguments)])
        return json.loads(done.stdout)

    def speed(self, model: Path, threads: int, prefill: int, decode: int, batch: int = 1, flags: tuple = ()) -> dict:
        return self.call("speed", model, "--threads", threads, "--prefill", prefill, "--decode", decode, "--batch", batch,
                         *flags)

    def start(self, model: Path, threads: int, prompt: str) -> dict:
        return self.call("start", model, "--threads", threads, "--prompt", prompt)


class Saem:
    """The binary `saem`."""

    name = "saem"

    def __init__(self, binary: str | None = None):
        self.binary = str(Path(binary or os.environ.get("SAEM", ROOT / "target/release/saem")).resolve())
        if not Path(self.binary).exists():
            sys.exit(f"{self.binary} does not exist: run `cargo build --release`")

    def call(self, *arguments) -> dict:
        done = run([self.binary, *map(str, arguments), "--json"])
        return json.loads(done.stdout)

    def speed(self, model: Path, threads: int, prefill: int, decode: int, batch: int = 1, flags: tuple = ()) -> dict:
        return self.call("bench", "--model", model, "--threads", threads, "--prefill", prefill, "--decode", decode,
                         "--batch", batch, "--repetitions", 1, *flags)

    def kernels(self, threads: int) -> dict:
        """Limits of this machine and each kernel's fraction of them."""
        return self.call("bench", "--kernels", "--threads", threads)

    def work(self, model: Path) -> dict:
        """What a token costs: multiplications of a prompt's token (its logits are computed for the last one only), and bytes of
        weights that decoding reads."""
        tensors = {tensor["name"]: tensor for tensor in self.call("inspect", model, "--tensors")["tensors"]}
        head = "output.weight" if "output.weight" in tensors else "token_embd.weight"
        multiplied = [tensor for name, tensor in tensors.items() if len(tensor["shape"]) > 1 and name not in (head, "token_embd.weight")]
        return {
            "prefill_operations": 2 * sum(math.prod(tensor["shape"]) for tensor in multiplied),
            "decode_bytes": sum(tensor["bytes"] for tensor in multiplied) + tensors[head]["bytes"],
        }

    def start(self, model: Path, threads: int, prompt: str) -> dict:
        """From the start of the process to its end after one token: everything a user waits for, and a little more."""
        command = [self.binary, "run", "--model", str(model), "--threads", str(threads), "--temperature", "0",
                   "--max-tokens", "1", prompt]
        begin = time.perf_counter()
        seconds, peak = timed(command)
        return {"first_token_seconds": seconds, "wall_seconds": time.perf_counter() - begin, "peak_bytes": peak}

    def tokens(self, model: Path, text: str, special: bool = True) -> list[int]:
        flags = ["--special"] if special else []
        done = run([self.binary, "tokenize", "--model", str(model), "--ids", *flags, "-"], input=text.encode())
        return [int(word) for word in done.stdout.split()]


    def greedy(self, model: Path, threads: int, prompt: str, length: int) -> list[int]:
        """Ids of a greedy continuation of a prompt that is taken as it is."""
        result = self.call("run", "--model", model, "--threads", threads, "--temperature", 0, "--repetition-penalty", 1,
                           "--max-tokens", length, prompt)
        return result["candidates"][0]["tokens"]


def timed(command: list[str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of one process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        raise EngineFailed(f"status {status} of {' '.join(command)}\n{error.decode('utf-8', 'replace')[-2000:]}")
    return seconds, usage.ru_maxrss * 1024


def median(values: list[float]) -> float:
    return statistics.median(values)


def machine() -> dict:
    """What a figure was measured on."""
    lscpu = {}
    for line in subprocess.run(["lscpu"], stdout=subprocess.PIPE, text=True, env=os.environ | {"LC_ALL": "C"}).stdout.splitlines():
        key, _, value = line.partition(":")
        lscpu[key.strip()] = value.strip()
    wanted = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm"]
    flags = lscpu.get("Flags", "").split()
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": f"{lscpu.get('Model name', 'unknown')} (family {lscpu.get('CPU family')}, model {lscpu.get('Model')})",
        "cores": os.cpu_count(),
        "instructions": [flag for flag in wanted if flag in flags],
        "load_before": round(os.getloadavg()[0], 2),
        "commit": commit,
    }


def of_machine(name: str, about: dict) -> str:
    """The name under which a result is kept: machines without tiles have their own."""
    return name if "amx_int8" in about["instructions"] else f"{name}-no-amx"


def command() -> str:
    """How the script was called, without the folders of this machine."""
    words = (part for word in sys.argv[1:] for part in word.split("=", 1))
    return " ".join(["bench/" + Path(sys.argv[0]).name, *(Path(word).name if word.startswith("/") else word for word in words)])


def save(name: str, result: dict) -> Path:
    """Keeps a result where report.py finds it."""
    path = ROOT / "bench/results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
