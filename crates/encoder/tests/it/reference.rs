//! The slow twin: the whole model in f64, written as the architecture is described, one text at a time.

use std::collections::BTreeMap;

use saem_encoder::SentenceEncoder;

use crate::toy::{self, Array};

struct Slow(BTreeMap<String, Array>);

type Rows = Vec<Vec<f64>>;

impl Slow {
    fn get(&self, name: &str) -> Vec<f64> {
        self.0[name].floats()
    }

    /// `x . w + b`, with `w` as `[inputs, outputs]`.
    fn product(&self, x: &Rows, w: &str) -> Rows {
        let outputs = self.0[w].shape[1];
        let w = self.get(w);
        let row = |x: &Vec<f64>| {
            (0..outputs).map(|o| x.iter().enumerate().map(|(i, x)| x * w[i * outputs + o]).sum()).collect()
        };
        x.iter().map(row).collect()
    }

    fn add(&self, x: &mut Rows, name: &str) {
        let bias = self.get(name);
        x.iter_mut().for_each(|x| x.iter_mut().zip(&bias).for_each(|(x, b)| *x += b));
    }

    /// Windows of `size` rows, of which `left` stand before; zeros beyond the ends.
    fn convolve(&self, x: &Rows, layer: usize, size: usize, left: usize) -> Rows {
        let window = |at: usize| -> Vec<f64> {
            let row = |k: usize| (at + k).checked_sub(left).and_then(|i| x.get(i).cloned()).unwrap_or(vec![0.0; 256]);
            (0..size).flat_map(row).collect()
        };
        let windows = (0..x.len()).map(window).collect();
        let mut out = self.product(&windows, &format!("w{layer}_{size}"));
        self.add(&mut out, &format!("b{layer}_{size}"));
        out.iter_mut().zip(x).for_each(|(out, x)| out.iter_mut().zip(x).for_each(|(o, x)| *o = o.max(0.0) + x));
        out
    }

    fn encode(&self, ids: &[u32]) -> Vec<f64> {
        let (scale, low) = (self.get("scale"), self.get("lo"));
        let embed = |&id: &u32| -> Vec<f64> {
            let (row, block) = (id as usize / 17, id as usize % 17);
            let codes = self.get(&format!("q{}", block + 1));
            codes[row * 512..(row + 1) * 512].iter().map(|code| code * scale[block] + low[block]).collect()
        };
        let embedded: Rows = ids.iter().map(embed).collect();
        let mut branches: Vec<Rows> = [2, 3, 5]
            .iter()
            .map(|size| {
                let mut x = self.product(&embedded, &format!("proj{size}"));
                self.add(&mut x, &format!("proj_b{size}"));
                x
            })
            .collect();
        let mut features = embedded.clone();
        let together: Rows =
            (0..ids.len()).map(|t| branches.iter().flat_map(|branch| branch[t].clone()).collect()).collect();
        let weight: Vec<f64> = [2, 3, 5].iter().flat_map(|size| self.get(&format!("ln_g{size}"))).collect();
        let bias: Vec<f64> = [2, 3, 5].iter().flat_map(|size| self.get(&format!("ln_b{size}"))).collect();
        let normal: Rows = together.iter().map(|x| normalise(x, &weight, &bias)).collect();
        for (index, (size, left)) in [(2, 0), (3, 1), (5, 2)].into_iter().enumerate() {
            branches[index] = normal.iter().map(|x| x[index * 256..(index + 1) * 256].to_vec()).collect();
            let hidden = self.convolve(&branches[index], 1, size, left);
            let hidden = self.convolve(&hidden, 2, size, left);
            features.iter_mut().zip(hidden).for_each(|(f, h)| f.extend(h));
        }
        let (weight, bias) = (self.get("ln_g"), self.get("ln_b"));
        let normal: Rows = features.iter().map(|x| normalise(x, &weight, &bias)).collect();
        let mut tokens = self.product(&normal, "cnn_W");
        self.add(&mut tokens, "cnn_b");
        let root = (ids.len() as f64).sqrt();
        let mean: Vec<f64> = (0..512).map(|i| tokens.iter().map(|x| x[i]).sum::<f64>() / root).collect();
        let relu =
            |rows: Rows| -> Rows { rows.into_iter().map(|x| x.into_iter().map(|x| x.max(0.0)).collect()).collect() };
        let plus = |a: Rows, b: &Rows| -> Rows { vec![a[0].iter().zip(&b[0]).map(|(a, b)| a + b).collect()] };
        let mean = vec![mean];
        let y0 = relu(self.product(&mean, "d0"));
        let y1 = relu(plus(self.product(&mean, "p1"), &self.product(&y0, "d1")));
        let y2 = relu(self.product(&y1, "d2"));
        let z = plus(self.product(&y1, "p3"), &self.product(&y2, "d3"));
        let z: Vec<f64> = z[0].iter().map(|z| z.tanh()).collect();
        let length = z.iter().map(|z| z * z).sum::<f64>().sqrt();
        z.iter().map(|z| z / length).collect()
    }
}

fn normalise(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let factor = 1.0 / (variance + 1e-12).sqrt();
    x.iter().zip(weight.iter().zip(bias)).map(|(x, (w, b))| (x - mean) * factor * w + b).collect()
}

#[test]
fn the_forward_pass_is_that_of_the_slow_twin() {
    let directory = tempfile::tempdir().unwrap();
    let arrays = toy::arrays();
    toy::write(directory.path(), &arrays);
    let encoder = SentenceEncoder::open(directory.path(), 2).unwrap();
    let tokenizer = saem_tokenizer::Tokenizer::from_sentencepiece(&toy::sentencepiece()).unwrap();
    let slow = Slow(arrays);
    // Shorter than any window, of a few tokens, and longer than a segment.
    let long = "the 가나 abc ".repeat(40);
    for text in ["a", "ab 가나다 the 한글 x1", &long] {
        let ids = tokenizer.encode(text, true, false);
        let (expected, found) = (slow.encode(&ids), encoder.encode(&[text]));
        assert_eq!(found.tokens, [ids.len()]);
        assert_eq!(encoder.count_tokens(text), ids.len());
        let worst = found.vectors[0].iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{} tokens: {worst:e}", ids.len());
    }
    // No token at all: the unknown one stands for the text.
    let (expected, found) = (slow.encode(&[1, 0, 2]), encoder.encode(&[""]));
    assert!(found.vectors[0].iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5));
    assert_eq!(found.tokens, [3]);
}
