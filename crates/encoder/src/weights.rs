//! The arrays of the model, checked and arranged for the kernels.

use std::path::Path;

use saem_kernels::ThreadPool;
use saem_kernels::gemm::{Factor, Packed, Precision};

use crate::EncoderError;
use crate::convolution::Convolution;
use crate::npz::{Archive, Type};

/// Length of a token's embedding, and of a sentence's.
pub(crate) const WIDTH: usize = 512;
/// Width of one branch of convolutions.
pub(crate) const BRANCH: usize = 256;
/// All branches side by side.
pub(crate) const BRANCHES: usize = 3 * BRANCH;
/// What is averaged over a sentence: embedding and branches of each token.
pub(crate) const FEATURES: usize = WIDTH + BRANCHES;
/// Width of the narrow layers at the end.
pub(crate) const NARROW: usize = 320;
/// Blocks of the table of embeddings: token `t` is row `t / BLOCKS` of block `t % BLOCKS`.
const BLOCKS: usize = 17;

/// A branch: how many neighbours a token sees at once, and how many of them stand before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) size: usize,
    pub(crate) left: usize,
}

pub(crate) const WINDOWS: [Window; 3] =
    [Window { size: 2, left: 0 }, Window { size: 3, left: 1 }, Window { size: 5, left: 2 }];
/// Tokens that a window reaches to either side at most.
pub(crate) const REACH: usize = 2;

/// A convolution of what depends on single tokens, as a matrix of all positions of its window: `[size * BRANCH, BRANCH]`.
/// A token's products with it are what the token contributes to the neighbours whose windows it is in.
#[derive(Debug)]
pub(crate) struct Contributions {
    pub(crate) matrix: Packed,
    pub(crate) bias: Vec<f32>,
}

/// One branch: two convolutions, each with a residual path around it.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) window: Window,
    pub(crate) first: Contributions,
    pub(crate) second: Convolution,
}

/// The layers after the mean. Matrices are `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct Head {
    /// `[WIDTH, FEATURES]`.
    pub(crate) mean: Packed,
    pub(crate) mean_bias: Vec<f32>,
    /// `[NARROW, WIDTH]`, and the residual path around it and the next.
    pub(crate) first: Packed,
    pub(crate) first_residual: Packed,
    /// `[NARROW, NARROW]`.
    pub(crate) second: Packed,
    /// `[WIDTH, NARROW]`, and the residual path around it and the last.
    pub(crate) third: Packed,
    pub(crate) third_residual: Packed,
    /// `[WIDTH, WIDTH]`.
    pub(crate) last: Packed,
}

/// The whole model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Codes of the tokens' embeddings, `[tokens, WIDTH]`.
    table: Vec<u8>,
    /// A code stands for `code * scale + low` of its block.
    scales: Vec<f32>,
    lows: Vec<f32>,
    /// `[BRANCHES, WIDTH]`.
    pub(crate) projection: Packed,
    pub(crate) projection_bias: Vec<f32>,
    pub(crate) projection_norm: Norm,
    pub(crate) branches: Vec<Branch>,
    pub(crate) norm: Norm,
    pub(crate) head: Head,
    /// What keeps divisions from dividing by nothing.
    pub(crate) epsilon: f32,
}

/// Weight and bias of a layer normalisation.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Weights {
    /// Reads the arrays for a vocabulary of this many tokens.
    pub(crate) fn read(path: &Path, tokens: usize, pool: &ThreadPool) -> Result<Self, EncoderError> {
        let mut archive = Archive::open(path)?;
        let rows = tokens.div_ceil(BLOCKS);
        let scales = archive.floats("scale", &[BLOCKS])?;
        let lows = archive.floats("lo", &[BLOCKS])?;
        let mut table = vec![0; rows * BLOCKS * WIDTH];
        for block in 0..BLOCKS {
            let (_, codes) = archive.bytes(&format!("q{}", block + 1), Type::U8, &[rows, WIDTH])?;
            let to = table.chunks_exact_mut(WIDTH).skip(block).step_by(BLOCKS);
            to.zip(codes.chunks_exact(WIDTH)).for_each(|(to, from)| to.copy_from_slice(from));
        }
        let mut reader = Reader { archive, pool };
        let (mut projection, mut projection_bias) = (Vec::new(), Vec::new());
        let mut projection_norm = Norm { weight: Vec::new(), bias: Vec::new() };
        let mut branches = Vec::new();
        for window in WINDOWS {
            let size = window.size;
            reader.transposed(&format!("proj{size}"), WIDTH, BRANCH, 1, &mut projection)?;
            projection_bias.extend(reader.archive.floats(&format!("proj_b{size}"), &[BRANCH])?);
            projection_norm.weight.extend(reader.archive.floats(&format!("ln_g{size}"), &[BRANCH])?);
            projection_norm.bias.extend(reader.archive.floats(&format!("ln_b{size}"), &[BRANCH])?);
            let (weights, bias) = reader.convolution(window, "1")?;
            let first = Contributions { matrix: packed(pool, size * BRANCH, BRANCH, &weights), bias };
            let (weights, bias) = reader.convolution(window, "2")?;
            let second = Convolution::new(pool, window, &weights, bias);
            branches.push(Branch { window, first, second });
        }
        Ok(Self {
            table,
            scales,
            lows,
            projection: packed(pool, BRANCHES, WIDTH, &projection),
            projection_bias,
            projection_norm,
            branches,
            norm: Norm {
                weight: reader.archive.floats("ln_g", &[FEATURES])?,
                bias: reader.archive.floats("ln_b", &[FEATURES])?,
            },
            head: Head {
                mean: reader.matrix("cnn_W", FEATURES, WIDTH)?,
                mean_bias: reader.archive.floats("cnn_b", &[WIDTH])?,
                first: reader.matrix("d0", WIDTH, NARROW)?,
                first_residual: reader.matrix("p1", WIDTH, NARROW)?,
                second: reader.matrix("d1", NARROW, NARROW)?,
                third: reader.matrix("d2", NARROW, WIDTH)?,
                third_residual: reader.matrix("p3", NARROW, WIDTH)?,
                last: reader.matrix("d3", WIDTH, WIDTH)?,
            },
            epsilon: reader.archive.number("eps")?.max(0.0) as f32,
        })
    }

    /// Tokens that have an embedding.
    pub(crate) fn tokens(&self) -> usize {
        self.table.len() / WIDTH
    }

    /// Writes a token's embedding (zeros for an id that no token has) to `out`, `[WIDTH]`.
    pub(crate) fn embed(&self, token: u32, out: &mut [f32]) {
        let (token, block) = (token as usize, token as usize % BLOCKS);
        let codes = self.table.get(token * WIDTH..).and_then(|rest| rest.get(..WIDTH));
        match (codes, self.scales.get(block), self.lows.get(block)) {
            (Some(codes), Some(scale), Some(low)) => {
                out.iter_mut().zip(codes).for_each(|(out, code)| *out = f32::from(*code) * scale + low);
            }
            _ => out.fill(0.0),
        }
    }

    /// Bytes of memory that the weights hold.
    pub(crate) fn byte_len(&self) -> usize {
        let Head { mean, first, first_residual, second, third, third_residual, last, .. } = &self.head;
        let head = [mean, first, first_residual, second, third, third_residual, last];
        let first = self.branches.iter().map(|branch| &branch.first.matrix);
        let second = self.branches.iter().map(|branch| branch.second.byte_len());
        let matrices = first.chain(head).chain([&self.projection]).map(Packed::byte_len);
        self.table.len() + matrices.chain(second).sum::<usize>()
    }
}

/// A matrix `[outputs, inputs]`, arranged for products. On tiles their error is 2⁻¹⁶, which moves a sentence's vector by
/// some 1e-5 of its length.
pub(crate) fn packed(pool: &ThreadPool, outputs: usize, inputs: usize, weights: &[f32]) -> Packed {
    Packed::new(pool, Precision::Split, Factor::lines(weights, inputs), outputs, inputs)
}

/// Reads arrays and packs them.
struct Reader<'a> {
    archive: Archive,
    pool: &'a ThreadPool,
}

impl Reader<'_> {
    /// Appends the array `[parts * inputs, outputs]` as `[parts * outputs, inputs]`, each part transposed.
    fn transposed(
        &mut self,
        array: &str,
        inputs: usize,
        outputs: usize,
        parts: usize,
        to: &mut Vec<f32>,
    ) -> Result<(), EncoderError> {
        let values = self.archive.floats(array, &[parts * inputs, outputs])?;
        for part in values.chunks_exact(inputs * outputs) {
            for output in 0..outputs {
                to.extend(part.iter().skip(output).step_by(outputs));
            }
        }
        Ok(())
    }

    /// The array `[inputs, outputs]` as a packed matrix.
    fn matrix(&mut self, array: &str, inputs: usize, outputs: usize) -> Result<Packed, EncoderError> {
        let mut weights = Vec::with_capacity(inputs * outputs);
        self.transposed(array, inputs, outputs, 1, &mut weights)?;
        Ok(packed(self.pool, outputs, inputs, &weights))
    }

    /// The weights of a convolution, `[size * outputs, inputs]`, and its bias.
    fn convolution(&mut self, window: Window, layer: &str) -> Result<(Vec<f32>, Vec<f32>), EncoderError> {
        let size = window.size;
        let mut weights = Vec::with_capacity(size * BRANCH * BRANCH);
        self.transposed(&format!("w{layer}_{size}"), BRANCH, BRANCH, size, &mut weights)?;
        Ok((weights, self.archive.floats(&format!("b{layer}_{size}"), &[BRANCH])?))
    }
}
