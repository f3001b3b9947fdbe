#!/usr/bin/env python3
"""Writes the Parquet files that `crates/train/tests` reads: the same rows as Apache Arrow writes them with each codec, in
old pages and new ones, with a dictionary and without.

    pip install pyarrow
    python scripts/parquet-fixtures.py
"""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIXTURES = Path(__file__).resolve().parent.parent / "crates/train/tests/fixtures/parquet"
WRITTEN = {
    "plain": dict(compression="none", use_dictionary=False),
    "snappy": dict(compression="snappy", data_page_version="1.0"),
    "zstd": dict(compression="zstd", data_page_version="2.0", row_group_size=7),
    # A codec that Saem does not read.
    "brotli": dict(compression="brotli"),
}


def row(index):
    good = index % 2 == 1
    text = f"{'good' if good else 'bad'} {index}, \"샘\"\n끝"
    return {
        "text": None if index == 5 else text,
        "label": index % 2,
        "score": index / 10,
        "day": date(2021, 5, 25),
        "price": Decimal("12.50"),
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "good" if good else "bad"}],
    }


TYPES = pa.schema(
    [
        ("text", pa.string()),
        ("label", pa.int64()),
        ("score", pa.float32()),
        ("day", pa.date32()),
        ("price", pa.decimal128(6, 2)),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)

if __name__ == "__main__":
    FIXTURES.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([row(index) for index in range(24)], schema=TYPES)
    for name, how in WRITTEN.items():
        pq.write_table(table, FIXTURES / f"{name}.parquet", store_schema=False, **how)
