#!/usr/bin/env python3
"""Writes the gradients that `crates/train/tests` compares its own with, computed by PyTorch in float64 on the tiny checkpoints of
scripts/model-fixtures.py.

Every dense family gets `crates/train/tests/fixtures/<name>.safetensors` with
  loss            the mean loss over the targets of two texts, which do not see each other
  <parameter>     its gradient, rounded to float32
and for the families of TRAJECTORIES
  losses          the losses of 50 steps of AdamW on the same batch

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
TRAJECTORIES = ("llama", "gemma3")


def loss_of(model, texts):
    total, count = 0.0, 0
    for text in texts:
        logits = model(torch.tensor([text])).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(text[1:]), reduction="sum")
        count += len(text) - 1
    return total / count


def load(name):
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float64, attn_implementation="eager")
    # PyTorch leaves the padding token's row out of gradients; here it is a token like any other.
    model.get_input_embeddings().padding_idx = None
    return model.train()


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or sorted(path.parent.name for path in MODELS.glob("*/config.json")):
        config = json.loads((MODELS / name / "config.json").read_text())
        # Experts cannot be trained yet, and transformers has no class for EXAONE 3.5.
        if config["model_type"].endswith("moe") or config["model_type"] == "exaone":
            continue
        tokens = json.loads((MODELS / name / "tokens.json").read_text())
        texts = [tokens[:FIRST_TEXT], tokens[FIRST_TEXT:]]
        model = load(name)
        loss = loss_of(model, texts)
        loss.backward()
        tensors = {key: value.grad.float().contiguous() for key, value in model.named_parameters()}
        tensors["loss"] = loss.detach().float().reshape(1)
        if name in TRAJECTORIES:
            model, losses = load(name), []
            optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss = loss_of(model, texts)
                loss.backward()
                losses.append(loss.item())
                optimizer.step()
            tensors["losses"] = torch.tensor(losses)
        save_file(tensors, FIXTURES / f"{name}.safetensors")
        print(name, len(tensors), float(tensors["loss"]), flush=True)


if __name__ == "__main__":
    main()
