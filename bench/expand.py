#!/usr/bin/env python3
"""Expands every tensor of a GGUF file to f32 by the reference implementation (the `gguf` package), not by Saem.

With f32 weights an engine keeps its activations in f32 too, so that what it computes is the model itself, up to rounding: the truth that
parity.py measures both engines against.

    expand.py model.gguf f32.gguf
"""

import sys

import gguf
import numpy


def expand(source: str, target: str) -> None:
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if array else None)
    for tensor in reader.tensors:
        writer.add_tensor_info(tensor.name, [int(size) for size in reversed(tensor.shape)], numpy.dtype(numpy.float32),
                               int(tensor.n_elements) * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:  # one tensor in memory at a time
        writer.write_tensor_data(gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32))
    writer.close()


if __name__ == "__main__":
    expand(sys.argv[1], sys.argv[2])
