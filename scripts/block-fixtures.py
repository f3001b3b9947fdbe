#!/usr/bin/env python3
"""Makes the fixtures of crates/kernels/tests/it/blocks.rs with GGML itself as the reference.

    python scripts/block-fixtures.py path/to/libggml-base.so

The library is part of any GGML or llama.cpp build and of the `llama-cpp-python` wheel
(`site-packages/llama_cpp/lib/`). Where the `gguf` package is installed, its numpy implementation must agree as well.
Files written (little-endian, no headers), for each data type T:

    T.blocks      random and extreme blocks
    T.f32         the same expanded by GGML (dequantize_row_T)
    T.quantized   values.f32 compressed by GGML (quantize_row_T_ref); legacy types and floats only
    values.f32    random and extreme input of 32-element blocks for the line above
    gaussian.f16, heavy.f16, tiny.f16, offset.f16   input for the quality of the searching quantisers
    rmse.txt      `type data error`: root mean square error of GGML's quantize_row_T_ref on them
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parent.parent / "crates/kernels/tests/fixtures/blocks"

# name: (GGML's name, elements and bytes of a block, byte offsets of f16 numbers in it)
TYPES = {
    "f16": ("fp16", 1, 2, []),
    "bf16": ("bf16", 1, 2, []),
    "q4_0": ("q4_0", 32, 18, [0]),
    "q4_1": ("q4_1", 32, 20, [0, 2]),
    "q5_0": ("q5_0", 32, 22, [0]),
    "q5_1": ("q5_1", 32, 24, [0, 2]),
    "q8_0": ("q8_0", 32, 34, [0]),
    "q2_k": ("q2_K", 256, 84, [80, 82]),
    "q3_k": ("q3_K", 256, 110, [108]),
    "q4_k": ("q4_K", 256, 144, [0, 2]),
    "q5_k": ("q5_K", 256, 176, [0, 2]),
    "q6_k": ("q6_K", 256, 210, [208]),
    "iq4_nl": ("iq4_nl", 32, 18, [0]),
    "iq4_xs": ("iq4_xs", 256, 136, [0]),
}
LEGACY = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]
SEARCHED = ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs"]
# zeros, subnormal numbers, the border to normal ones, one, the largest, infinity
EXTREME_F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00]


class Ggml:
    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))

    def call(self, function, source, out):
        getattr(self.library, function)(
            source.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(self.elements)
        )
        return out

    def expand(self, name, blocks):
        ggml, elements, size, _ = TYPES[name]
        self.elements = blocks.size // size * elements
        function = f"ggml_{ggml}_to_fp32_row" if elements == 1 else f"dequantize_row_{ggml}"
        return self.call(function, np.ascontiguousarray(blocks), np.empty(self.elements, np.float32))

    def compress(self, name, values):
        ggml, elements, size, _ = TYPES[name]
        self.elements = values.size
        function = {"f16": "ggml_fp32_to_fp16_row", "bf16": "ggml_fp32_to_bf16_row_ref"}.get(
            name, f"quantize_row_{ggml}_ref"
        )
        out = np.zeros(values.size // elements * size, np.uint8)
        return self.call(function, np.ascontiguousarray(values), out)


def sample_blocks(rng, name):
    """Random bytes with sane scales, then every pair of extreme scales with extreme codes."""
    _, elements, size, scales = TYPES[name]
    if elements == 1:
        return np.arange(0, 1 << 16, 37 if name == "f16" else 41, dtype=np.uint16).view(np.uint8)
    count = 24 if elements == 32 else 4
    blocks = rng.integers(0, 256, (count + len(EXTREME_F16), size), dtype=np.uint8)
    blocks[-1] = 0xFF
    blocks[-2] = 0x00
    for index, block in enumerate(blocks):
        for position, at in enumerate(scales):
            number = np.float16(rng.normal(0, 0.1) if index % 2 else rng.normal(0, 100)).view(np.uint16)
            if index >= count:
                number = np.uint16(EXTREME_F16[(index - count + 3 * position) % len(EXTREME_F16)])
            block[at : at + 2] = np.array([number]).view(np.uint8)
    return blocks.reshape(-1)


def sample_values(rng):
    """Blocks of 32 that the legacy quantisers must compress to the bit."""
    rows = [
        np.zeros(32),
        np.full(32, -0.0),
        np.where(np.arange(32) % 3 == 0, 0.0, -0.0),
        np.full(32, 1.0),
        np.full(32, -0.25),
        np.arange(32) - 16.0,
        np.arange(32) / 31.0,
        (np.arange(32) % 16) + 0.5,
        np.eye(1, 32, 7)[0] * -3.0,
        np.where(np.arange(32) == 20, 1000.0, 0.001),
        np.where(np.arange(32) % 2 == 0, 127.0, -127.0) - np.arange(32) * 3.5,
        np.where(np.arange(32) % 2 == 0, 2.0, -2.0),  # the largest magnitude with both signs
        np.abs(rng.normal(0, 1, 32)) + 10.0,
        rng.normal(0, 1e-4, 32),
        rng.normal(0, 1e-6, 32),  # scales are subnormal in f16
        rng.normal(0, 1e-8, 32),  # scales vanish in f16
        rng.normal(0, 1e-36, 32),
        rng.normal(0, 1e5, 32).clip(-6e4, 6e4),
        rng.normal(0, 1e4, 32),
    ]
    rows += [rng.normal(0, 10.0 ** rng.uniform(-3, 1), 32) for _ in range(16)]
    rows += [rng.standard_t(2, 32) for _ in range(8)]
    rows += [rng.integers(-8, 8, 32) / 8.0 + 1 / 16 for _ in range(5)]  # ties
    return np.concatenate(rows).astype(np.float32)


def check_with_gguf(name, blocks, expanded):
    try:
        import gguf
    except ImportError:
        return
    kind = gguf.GGMLQuantizationType[name.upper()]
    with np.errstate(all="ignore"):
        other = gguf.quants.dequantize(blocks, kind).reshape(-1).astype(np.float32)
    # Signs of zero are the one difference: numpy subtracts in another order for some types.
    finite = np.isfinite(expanded)
    assert np.array_equal(other[finite], expanded[finite]), f"gguf and ggml disagree on {name}"


def main():
    ggml = Ggml(sys.argv[1])
    rng = np.random.default_rng(20211125)
    OUT.mkdir(parents=True, exist_ok=True)
    for name in TYPES:
        blocks = sample_blocks(rng, name)
        expanded = ggml.expand(name, blocks)
        check_with_gguf(name, blocks, expanded)
        (OUT / f"{name}.blocks").write_bytes(blocks.tobytes())
        (OUT / f"{name}.f32").write_bytes(expanded.tobytes())
    values = sample_values(rng)
    (OUT / "values.f32").write_bytes(values.tobytes())
    for name in LEGACY + ["f16", "bf16"]:
        (OUT / f"{name}.quantized").write_bytes(ggml.compress(name, values).tobytes())

    elements = 8192
    scales = np.repeat(np.exp(rng.normal(0, 0.5, elements // 256)), 256)
    data = {
        "gaussian": rng.normal(0, 0.02, elements),
        # Weights of real layers: rows of different spread, a few outliers.
        "heavy": rng.standard_t(3, elements) * 0.01 * scales,
        # The factors of scales are subnormal f16 numbers.
        "tiny": rng.normal(0, 3e-4, elements),
        # No negative value: the types with minimums cannot use them, those with signed scales lose one bit.
        "offset": np.abs(rng.normal(0.5, 0.2, elements)),
    }
    lines = []
    for label, numbers in data.items():
        numbers = numbers.astype(np.float16)
        (OUT / f"{label}.f16").write_bytes(numbers.tobytes())
        numbers = numbers.astype(np.float32)
        for name in SEARCHED:
            back = ggml.expand(name, ggml.compress(name, numbers)).astype(np.float64)
            lines.append(f"{name} {label} {np.sqrt(np.mean((back - numbers) ** 2)):.6e}\n")
    (OUT / "rmse.txt").write_text("".join(lines))
    print("".join(lines), end="")
    print(sum(path.stat().st_size for path in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
