#!/usr/bin/env python3
"""Writes what `crates/train/tests` compares tuning with: Hugging Face's `peft` in float64 on the tiny checkpoints of
scripts/model-fixtures.py.

Every case gets `crates/train/tests/fixtures/tuning/<base>-<method>.safetensors` with
  <parameter>            its first value, under the name it has in Saem
  gradient.<parameter>   its gradient in the first step
  loss                   the mean loss over the targets of two texts, of which only the last TARGETS tokens are learnt
  losses                 the losses of STEPS steps of AdamW on the same batch
For `-classify` the two texts have labels, and the loss is that of the labels at their last tokens. For `-dpo` the two texts are a pair, of which the second was chosen, and the reference is the model without its adapter.

    pip install torch transformers peft safetensors
    python scripts/tuning-fixtures.py [case ...]
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "crates/model/tests/fixtures"
FIXTURES = ROOT / "crates/train/tests/fixtures/tuning"
FIRST_TEXT = 25
TARGETS = 6
BETA = 0.3
LABELS = [2, 0]
STEPS = 20
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
GATED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

CASES = {
    "llama-lora": LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=GATED),
    "gemma3-lora": LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"]),
    "qwen2-lora": LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=2, target_modules=GATED),
    # The last three of seven layers.
    "gemma3-lora-last": LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=GATED, layers_to_transform=[4, 5, 6]),
    "qwen2-dpo": LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules=GATED),
    "llama-dora": LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=GATED, use_dora=True),
    "qwen2-dora": LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules=GATED, use_dora=True),
    "gemma3-dora": LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "down_proj"], use_dora=True
    ),
    "qwen2-lora-classify": LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=4, target_modules=GATED),
    # The head alone: transformers without peft.
    "gemma2-head-classify": None,
    "llama-p-tuning": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=16),
    "granite-p-tuning": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=24),
    "gemma3-prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "llama-prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "gemma3-prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}


def sum_of(model, text):
    logits = model(torch.tensor([text])).logits[0]
    # Rows of a prompt stand before the text; those of a prefix have no logits.
    logits = logits[logits.shape[0] - TARGETS - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(text[-TARGETS:]), reduction="sum")


def loss_of(model, texts):
    return sum(sum_of(model, text) for text in texts) / (TARGETS * len(texts))


def label_of(model, texts):
    logits = torch.cat([model(torch.tensor([text])).logits for text in texts])
    return torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))


def preference_of(model, texts):
    with torch.no_grad(), model.disable_adapter():
        reference = [sum_of(model, text) for text in texts]
    chosen, rejected = [before - sum_of(model, text) for before, text in zip(reference, texts)]
    return -torch.nn.functional.logsigmoid(BETA * (chosen - rejected))


def named(model):
    """What is trained, under the names of Saem."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if name.endswith("score.modules_to_save.default.weight") or name == "score.weight":
                yield "score.weight", parameter
                continue
            name = name.replace(".default", "").removeprefix("prompt_encoder.")
            name = name.replace("magnitude_vector.weight", "magnitude_vector")
            if "lora" not in name and not name.startswith("mlp_head"):
                name = "embedding.weight" if has_encoder(model) else "prompt_embeddings"
            yield name, parameter


def has_encoder(model):
    return hasattr(model.prompt_encoder["default"], "mlp_head")


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for case, config in CASES.items():
        if sys.argv[1:] and case not in sys.argv[1:]:
            continue
        base = case.split("-")[0]
        tokens = json.loads((MODELS / base / "tokens.json").read_text())
        texts = [tokens[:FIRST_TEXT], tokens[FIRST_TEXT:]]
        if case.endswith("-dpo"):
            texts.reverse()
        torch.manual_seed(20210525)
        how = dict(dtype=torch.float64, attn_implementation="eager")
        if case.endswith("-classify"):
            how["num_labels"] = max(LABELS) + 1
            model = AutoModelForSequenceClassification.from_pretrained(MODELS / base, **how)
        else:
            model = AutoModelForCausalLM.from_pretrained(MODELS / base, **how)
        if config is None:
            model.requires_grad_(False)
            model.score.requires_grad_(True)
        else:
            model = get_peft_model(model, config)
        model = model.double().train()
        task = case.split("-")[-1]
        find_loss = {"dpo": preference_of, "classify": label_of}.get(task, loss_of)
        tensors = {}
        with torch.no_grad():
            for name, parameter in named(model):
                # Zeros would hide the gradients of the first matrices.
                if "lora_B" in name:
                    parameter.copy_(torch.randn(parameter.shape) * 0.2)
                parameter.copy_(parameter.float().double())
                tensors[name] = parameter.detach().float().clone()
        optimizer = torch.optim.AdamW([parameter for _, parameter in named(model)], **ADAMW)
        losses = []
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = find_loss(model, texts)
            loss.backward()
            if step == 0:
                tensors |= {f"gradient.{name}": p.grad.float().clone() for name, p in named(model)}
            losses.append(loss.item())
            optimizer.step()
        tensors["loss"] = torch.tensor(losses[:1])
        tensors["losses"] = torch.tensor(losses)
        save_file(tensors, FIXTURES / f"{case}.safetensors")
        print(case, len(tensors), losses[0], losses[-1], flush=True)


if __name__ == "__main__":
    main()
