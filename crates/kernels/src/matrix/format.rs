//! Reading a group of a panel: codes as bytes, scales and minimums as f32, for each stored type.

use super::dot::Dot;
use super::layout::{GROUP_LINES, LINE, PANEL_ROWS, SUPER_GROUPS};
use crate::blocks::IQ4_VALUES;

/// The IQ4 values, shifted to be unsigned.
const IQ4_CODES: [u8; 16] = {
    let mut codes = [0; 16];
    let mut index = 0;
    while index < 16 {
        codes[index] = (IQ4_VALUES[index] as i16 + 128) as u8;
        index += 1;
    }
    codes
};

/// Scale and minimum (added) of a group's two halves. Where halves do not differ, only the first is used.
#[derive(Clone, Copy)]
pub(super) struct Scales<S: Dot> {
    pub(super) scale: [S::F32; 2],
    pub(super) minimum: [S::F32; 2],
}

/// A panel as it lies in memory.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    /// The codes of group 0.
    pub(super) codes: *const u8,
    /// The scales of group 0.
    pub(super) scales: *const u8,
}

/// How to read the groups of a panel. `part` chooses among the `16 / LANES` vectors of rows.
///
/// All methods are unsafe: the panel must have the group, in the format's layout.
pub(super) trait Format: Copy {
    /// The halves of a group have scales of their own.
    const HALVES: bool;
    /// Codes may be above 127.
    const WIDE: bool;

    unsafe fn lines<S: Dot>(self, simd: S, panel: Panel, group: usize, part: usize) -> [S::Bytes; GROUP_LINES];
    unsafe fn scales<S: Dot>(self, simd: S, panel: Panel, group: usize, part: usize) -> Scales<S>;
}

/// Kinds of stored scales, as constant parameters; see [`super::layout::ScaleKind`].
pub(super) const GROUP_SCALE: u8 = 0;
pub(super) const GROUP_MINIMUM: u8 = 1;
pub(super) const SUPER_MINIMUM: u8 = 2;
pub(super) const SUPER: u8 = 3;
pub(super) const SUPER_HALVES: u8 = 4;
pub(super) const SUPER_HALVES_MINIMUM: u8 = 5;

/// A panel as it is kept: `BITS` a code, values `code - ZERO` (`TABLE`: looked up), scales of kind `KIND`.
#[derive(Clone, Copy)]
pub(super) struct Packed<const BITS: usize, const ZERO: i32, const TABLE: bool, const KIND: u8>;

impl<const BITS: usize, const ZERO: i32, const TABLE: bool, const KIND: u8> Format for Packed<BITS, ZERO, TABLE, KIND> {
    const HALVES: bool = KIND == SUPER_HALVES || KIND == SUPER_HALVES_MINIMUM;
    const WIDE: bool = BITS == 8 || TABLE;

    #[inline(always)]
    unsafe fn lines<S: Dot>(self, simd: S, panel: Panel, group: usize, part: usize) -> [S::Bytes; GROUP_LINES] {
        // SAFETY: the panel has the group's `BITS` lines of 64 bytes, each `16 / LANES` vectors long.
        unsafe {
            let at = panel.codes.add(group * BITS * LINE + part * 4 * S::LANES);
            let line = |index: usize| simd.load_bytes(at.add(index * LINE));
            let mut lines = [line(0); GROUP_LINES];
            if BITS == 8 {
                for (j, out) in lines.iter_mut().enumerate() {
                    *out = line(j);
                }
            } else if BITS <= 3 {
                for half in 0..2 {
                    let crumbs = line(half);
                    lines[4 * half] = simd.field(crumbs, 0, 3);
                    lines[4 * half + 1] = simd.field(crumbs, 2, 3);
                    lines[4 * half + 2] = simd.field(crumbs, 4, 3);
                    lines[4 * half + 3] = simd.field(crumbs, 6, 3);
                }
                if BITS == 3 {
                    let bits = line(2);
                    lines[0] = simd.or(lines[0], simd.field_left(bits, 2, 4));
                    lines[1] = simd.or(lines[1], simd.field_left(bits, 1, 4));
                    lines[2] = simd.or(lines[2], simd.field(bits, 0, 4));
                    lines[3] = simd.or(lines[3], simd.field(bits, 1, 4));
                    lines[4] = simd.or(lines[4], simd.field(bits, 2, 4));
                    lines[5] = simd.or(lines[5], simd.field(bits, 3, 4));
                    lines[6] = simd.or(lines[6], simd.field(bits, 4, 4));
                    lines[7] = simd.or(lines[7], simd.field(bits, 5, 4));
                }
            } else {
                for j in 0..4 {
                    let nibbles = line(j);
                    lines[j] = simd.field(nibbles, 0, 15);
                    lines[j + 4] = simd.field(nibbles, 4, 15);
                }
                if BITS == 5 {
                    let bits = line(4);
                    lines[0] = simd.or(lines[0], simd.field_left(bits, 4, 16));
                    lines[1] = simd.or(lines[1], simd.field_left(bits, 3, 16));
                    lines[2] = simd.or(lines[2], simd.field_left(bits, 2, 16));
                    lines[3] = simd.or(lines[3], simd.field_left(bits, 1, 16));
                    lines[4] = simd.or(lines[4], simd.field(bits, 0, 16));
                    lines[5] = simd.or(lines[5], simd.field(bits, 1, 16));
                    lines[6] = simd.or(lines[6], simd.field(bits, 2, 16));
                    lines[7] = simd.or(lines[7], simd.field(bits, 3, 16));
                } else if BITS == 6 {
                    for half in 0..2 {
                        let crumbs = line(4 + half);
                        let lines = &mut lines[4 * half..4 * half + 4];
                        lines[0] = simd.or(lines[0], simd.field_left(crumbs, 4, 48));
                        lines[1] = simd.or(lines[1], simd.field_left(crumbs, 2, 48));
                        lines[2] = simd.or(lines[2], simd.field(crumbs, 0, 48));
                        lines[3] = simd.or(lines[3], simd.field(crumbs, 2, 48));
                    }
                }
                if TABLE {
                    for line in &mut lines {
                        *line = simd.look_up(&IQ4_CODES, *line);
                    }
                }
            }
            lines
        }
    }

    #[inline(always)]
    unsafe fn scales<S: Dot>(self, simd: S, panel: Panel, group: usize, part: usize) -> Scales<S> {
        let (outer, inner) = (group / SUPER_GROUPS, group % SUPER_GROUPS);
        let row = part * S::LANES;
        // SAFETY: the panel has the group's scales; the arrays of 16 entries hold `16 / LANES` vectors.
        unsafe {
            let half = |at: usize| simd.load_f16(panel.scales.add(at + 2 * row).cast());
            let unsigned = |at: usize| simd.load_u8(panel.scales.add(at + row));
            let signed = |at: usize| simd.load_i8(panel.scales.add(at + row).cast());
            let zero = simd.splat(-ZERO as f32);
            match KIND {
                GROUP_SCALE => {
                    let scale = half(group * 32);
                    Scales { scale: [scale; 2], minimum: [simd.mul(scale, zero); 2] }
                }
                GROUP_MINIMUM => Scales { scale: [half(group * 64); 2], minimum: [half(group * 64 + 32); 2] },
                SUPER_MINIMUM => {
                    let at = outer * 320;
                    let scale = simd.mul(half(at), unsigned(at + 64 + 32 * inner));
                    let minimum = simd.mul(half(at + 32), unsigned(at + 80 + 32 * inner));
                    Scales { scale: [scale; 2], minimum: [simd.neg(minimum); 2] }
                }
                SUPER => {
                    let at = outer * 160;
                    let scale = simd.mul(half(at), signed(at + 32 + 16 * inner));
                    Scales { scale: [scale; 2], minimum: [simd.mul(scale, zero); 2] }
                }
                SUPER_HALVES => {
                    let at = outer * 288;
                    let outer = half(at);
                    let first = simd.mul(outer, signed(at + 32 + 32 * inner));
                    let second = simd.mul(outer, signed(at + 48 + 32 * inner));
                    Scales { scale: [first, second], minimum: [simd.mul(first, zero), simd.mul(second, zero)] }
                }
                _ => {
                    let at = outer * 320;
                    let (scale, minimum) = (half(at), simd.neg(half(at + 32)));
                    // A byte is 16 * minimum + scale; both parts are exact in f32.
                    let parts = |at: usize| {
                        let both = unsigned(at);
                        let sixteenth = simd.fma(both, simd.splat(1.0 / 16.0), simd.splat(-15.0 / 32.0));
                        let high = simd.round(sixteenth);
                        (simd.mul(scale, simd.neg_fma(high, simd.splat(16.0), both)), simd.mul(minimum, high))
                    };
                    let (first, second) = (parts(at + 64 + 32 * inner), parts(at + 80 + 32 * inner));
                    Scales { scale: [first.0, second.0], minimum: [first.1, second.1] }
                }
            }
        }
    }
}

/// Bytes of scales that [`Expanded`] keeps for a group: four arrays of 16 f32.
pub(super) const EXPANDED_SCALE_BYTES: usize = 4 * PANEL_ROWS * 4;

/// A panel expanded to whole bytes and f32 scales, for many input rows.
#[derive(Clone, Copy)]
pub(super) struct Expanded<const HALVES: bool, const WIDE: bool>;

impl<const HALVES: bool, const WIDE: bool> Format for Expanded<HALVES, WIDE> {
    const HALVES: bool = HALVES;
    const WIDE: bool = WIDE;

    #[inline(always)]
    unsafe fn lines<S: Dot>(self, simd: S, panel: Panel, group: usize, part: usize) -> [S::Bytes; GROUP_LINES] {
        // SAFETY: the panel has the group's eight lines.
        unsafe { Packed::<8, 0, false, GROUP_SCALE>.lines(simd, panel, group, part) }
    }

    #[inline(always)]
    unsafe fn scales<S: Dot>(self, simd: S, panel: Panel, group: usize, part: usize) -> Scales<S> {
        // SAFETY: the panel has the group's four arrays.
        unsafe {
            let at = panel.scales.add(group * EXPANDED_SCALE_BYTES).cast::<f32>().add(part * S::LANES);
            let array = |index: usize| simd.load(at.add(index * PANEL_ROWS));
            let second = usize::from(HALVES);
            Scales { scale: [array(0), array(second)], minimum: [array(2), array(2 + second)] }
        }
    }
}

/// Expands all groups of a panel.
///
/// # Safety
/// `panel` has `groups` groups in `format`; `codes` and `scales` have room for them as [`Expanded`] reads them.
#[inline(always)]
pub(super) unsafe fn expand<S: Dot, F: Format>(
    simd: S,
    format: F,
    panel: Panel,
    groups: usize,
    codes: *mut u8,
    scales: *mut u8,
) {
    for group in 0..groups {
        for part in 0..PANEL_ROWS / S::LANES {
            // SAFETY: the caller's promise.
            unsafe {
                let lines = format.lines(simd, panel, group, part);
                let to = codes.add(group * GROUP_LINES * LINE + part * 4 * S::LANES);
                for (index, line) in lines.into_iter().enumerate() {
                    simd.store_bytes(line, to.add(index * LINE));
                }
                let read = format.scales(simd, panel, group, part);
                let to = scales.add(group * EXPANDED_SCALE_BYTES).cast::<f32>().add(part * S::LANES);
                simd.store(read.scale[0], to);
                simd.store(read.scale[1], to.add(PANEL_ROWS));
                simd.store(read.minimum[0], to.add(2 * PANEL_ROWS));
                simd.store(read.minimum[1], to.add(3 * PANEL_ROWS));
            }
        }
    }
}
