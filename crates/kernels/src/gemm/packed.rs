//! A factor that many products have in common.

#[cfg(target_arch = "x86_64")]
use super::bf16;
use super::{Factor, Output, Place, Precision, Product, Right, Size, Team, Way, ranges};
use crate::ThreadPool;

/// Lines that are packed once, for the instruction set of the thread that packs them.
#[derive(Debug)]
pub struct Packed {
    lines: usize,
    depth: usize,
    way: Way,
    values: Vec<f32>,
    /// Where the packed lines begin: at a cache line.
    start: usize,
}

impl Packed {
    /// Packs `lines` of `depth` elements.
    ///
    /// # Panics
    /// If the factor is shorter than that.
    #[must_use]
    pub fn new(pool: &ThreadPool, precision: Precision, b: Factor<'_>, lines: usize, depth: usize) -> Self {
        assert!(b.holds(lines, depth), "a factor of {lines} lines of {depth}");
        let team = Team(Some(pool));
        let way = Self::way(precision, lines, depth);
        let mut values = vec![0.0; Self::floats(way, lines, depth)];
        let start = match way {
            Way::Vectors(_) => 0,
            #[cfg(target_arch = "x86_64")]
            Way::Bf16(..) => bf16::aligned(&values),
        };
        let mut to = &mut values[start..];
        match way {
            Way::Vectors(isa) => {
                for some in ranges(lines, super::SHARED_LINES) {
                    for elements in ranges(depth, super::DEPTH) {
                        let (now, rest) = to.split_at_mut(super::panels_len(isa, some.len(), elements.len()));
                        super::pack_panels(team, isa, b, some.clone(), elements, now);
                        to = rest;
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            Way::Bf16(_, precision) => bf16::pack_all(team, precision, b, lines, depth, to),
        }
        Self { lines, depth, way, values, start }
    }

    /// How products with lines like these are computed: it must not depend on the rows that there will be.
    fn way(precision: Precision, lines: usize, depth: usize) -> Way {
        Way::of(precision, Size { m: usize::MAX, n: lines, k: depth }, false)
    }

    fn floats(way: Way, lines: usize, depth: usize) -> usize {
        match way {
            Way::Vectors(isa) => super::panels_len(isa, lines, 1) * depth,
            #[cfg(target_arch = "x86_64")]
            Way::Bf16(_, precision) => bf16::packed_len(precision, lines, depth) + bf16::ALIGN_FLOATS,
        }
    }

    /// Bytes of memory that [`Packed::new`] takes.
    #[must_use]
    pub fn bytes(precision: Precision, lines: usize, depth: usize) -> usize {
        size_of::<f32>() * Self::floats(Self::way(precision, lines, depth), lines, depth)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        size_of_val(&self.values[..])
    }
}

/// [`gemm`](super::gemm) with all lines of a packed factor: `c[i, j] = sum over k of a[i, k] b[j, k]`, for `rows` lines of `a`.
///
/// A row's results do not depend on how many other rows there are.
///
/// # Panics
/// If a buffer is shorter than the sizes say, or `a` is not of floats.
pub fn gemm_packed(
    pool: &ThreadPool,
    rows: usize,
    a: Factor<'_>,
    b: &Packed,
    c: &mut [f32],
    stride: usize,
    output: Output,
) {
    let size = Size { m: rows, n: b.lines, k: b.depth };
    size.check_left(a);
    size.check_output(c, stride);
    let c = Place { start: c.as_mut_ptr(), stride };
    let right = Right::Packed(&b.values[b.start..]);
    let product = Product { team: Team(Some(pool)), size, a, b: right, c, output };
    // SAFETY: checked above; the packed lines are as long as their size says, and the caller has `c` alone.
    unsafe { product.compute(b.way, &mut []) };
}
