//! What size and how many tokens a budget of operations is worth, by published laws.

use serde::Serialize;

/// A law of loss by parameters and tokens, `floor + a / parameters^alpha + b / tokens^beta`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Law {
    floor: f64,
    a: f64,
    b: f64,
    alpha: f64,
    beta: f64,
}

/// Hoffmann et al. 2022 (Chinchilla, arXiv 2203.15556), approach 3, with the digits of its TeX source.
const HOFFMANN: Law = Law { floor: 1.69337368, a: 406.401018, b: 410.722827, alpha: 0.33917084, beta: 0.2849083 };
/// The same data fitted again by Besiroglu et al. 2024 (arXiv 2404.10102), who found that the first fit had stopped
/// early.
const BESIROGLU: Law = Law { floor: 1.8172, a: 482.01, b: 2085.43, alpha: 0.3478, beta: 0.3658 };

/// Kaplan et al. 2020 (arXiv 2001.08361), equation 6.1 and table 6: parameters `1.3e9 C^0.73` and tokens `2e10 C^0.27`
/// of a budget in petaflop days.
const KAPLAN: (f64, f64, f64, f64) = (1.3e9, 0.73, 2e10, 0.27);
const PETAFLOP_DAY: f64 = 1e15 * 86400.0;

/// What a law says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Optimal {
    /// `kaplan-2020`, `hoffmann-2022` or `besiroglu-2024`.
    pub law: &'static str,
    /// Parameters that the budget is worth.
    pub parameters: f64,
    /// Tokens that go with them.
    pub tokens: f64,
    /// Tokens that the parameters asked for are worth.
    pub tokens_for_parameters: f64,
    /// Loss of the best use of the budget, in nats on its authors' texts.
    pub loss: Option<f64>,
    /// Loss of what was asked for.
    pub loss_asked: Option<f64>,
}

impl Law {
    fn loss(&self, parameters: f64, tokens: f64) -> f64 {
        self.floor + self.a / parameters.powf(self.alpha) + self.b / tokens.powf(self.beta)
    }

    /// The least loss with `6 parameters tokens = operations` (equation 4 there).
    fn best(&self, operations: f64) -> (f64, f64) {
        let Self { a, b, alpha, beta, .. } = *self;
        let factor = (alpha * a / (beta * b)).powf(1.0 / (alpha + beta));
        let product = operations / 6.0;
        let parameters = factor * product.powf(beta / (alpha + beta));
        (parameters, product / parameters)
    }

    /// Tokens with which these parameters are the best use of the operations they take.
    fn tokens(&self, parameters: f64) -> f64 {
        let Self { a, b, alpha, beta, .. } = *self;
        (beta * b / (alpha * a) * parameters.powf(alpha)).powf(1.0 / beta)
    }
}

/// What the laws say to a budget, and to parameters and tokens that are given.
#[must_use]
pub(crate) fn optimal(operations: f64, parameters: f64, tokens: f64) -> Vec<Optimal> {
    let (n, n_power, d, d_power) = KAPLAN;
    let days = operations / PETAFLOP_DAY;
    let kaplan = Optimal {
        law: "kaplan-2020",
        parameters: n * days.powf(n_power),
        tokens: d * days.powf(d_power),
        tokens_for_parameters: d * (parameters / n).powf(d_power / n_power),
        loss: None,
        loss_asked: None,
    };
    let others = [("hoffmann-2022", HOFFMANN), ("besiroglu-2024", BESIROGLU)].map(|(name, law)| {
        let (best, best_tokens) = law.best(operations);
        Optimal {
            law: name,
            parameters: best,
            tokens: best_tokens,
            tokens_for_parameters: law.tokens(parameters),
            loss: Some(law.loss(best, best_tokens)),
            loss_asked: Some(law.loss(parameters, tokens)),
        }
    });
    std::iter::once(kaplan).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_say_what_their_papers_say() {
        // Chinchilla's budget, 5.76e23: Besiroglu et al. find about 70 billion parameters and 20 tokens for each, as
        // Chinchilla was trained; Hoffmann's own approach 3 says 40 billion there (its table 3 has 40.0 for 5.76e23).
        let found = optimal(5.76e23, 70e9, 1.4e12);
        let [kaplan, hoffmann, besiroglu] = found.as_slice() else { unreachable!() };
        assert!((hoffmann.parameters / 40e9 - 1.0).abs() < 0.1, "{hoffmann:?}");
        assert!((60e9..85e9).contains(&besiroglu.parameters), "{besiroglu:?}");
        assert!((15.0..26.0).contains(&(besiroglu.tokens / besiroglu.parameters)), "{besiroglu:?}");
        // Kaplan's law puts far more of it into size.
        assert!(kaplan.parameters > 3.0 * besiroglu.parameters, "{kaplan:?}");
        // 1.693 + 0.085 + 0.142, by hand.
        assert!((hoffmann.loss_asked.unwrap() - 1.921).abs() < 0.002, "{hoffmann:?}");
        for law in [HOFFMANN, BESIROGLU] {
            let (parameters, tokens) = law.best(1e24);
            assert!((6.0 * parameters * tokens / 1e24 - 1.0).abs() < 1e-9);
            assert!((law.tokens(parameters) / tokens - 1.0).abs() < 1e-9);
            for other in [0.9, 1.1] {
                assert!(law.loss(parameters * other, tokens / other) > law.loss(parameters, tokens));
            }
        }
    }
}
