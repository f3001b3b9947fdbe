#!/usr/bin/env python3
"""Writes the adapters that `crates/model/tests` and `crates/engine/tests` compare with Hugging Face's `peft`.

Every adapter gets a directory `crates/model/tests/fixtures/adapters/<base>-<name>/` with
  adapter_config.json, adapter_model.safetensors   a randomly drawn adapter as `peft` saves it (float32)
  expected.safetensors                             `logits` of one pass of the base with it over the base's prompt,
                                                   [virtual tokens + tokens, vocabulary] (float32); a prefix's tokens
                                                   have none; of one that tells labels apart its scores, [1, labels]
  config.json                                      of the latter: the classifier's, which names the labels
  adapter.gguf                                     where a test needs it: the same LoRA in llama.cpp's format, written by
                                                   its package `gguf`, query and key rows in the order of its files
The bases are the checkpoints that scripts/model-fixtures.py writes.

    pip install torch transformers peft gguf safetensors
    python scripts/adapter-fixtures.py [directory name ...]
"""

import json
import shutil
import sys
from pathlib import Path

import gguf
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

FIXTURES = Path(__file__).resolve().parent.parent / "crates/model/tests/fixtures"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
GATED = ["gate_proj", "up_proj", "down_proj"]


def lora(rank, alpha, modules, **more):
    return LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, target_modules=modules, lora_dropout=0.0, **more)


def prompt(rows):
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=rows)


def prefix(rows):
    return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=rows)


def labels(rank, modules):
    return LoraConfig(task_type="SEQ_CLS", r=rank, lora_alpha=8, target_modules=modules, lora_dropout=0.0)


ADAPTERS = {
    "llama-lora": lambda: lora(4, 8, ATTENTION + GATED),
    # Numbers of their own for some modules, and the root of the rank.
    "llama-rslora": lambda: lora(
        3,
        2,
        ["q_proj", "v_proj", "down_proj"],
        use_rslora=True,
        rank_pattern={"v_proj": 5},
        alpha_pattern={"layers.1.self_attn.q_proj": 5},
    ),
    "llama-dora": lambda: lora(3, 6, ATTENTION + GATED, use_dora=True),
    "qwen2-dora": lambda: lora(2, 4, ATTENTION + GATED, use_dora=True),
    "llama-prompt": lambda: prompt(5),
    "qwen2-lora": lambda: lora(2, 4, ATTENTION + GATED),
    # Experts cannot be changed.
    "qwen3_moe-lora": lambda: lora(4, 4, ATTENTION),
    "gemma3-lora": lambda: lora(4, 4, ["q_proj", "k_proj", "o_proj", "gate_proj"]),
    "gemma3-prompt": lambda: prompt(3),
    "exaone4-lora": lambda: lora(4, 4, ["v_proj", "o_proj", "up_proj", "down_proj"]),
    "starcoder2-lora": lambda: lora(4, 4, ["k_proj", "o_proj", "c_fc", "c_proj"]),
    "llama-prefix": lambda: prefix(4),
    "gemma3-prefix": lambda: prefix(3),
    "granite-ptuning": lambda: PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=16
    ),
    "llama-labels": lambda: labels(4, ["q_proj", "v_proj"]),
    # The head alone, of a base whose logits are multiplied or capped.
    "gemma3-labels": lambda: labels(1, "dummy-target-modules"),
}
LABELS = ["나쁨", "보통", "좋음"]
# Those that are written as GGUF, too.
AS_GGUF = ["llama-lora", "qwen2-lora"]
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def randomise(model, base):
    """Draws every trained parameter from a fixed seed, wide enough to change the logits a lot."""
    generator = torch.Generator().manual_seed(20210525)
    draw = lambda like: torch.randn(like.shape, generator=generator)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_A" in name:
                parameter.copy_(draw(parameter) / parameter.shape[1] ** 0.5)
            elif "lora_B" in name:
                parameter.copy_(0.4 * draw(parameter))
            elif "score.modules_to_save" in name:
                parameter.copy_(draw(parameter))
            elif "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.3 * draw(parameter))
            elif "prompt_encoder" in name:
                # Gemma's prompts stand beside rows that are multiplied by the root of the width.
                parameter.copy_(draw(parameter) * (5.0 if base == "gemma3" else 1.0))


def permuted(rows, heads):
    """Rows of a query or key matrix as llama.cpp's files of the Llama family hold them."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(directory, model):
    config, settings = model.config, model.peft_config["default"]
    writer = gguf.GGUFWriter(directory / "adapter.gguf", config.model_type)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings.lora_alpha))
    for name, tensor in load_file(directory / "adapter_model.safetensors").items():
        layer, module, half = name.removeprefix("base_model.model.model.layers.").removesuffix(".weight").split(".", 1) + [""]
        module, half = module.rsplit(".", 1)
        values = tensor.numpy()
        if config.model_type == "llama" and half == "lora_B" and module.endswith(("q_proj", "k_proj")):
            heads = config.num_attention_heads if module.endswith("q_proj") else config.num_key_value_heads
            values = permuted(values, heads)
        writer.add_tensor(f"blk.{layer}.{GGUF_NAMES[module]}.weight.{half.lower()}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write(name):
    base = name.rsplit("-", 1)[0]
    directory = FIXTURES / "adapters" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    settings = ADAPTERS[name]()
    is_head = settings.task_type == "SEQ_CLS"
    classes = {"id2label": dict(enumerate(LABELS)), "label2id": {label: row for row, label in enumerate(LABELS)}}
    kind = AutoModelForSequenceClassification if is_head else AutoModelForCausalLM
    model = kind.from_pretrained(FIXTURES / base, dtype=torch.float32, attn_implementation="eager", **(classes if is_head else {}))
    if is_head:
        model.config.save_pretrained(directory)
    model = get_peft_model(model, settings).eval()
    randomise(model, base)
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    settings = json.loads((directory / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = base
    (directory / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    tokens = torch.tensor([json.loads((FIXTURES / base / "tokens.json").read_text())])
    with torch.no_grad():
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        logits = (logits if is_head else logits[0]).float().contiguous()
    save_file({"logits": logits}, directory / "expected.safetensors")
    if name in AS_GGUF:
        write_gguf(directory, model)
    if is_head:
        return print(f"{name:18} {dict(zip(LABELS, logits[0].tolist()))}")
    plain = load_file(FIXTURES / base / "expected.safetensors")["logits"]
    change = (logits[-len(plain):] - plain).abs().mean() / plain.abs().mean()
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{name:18} {size / 1024:6.0f} KiB  logits {tuple(logits.shape)} change by {100 * change.item():.0f} %")


if __name__ == "__main__":
    for adapter in sys.argv[1:] or ADAPTERS:
        write(adapter)
