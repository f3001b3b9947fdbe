//! Stored blocks to panels, and one packed row back to f32.
//!
//! Codes move four at a time: a `u32` holds the codes of four consecutive columns of one row, which is one row's share
//! of a line, so packing is a matter of word-wide masks, shifts and strided stores.

use super::layout::{GROUP, GROUP_LINES, LINE, Layout, PANEL_ROWS, SUPER_GROUPS, ScaleKind};
use crate::DataType;
use crate::blocks::{IQ4_VALUES, unpack_q3_k_scales, unpack_q4_k_scales};

const NIBBLES: u32 = 0x0f0f_0f0f;
const CRUMBS: u32 = 0x0303_0303;
const BITS: u32 = 0x0101_0101;

/// The codes of one group of one row: word `j` holds columns `4 j .. 4 j + 4`.
type Quads = [u32; GROUP_LINES];

fn word(bytes: &[u8], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Two nibbles a byte, low nibbles first: the order of the 32-column types.
fn nibble_quads(bytes: &[u8]) -> Quads {
    std::array::from_fn(|j| (word(bytes, j % 4) >> (4 * (j / 4))) & NIBBLES)
}

/// The codes of `group` (0 for 32-column types, 0-7 for 256-column types) of a stored block.
fn stored_quads(data_type: DataType, block: &[u8], group: usize) -> Quads {
    match data_type {
        DataType::Q4_0 | DataType::Iq4Nl => nibble_quads(&block[2..18]),
        DataType::Q4_1 => nibble_quads(&block[4..20]),
        DataType::Q5_0 | DataType::Q5_1 => {
            let at = if data_type == DataType::Q5_0 { 2 } else { 4 };
            let high = word(&block[at..], 0);
            let low = nibble_quads(&block[at + 4..at + 20]);
            // Four bits spread to the low bits of four bytes by one multiplication.
            std::array::from_fn(|j| low[j] | (((((high >> (4 * j)) & 15) * 0x0020_4081) & BITS) << 4))
        }
        DataType::Q8_0 => std::array::from_fn(|j| word(&block[2..34], j) ^ 0x8080_8080),
        DataType::Q2K => {
            let low = &block[16 + 32 * (group / 4)..][..32];
            std::array::from_fn(|j| (word(low, j) >> (2 * (group % 4))) & CRUMBS)
        }
        DataType::Q3K => {
            let (high, low) = (&block[..32], &block[32 + 32 * (group / 4)..][..32]);
            std::array::from_fn(|j| {
                ((word(low, j) >> (2 * (group % 4))) & CRUMBS) | (((word(high, j) >> group) & BITS) << 2)
            })
        }
        DataType::Q4K => {
            let low = &block[16 + 32 * (group / 2)..][..32];
            std::array::from_fn(|j| (word(low, j) >> (4 * (group % 2))) & NIBBLES)
        }
        DataType::Q5K => {
            let (high, low) = (&block[16..48], &block[48 + 32 * (group / 2)..][..32]);
            std::array::from_fn(|j| {
                ((word(low, j) >> (4 * (group % 2))) & NIBBLES) | (((word(high, j) >> group) & BITS) << 4)
            })
        }
        DataType::Q6K => {
            let (half, quarter) = (group / 4, group % 4);
            let low = &block[64 * half + 32 * (quarter % 2)..][..32];
            let high = &block[128 + 32 * half..][..32];
            std::array::from_fn(|j| {
                ((word(low, j) >> (4 * (quarter / 2))) & NIBBLES) | (((word(high, j) >> (2 * quarter)) & CRUMBS) << 4)
            })
        }
        DataType::Iq4Xs => nibble_quads(&block[8 + 16 * group..][..16]),
        DataType::F32 | DataType::F16 | DataType::Bf16 => [0; GROUP_LINES],
    }
}

/// Writes one row's codes of one group into the group's lines.
fn write_quads(bits: usize, quads: &Quads, lines: &mut [u8], row: usize) {
    let mut put = |line: usize, value: u32| {
        let at = line * LINE + 4 * row;
        lines[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    let crumbs = |half: usize, shift: usize| {
        (0..4).fold(0, |line, field| line | (((quads[4 * half + field] >> shift) & CRUMBS) << (2 * field)))
    };
    let single = |shift: usize| (0..GROUP_LINES).fold(0, |line, j| line | (((quads[j] >> shift) & BITS) << j));
    match bits {
        2 | 3 => {
            put(0, crumbs(0, 0));
            put(1, crumbs(1, 0));
            if bits == 3 {
                put(2, single(2));
            }
        }
        8 => quads.iter().enumerate().for_each(|(j, &quad)| put(j, quad)),
        _ => {
            for j in 0..4 {
                put(j, (quads[j] & NIBBLES) | ((quads[j + 4] & NIBBLES) << 4));
            }
            if bits == 5 {
                put(4, single(4));
            } else if bits == 6 {
                put(4, crumbs(0, 4));
                put(5, crumbs(1, 4));
            }
        }
    }
}

/// The inverse of [`write_quads`].
fn read_quads(bits: usize, lines: &[u8], row: usize) -> Quads {
    let get = |line: usize| word(&lines[line * LINE + 4 * row..], 0);
    let crumb = |first: usize, j: usize| (get(first + j / 4) >> (2 * (j % 4))) & CRUMBS;
    std::array::from_fn(|j| match bits {
        2 => crumb(0, j),
        3 => crumb(0, j) | (((get(2) >> j) & BITS) << 2),
        8 => get(j),
        _ => {
            let low = (get(j % 4) >> (4 * (j / 4))) & NIBBLES;
            match bits {
                5 => low | (((get(4) >> j) & BITS) << 4),
                6 => low | (crumb(4, j) << 4),
                _ => low,
            }
        }
    })
}

/// Copies one block's scales of one row to the panel's scales.
fn write_scales(data_type: DataType, block: &[u8], block_index: usize, scales: &mut [u8], row: usize) {
    let mut half = |at: usize, bytes: &[u8]| scales[at + 2 * row..at + 2 * row + 2].copy_from_slice(&bytes[..2]);
    match data_type {
        DataType::Q4_0 | DataType::Q5_0 | DataType::Q8_0 | DataType::Iq4Nl => half(block_index * 32, block),
        DataType::Q4_1 | DataType::Q5_1 => {
            half(block_index * 64, block);
            half(block_index * 64 + 32, &block[2..]);
        }
        DataType::Q4K | DataType::Q5K => {
            let at = block_index * 320;
            half(at, block);
            half(at + 32, &block[2..]);
            let mut packed = [0; 12];
            packed.copy_from_slice(&block[4..16]);
            let (scale, minimum) = unpack_q4_k_scales(&packed);
            for group in 0..SUPER_GROUPS {
                scales[at + 64 + 32 * group + row] = scale[group];
                scales[at + 64 + 32 * group + 16 + row] = minimum[group];
            }
        }
        DataType::Q2K => {
            let at = block_index * 320;
            half(at, &block[80..]);
            half(at + 32, &block[82..]);
            for sub in 0..16 {
                scales[at + 64 + 16 * sub + row] = block[sub];
            }
        }
        DataType::Q3K => {
            let at = block_index * 288;
            half(at, &block[108..]);
            let mut packed = [0; 12];
            packed.copy_from_slice(&block[96..108]);
            for (sub, scale) in unpack_q3_k_scales(&packed).into_iter().enumerate() {
                scales[at + 32 + 16 * sub + row] = scale as u8;
            }
        }
        DataType::Q6K => {
            let at = block_index * 288;
            half(at, &block[208..]);
            for sub in 0..16 {
                scales[at + 32 + 16 * sub + row] = block[192 + sub];
            }
        }
        DataType::Iq4Xs => {
            let at = block_index * 160;
            half(at, block);
            let high = u16::from_le_bytes([block[2], block[3]]);
            for group in 0..SUPER_GROUPS {
                let low = (block[4 + group / 2] >> (4 * (group % 2))) & 15;
                let scale = low | ((((high >> (2 * group)) & 3) as u8) << 4);
                scales[at + 32 + 16 * group + row] = scale.wrapping_sub(32);
            }
        }
        DataType::F32 | DataType::F16 | DataType::Bf16 => {}
    }
}

/// Packs up to 16 stored rows (`row_bytes` each) into `panel`, which must be zero: absent rows stay zero.
pub(super) fn pack_panel(data_type: DataType, layout: &Layout, stored: &[u8], row_bytes: usize, panel: &mut [u8]) {
    let block_bytes = data_type.block_bytes();
    let groups_per_block = data_type.block_len() / GROUP;
    let groups = row_bytes / block_bytes * groups_per_block;
    let code_bytes = layout.group_code_bytes();
    let (codes, scales) = panel.split_at_mut(groups * code_bytes);
    for (row, stored) in stored.chunks_exact(row_bytes).enumerate() {
        for (index, block) in stored.chunks_exact(block_bytes).enumerate() {
            for group in 0..groups_per_block {
                let quads = stored_quads(data_type, block, group);
                let at = (index * groups_per_block + group) * code_bytes;
                write_quads(layout.bits, &quads, &mut codes[at..at + code_bytes], row);
            }
            write_scales(data_type, block, index, scales, row);
        }
    }
}

fn half_at(scales: &[u8], at: usize, row: usize) -> f32 {
    half::f16::from_le_bytes([scales[at + 2 * row], scales[at + 2 * row + 1]]).to_f32()
}

/// Scale and minimum (to add) of both halves of a group of one row.
fn read_scales(kind: ScaleKind, scales: &[u8], group: usize, row: usize) -> [(f32, f32); 2] {
    let (outer, inner) = (group / SUPER_GROUPS, group % SUPER_GROUPS);
    match kind {
        ScaleKind::Group => [(half_at(scales, group * 32, row), 0.0); 2],
        ScaleKind::GroupMinimum => [(half_at(scales, group * 64, row), half_at(scales, group * 64 + 32, row)); 2],
        ScaleKind::SuperMinimum => {
            let at = outer * 320;
            let byte = |which: usize| f32::from(scales[at + 64 + 32 * inner + 16 * which + row]);
            [(half_at(scales, at, row) * byte(0), -half_at(scales, at + 32, row) * byte(1)); 2]
        }
        ScaleKind::Super => {
            let at = outer * 160;
            [(half_at(scales, at, row) * f32::from(scales[at + 32 + 16 * inner + row] as i8), 0.0); 2]
        }
        ScaleKind::SuperHalves => {
            let at = outer * 288;
            let byte = |which: usize| f32::from(scales[at + 32 + 16 * (2 * inner + which) + row] as i8);
            [0, 1].map(|which| (half_at(scales, at, row) * byte(which), 0.0))
        }
        ScaleKind::SuperHalvesMinimum => {
            let at = outer * 320;
            let byte = |which: usize| scales[at + 64 + 16 * (2 * inner + which) + row];
            [0, 1].map(|which| {
                let packed = byte(which);
                (
                    half_at(scales, at, row) * f32::from(packed & 15),
                    -half_at(scales, at + 32, row) * f32::from(packed >> 4),
                )
            })
        }
    }
}

/// Expands row `row` (0-15) of a panel to f32: the slow twin of the kernels' own expansion.
pub(super) fn read_row(data_type: DataType, layout: &Layout, panel: &[u8], row: usize, out: &mut [f32]) {
    let groups = out.len() / GROUP;
    let code_bytes = layout.group_code_bytes();
    let (codes, scales) = panel.split_at(groups * code_bytes);
    let table = matches!(data_type, DataType::Iq4Nl | DataType::Iq4Xs);
    for (group, out) in out.chunks_exact_mut(GROUP).enumerate() {
        let quads = read_quads(layout.bits, &codes[group * code_bytes..][..code_bytes], row);
        let halves = read_scales(layout.scales, scales, group, row);
        for (column, out) in out.iter_mut().enumerate() {
            let code = (quads[column / 4] >> (8 * (column % 4))) as u8;
            let value = if table { i32::from(IQ4_VALUES[code as usize & 15]) } else { i32::from(code) - layout.zero };
            let (scale, minimum) = halves[column / (GROUP / 2)];
            *out = scale * value as f32 + minimum;
        }
    }
}

/// Packs up to 16 stored rows of floats into `[columns, 16]`; element `size` 2 or 4 bytes.
pub(super) fn pack_float_panel(size: usize, stored: &[u8], row_bytes: usize, panel: &mut [u8]) {
    for (row, stored) in stored.chunks_exact(row_bytes).enumerate() {
        for (column, element) in stored.chunks_exact(size).enumerate() {
            let at = (column * PANEL_ROWS + row) * size;
            panel[at..at + size].copy_from_slice(element);
        }
    }
}

/// Expands row `row` (0-15) of a float panel.
pub(super) fn read_float_row(data_type: DataType, panel: &[u8], row: usize, out: &mut [f32]) {
    let size = data_type.block_bytes();
    for (column, out) in out.iter_mut().enumerate() {
        let element = &panel[(column * PANEL_ROWS + row) * size..][..size];
        // The sizes agree by construction, so this cannot fail.
        let _ = crate::blocks::dequantize(data_type, element, std::slice::from_mut(out));
    }
}
