//! The packed layout: panels of 16 rows, groups of 32 columns.
//!
//! A panel holds 16 consecutive rows. Along the columns it is cut into groups of 32; a group's codes (the integers that
//! a quantised type stores) are ordered so that one 64-byte line carries four consecutive columns of all 16 rows:
//! byte `4 * row + i` of line `j` is column `4 * j + i`. That is the operand order of a four-way byte dot product
//! (`vpdpbusd`, `sdot`) and of an AMX tile, so a line feeds 16 outputs without any horizontal addition. Narrower vectors
//! read a part of each line; the layout is the same for every processor.
//!
//! Codes narrower than a byte are split into planes (a nibble plane, a two-bit plane, a one-bit plane), each packed so
//! that one shift and one mask bring a whole line back:
//!
//! | bits | planes |
//! |---|---|
//! | 2 | two lines of four two-bit fields: field `j % 4` of line `j / 4` is code line `j` |
//! | 3 | as 2, then one line of single bits: bit `j` is the high bit of code line `j` |
//! | 4 | four lines: low nibbles are code lines 0-3, high nibbles code lines 4-7 |
//! | 5 | as 4, then one line of single bits |
//! | 6 | as 4, then two lines of two-bit fields (the high bits) |
//! | 8 | eight lines |
//!
//! Codes are unsigned; a type whose values are centred on zero subtracts [`Layout::zero`] from them, which the kernels
//! do once a group through the sum of the inputs. All codes of a panel come first, then all its scales.

use crate::DataType;

/// Rows in a panel.
pub(crate) const PANEL_ROWS: usize = 16;
/// Columns in a group.
pub(crate) const GROUP: usize = 32;
/// Groups in a block of the 256-column types.
pub(crate) const SUPER_GROUPS: usize = 8;
/// Bytes in a line: one code byte for four columns of each row.
pub(crate) const LINE: usize = 64;
/// Lines of expanded codes in a group.
pub(crate) const GROUP_LINES: usize = GROUP / 4;

/// How the scales of a type are stored in a panel; each array has an entry for each of the 16 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScaleKind {
    /// Per group: `scale: f16`.
    Group,
    /// Per group: `scale: f16`, `minimum: f16` (added).
    GroupMinimum,
    /// Per 8 groups: `scale: f16`, `minimum: f16`; then per group `scale: u8`, `minimum: u8` (subtracted).
    SuperMinimum,
    /// Per 8 groups: `scale: f16`; then per group `scale: i8`.
    Super,
    /// Per 8 groups: `scale: f16`; then per half group `scale: i8`.
    SuperHalves,
    /// Per 8 groups: `scale: f16`, `minimum: f16`; then per half group one byte: low nibble scale, high nibble minimum.
    SuperHalvesMinimum,
}

/// The packed form of a quantised type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bits of a code.
    pub(crate) bits: usize,
    /// Code that stands for the value 0.
    pub(crate) zero: i32,
    /// Where the scales are.
    pub(crate) scales: ScaleKind,
}

impl Layout {
    /// The layout of a quantised type; `None` for floats.
    pub(crate) const fn of(data_type: DataType) -> Option<Self> {
        use ScaleKind::{Group, GroupMinimum, Super, SuperHalves, SuperHalvesMinimum, SuperMinimum};
        let (bits, zero, scales) = match data_type {
            DataType::F32 | DataType::F16 | DataType::Bf16 => return None,
            DataType::Q4_0 => (4, 8, Group),
            DataType::Q4_1 => (4, 0, GroupMinimum),
            DataType::Q5_0 => (5, 16, Group),
            DataType::Q5_1 => (5, 0, GroupMinimum),
            DataType::Q8_0 => (8, 128, Group),
            DataType::Q2K => (2, 0, SuperHalvesMinimum),
            DataType::Q3K => (3, 4, SuperHalves),
            DataType::Q4K => (4, 0, SuperMinimum),
            DataType::Q5K => (5, 0, SuperMinimum),
            DataType::Q6K => (6, 32, SuperHalves),
            // The 16 values of the IQ4 table are looked up and shifted by 128 to be unsigned.
            DataType::Iq4Nl => (4, 128, Group),
            DataType::Iq4Xs => (4, 128, Super),
        };
        Some(Self { bits, zero, scales })
    }

    /// Bytes of one group's codes in a panel.
    pub(crate) const fn group_code_bytes(&self) -> usize {
        self.bits * LINE
    }

    /// Bytes of the scales of `groups` groups in a panel.
    pub(crate) const fn scale_bytes(&self, groups: usize) -> usize {
        let supers = groups.div_ceil(SUPER_GROUPS);
        PANEL_ROWS
            * match self.scales {
                ScaleKind::Group => 2 * groups,
                ScaleKind::GroupMinimum => 4 * groups,
                ScaleKind::SuperMinimum | ScaleKind::SuperHalvesMinimum => supers * (4 + 2 * SUPER_GROUPS),
                ScaleKind::Super => supers * (2 + SUPER_GROUPS),
                ScaleKind::SuperHalves => supers * (2 + 2 * SUPER_GROUPS),
            }
    }

    /// Bytes of a panel of `groups` groups, a whole number of lines.
    pub(crate) const fn panel_bytes(&self, groups: usize) -> usize {
        (groups * self.group_code_bytes() + self.scale_bytes(groups)).next_multiple_of(LINE)
    }
}
