#!/usr/bin/env python3
"""Writes the gradients that `crates/train/tests` compares its own with, computed by PyTorch in float64 on the tiny checkpoints of
scripts/model-fixtures.py.

Every family gets `crates/train/tests/fixtures/<name>.safetensors` with
  loss            the mean loss over the targets of two texts, which do not see each other
  <parameter>     its gradient, rounded to float32; where there are experts, that of the loss and BALANCE times the loss for
                  their uneven use (Fedus et al. 2021, section 2.2), the mean over layers with experts
and, where there are no experts,
  losses          the losses of 50 steps of AdamW on the same batch
Those of LONG also get `<name>-long.safetensors`: the same of texts of 200 and 100 tokens, which are longer than windows and than what kernels take at a
time, with Z times the mean square of the logarithm of each softmax's sum in the loss.

    pip install torch transformers safetensors
    python scripts/gradient-fixtures.py [name ...]
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "crates/model/tests/fixtures"
FIXTURES = ROOT / "crates/train/tests/fixtures"
FIRST_TEXT = 25
STEPS = 50
ADAMW = dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
BALANCE = 0.5
LONG = ("llama", "mistral", "gemma2", "exaone4", "qwen3_moe")
LENGTHS = (200, 100)
Z = 0.01


def loss_of(model, texts):
    """The mean loss, and the mean square of the logarithms of the softmax's sums."""
    total, squares, count = 0.0, 0.0, 0
    for text in texts:
        logits = model(torch.tensor([text])).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(text[1:]), reduction="sum")
        squares = squares + logits.logsumexp(-1).square().sum()
        count += len(text) - 1
    return total / count, squares / count


def long_texts(tokens):
    """Tokens of a short text in an order that does not repeat, as the test has them."""
    texts, start = [], 0
    for length in LENGTHS:
        texts.append([tokens[(place * place + place // 40) % len(tokens)] for place in range(start, start + length)])
        start += length
    return texts


def imbalance(config, inputs):
    """The mean over routers of: experts x sum of (share of choices that fell on an expert) x (mean score of the expert)."""
    losses = []
    for router, rows in inputs.items():
        logits = torch.cat(rows) @ router.weight.T
        if config["model_type"] == "qwen3_moe":
            scores = choices = logits.softmax(-1)
            groups = 1
        else:
            scores = logits.sigmoid()
            choices, groups = scores + router.e_score_correction_bias, config["n_group"]
            best = choices.reshape(len(choices), groups, -1).topk(2, dim=-1).values.sum(-1).topk(config["topk_group"], dim=-1).indices
            kept = torch.zeros(len(choices), groups, dtype=torch.bool).scatter(1, best, True).repeat_interleave(choices.shape[1] // groups, 1)
            choices, scores = choices.masked_fill(~kept, -1e9), scores / scores.sum(-1, keepdim=True)
        chosen = choices.topk(config["num_experts_per_tok"], dim=-1).indices
        share = torch.nn.functional.one_hot(chosen, scores.shape[1]).double().mean((0, 1))
        losses.append(scores.shape[1] * (share * scores.mean(0)).sum())
    return sum(losses) / len(losses)


def by_expert(gradients):
    """transformers has all experts in one tensor, gate above up; checkpoints have one tensor for each."""
    for name, gradient in gradients.items():
        module, _, part = name.rpartition(".")
        if not module.endswith(".experts"):
            yield name, gradient
            continue
        for number, expert in enumerate(gradient):
            parts = zip(("gate_proj", "up_proj"), expert.chunk(2)) if part == "gate_up_proj" else [("down_proj", expert)]
            yield from ((f"{module}.{number}.{half}.weight", values) for half, values in parts)


def load(name):
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager")
    # PyTorch leaves the padding token's row out of gradients; here it is a token like any other.
    model.get_input_embeddings().padding_idx = None
    return model.train()


def gradients(config, name, texts, z):
    """The loss, and every gradient."""
    model = load(name)
    inputs = {}
    for key, module in model.named_modules():
        if key.endswith("mlp.gate"):
            inputs[module] = rows = []
            module.register_forward_pre_hook(lambda _, args, rows=rows: rows.append(args[0].reshape(-1, args[0].shape[-1])))
    loss, squares = loss_of(model, texts)
    whole = loss + z * squares
    (whole + BALANCE * imbalance(config, inputs) if inputs else whole).backward()
    tensors = {key: value.contiguous() for key, value in by_expert({key: value.grad.float() for key, value in model.named_parameters()})}
    return {**tensors, "loss": whole.detach().float().reshape(1)}


def trajectory(name, texts):
    model, losses = load(name), []
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss, _ = loss_of(model, texts)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return torch.tensor(losses)


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or sorted(path.parent.name for path in MODELS.glob("*/config.json")):
        config = json.loads((MODELS / name / "config.json").read_text())
        # transformers has no class for EXAONE 3.5.
        if config["model_type"] == "exaone":
            continue
        tokens = json.loads((MODELS / name / "tokens.json").read_text())
        texts = [tokens[:FIRST_TEXT], tokens[FIRST_TEXT:]]
        tensors = gradients(config, name, texts, 0.0)
        if "num_experts" not in config:
            tensors["losses"] = trajectory(name, texts)
        if name in LONG:
            save_file(gradients(config, name, long_texts(tokens), Z), FIXTURES / f"{name}-long.safetensors")
        save_file(tensors, FIXTURES / f"{name}.safetensors")
        print(name, len(tensors), float(tensors["loss"]), flush=True)


if __name__ == "__main__":
    main()
