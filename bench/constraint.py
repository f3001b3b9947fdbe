#!/usr/bin/env python3
"""What does constrained decoding cost, and does it keep its word with a real model?

1. cost: a few common schemas; the time that masks take for each token of their answers, over the time that the model takes for a token when nothing
   constrains it. Answers come one at a time, so that the model's time is that of plain decoding.
2. validity: answers to every schema of the JSON-Schema-Test-Suite that Saem takes, and to 200 made-up ones, judged by Python's `jsonschema`. Answers that the limit of
   tokens cut are counted apart.

    bench/constraint.py --model smollm2-135m [--save] [--no-validity]

Exits with 1 where an answer is not valid or the cost is above 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
from pathlib import Path

from engines import ROOT, machine, model_path, save

try:
    import jsonschema
except ImportError:
    # A judge needs no peer that has to be compiled, so it has a small environment of its own.
    venv = ROOT / "target/constraint-venv"
    if sys.executable == str(venv / "bin/python"):
        raise
    if not (venv / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--disable-pip-version-check", "--quiet", "jsonschema==4.26.0"], check=True)
    os.execv(venv / "bin/python", [str(venv / "bin/python"), *sys.argv])

DRAFTS = {
    "draft4": jsonschema.Draft4Validator,
    "draft6": jsonschema.Draft6Validator,
    "draft7": jsonschema.Draft7Validator,
    "draft2019-09": jsonschema.Draft201909Validator,
    "draft2020-12": jsonschema.Draft202012Validator,
}
MOST_COST = 0.05


def closed(properties: dict) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def text(most: int) -> dict:
    return {"type": "string", "maxLength": most}


TYPICAL = {
    "a person": ("Anna Kim, 31, lives in Busan and likes swimming and chess. Describe her as JSON.",
                 closed({"name": text(40), "age": {"type": "integer", "minimum": 0, "maximum": 150}, "city": text(40),
                         "hobbies": {"type": "array", "items": text(20), "maxItems": 5}})),
    "a list of orders": ("Two orders: 3 apples at 1.20 each, and 1 melon at 4.50, to be delivered tomorrow. Answer in JSON.",
                         closed({"orders": {"type": "array", "minItems": 1, "maxItems": 4,
                                            "items": closed({"product": text(30), "count": {"type": "integer", "minimum": 1}, "price": {"type": "number", "minimum": 0}})},
                                 "delivery": {"enum": ["today", "tomorrow", "later"]}})),
    "a label with reasons": ("Is this review positive? 'The food was cold, but the staff was kind.' Answer in JSON.",
                             closed({"label": {"enum": ["positive", "negative", "mixed"]}, "score": {"type": "number", "minimum": 0, "maximum": 1}, "reason": text(200)})),
    "free text in Korean": ("봄에 대한 짧은 글을 JSON으로 써 주세요.", closed({"제목": text(30), "본문": text(200)})),
    "any object": ("Describe a cat in JSON.", {"type": "object"}),
}


def made_up(source: random.Random, depth: int = 0) -> dict:
    """A schema that some value fulfils."""
    kind = source.randrange(7 if depth > 3 else 12)
    if kind == 0:
        return {"type": source.choice(["boolean", ["null", "integer"]]), "minimum": -9, "maximum": 99}
    if kind == 1:
        low = source.randrange(-1000, 1000)
        return {"type": "integer", "minimum": low, "maximum": low + source.randrange(500)}
    if kind == 2:
        return {"type": "number", "exclusiveMinimum": -1, "maximum": source.choice([0.5, 3, 1000])}
    if kind == 3:
        return {"type": "string", "minLength": source.randrange(4), "maxLength": 4 + source.randrange(30)}
    if kind == 4:
        return {"enum": source.sample(["빨강", "파랑 \"색\"", 3, None, {"k": [1, "샘"]}, "a\\b"], 3)}
    if kind == 5:
        return {"type": "string", "pattern": source.choice(["^[가-힣]{2,5}$", "^[A-Z]{3}-\\d{4}$", "^\\w+@\\w+\\.com$"]), "maxLength": 24}
    if kind == 6:
        return {"type": "string", "format": source.choice(["date", "time", "uuid", "ipv4"])}
    if kind == 7:
        return {"type": "array", "items": made_up(source, depth + 1), "minItems": source.randrange(2), "maxItems": source.randrange(1, 5)}
    if kind == 8:
        return {"type": "array", "prefixItems": [made_up(source, depth + 1), made_up(source, depth + 1)], "items": False, "minItems": 2}
    if kind == 9:
        return {"anyOf": [made_up(source, depth + 1), made_up(source, depth + 1)]}
    names = source.sample(["이름", "age", "a \"b\"", "tags", "x/y", "값"], source.randrange(1, 5))
    schema = {"type": "object", "properties": {name: made_up(source, depth + 1) for name in names}, "required": names[: source.randrange(len(names) + 1)],
              "additionalProperties": False}
    if depth == 0:
        schema["properties"]["ref"] = {"$ref": "#/$defs/shared"}
        schema["$defs"] = {"shared": made_up(source, 3)}
    return schema


def suite(folder: Path) -> list[tuple[str, str, dict | bool]]:
    """Draft, place and schema of every case."""
    cases = []
    for draft in DRAFTS:
        for path in sorted([*(folder / draft).glob("*.json"), *(folder / draft / "optional/format").glob("*.json")]):
            cases += [(draft, f"{draft}/{path.name}: {case['description']}", case["schema"]) for case in json.loads(path.read_text(encoding="utf-8"))]
    return cases


def vocabulary(binary: Path, model: Path) -> int:
    result = subprocess.run([str(binary), str(model), "1", "1"], input=b"", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return int(re.search(r"trie of (\d+) tokens", result.stderr.decode())[1])


def ask(binary: Path, model: Path, threads: int, sequences: int, requests: list[dict]) -> list[dict]:
    lines = "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in requests)
    result = subprocess.run([str(binary), str(model), str(threads), str(sequences)], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in result.stdout.decode().splitlines()]


def cost(binary: Path, model: Path, threads: int) -> dict:
    """Masks per token over decoding per token, for each typical schema."""
    lines = []
    for name, (prompt, schema) in TYPICAL.items():
        # The first answer warms the caches of the model; constrained and free answers take turns.
        plain, constrained = {"prompt": prompt, "max_tokens": 96}, {"prompt": prompt, "max_tokens": 160, "schema": schema}
        answers = ask(binary, model, threads, 1, [plain, constrained, plain, constrained, plain])
        free = [answer["decode_seconds"] / (answer["tokens"] - 1) * 1e6 for answer in (answers[2], answers[4])]
        steps = sorted(step for answer in (answers[1], answers[3]) for step in answer["step_micros"])
        mean, decode = statistics.mean(steps), statistics.median(free)
        lines.append({"schema": name, "tokens": len(steps), "prepare_micros": answers[1]["prepare_micros"], "mean_micros": mean, "p50_micros": steps[len(steps) // 2],
                      "p95_micros": steps[int(len(steps) * 0.95)], "max_micros": steps[-1], "decode_micros": decode, "share": mean / decode})
        print(f"{name:>22}: {mean:7.1f} us per token (p50 {steps[len(steps) // 2]:.0f}, p95 {steps[int(len(steps) * 0.95)]:.0f}, most {steps[-1]:.0f}), "
              f"decoding {decode:.0f} us, share {100 * mean / decode:.2f} %", flush=True)
    return {"lines": lines, "share": statistics.mean(line["share"] for line in lines)}


def judge(binary: Path, model: Path, threads: int, what: str, cases: list[tuple[str, str, dict | bool]], most: int) -> dict:
    prompt = "Write an example as JSON."
    answers = ask(binary, model, threads, 16, [{"prompt": prompt, "max_tokens": most, "schema": schema} for _, _, schema in cases])
    found = {"schemas": len(cases), "refused": 0, "cut": 0, "valid": 0, "invalid": []}
    for (draft, place, schema), answer in zip(cases, answers, strict=True):
        if "error" in answer:
            found["refused"] += 1
        elif answer["finish_reason"] != "stop":
            found["cut"] += 1
        else:
            try:
                kind = DRAFTS[draft]
                kind(schema, format_checker=kind.FORMAT_CHECKER).validate(json.loads(answer["text"]))
                found["valid"] += 1
            except Exception as error:  # whatever it is, it is an answer that does not do
                found["invalid"].append(f"{place}: {answer['text']!r}: {str(error).splitlines()[0]}")
    print(f"{what}: {found['valid']} valid, {len(found['invalid'])} not, {found['cut']} cut, {found['refused']} schemas refused", flush=True)
    for line in found["invalid"]:
        print(f"  {line}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--no-validity", action="store_true")
    options = parser.parse_args()

    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "saem-engine", "--example", "constrain"], cwd=ROOT, check=True)
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/constrain"
    model = model_path(options.model)
    result = {"machine": machine(), "model": options.model, "threads": options.threads, "vocabulary": vocabulary(binary, model), "cost": cost(binary, model, options.threads)}
    print(f"share of decoding: {100 * result['cost']['share']:.2f} % on average")
    failed = result["cost"]["share"] > MOST_COST
    if not options.no_validity:
        folder = Path(subprocess.run([ROOT / "scripts/json-schema-suite"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip())
        result["suite"] = judge(binary, model, options.threads, "test suite", suite(folder), 240)
        source = random.Random(7)
        schemas = [("draft2020-12", f"schema {number}", closed({"value": made_up(source)})) for number in range(200)]
        # References start at the whole schema, so what is shared moves there.
        for _, _, schema in schemas:
            value = schema["properties"]["value"]
            if "$defs" in value:
                schema["$defs"] = value.pop("$defs")
        result["made_up"] = judge(binary, model, options.threads, "made-up schemas", schemas, 500)
        failed = failed or bool(result["suite"]["invalid"] or result["made_up"]["invalid"] or result["made_up"]["refused"])
    if options.save:
        print(save(f"constraint-{options.model}", result))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
