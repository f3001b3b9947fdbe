//! Comparing embeddings.

/// The cosine of the angle between two vectors: 1 for the same direction, 0 where they have nothing in common. 0 where
/// either has no direction.
///
/// Embeddings have length 1, so for them it is the dot product; it is computed in full so that vectors from elsewhere,
/// shortened or averaged ones, can be compared too. Elements beyond the shorter of the two are left out.
#[must_use]
pub fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let (mut product, mut square_a, mut square_b) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    let lengths = (square_a * square_b).sqrt();
    if lengths > 0.0 { (product / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines() {
        assert_eq!(similarity(&[3.0, 0.0], &[0.5, 0.0]), 1.0);
        assert_eq!(similarity(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(similarity(&[1.0, 1.0], &[-1.0, -1.0]), -1.0);
        assert_eq!(similarity(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}
