//! What a run takes of memory and arithmetic, before it begins.

use saem_model::{Parameter, Role};

use crate::buffers::{Buffers, Recompute};
use crate::master::Master;
use crate::optimizer::{Algorithm, Optimizer};
use crate::pass::Decoder;
use crate::recipe::WeightFormat;

/// Bytes by kind, and operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Plan {
    /// Numbers that are trained.
    pub parameters: u64,
    /// The weights that are trained.
    pub weights: u64,
    /// Those that stay, as they are stored, and as products take them where they are kept so.
    pub frozen: u64,
    /// Their gradients.
    pub gradients: u64,
    /// The optimizer's states.
    pub optimizer: u64,
    /// What the forward pass keeps for the backward pass.
    pub activations: u64,
    /// The rows of logits that are in memory at a time.
    pub logits: u64,
    /// What layers share, and what kernels pack.
    pub working: u64,
    /// Texts or examples: where texts lie on disk, the tokens of examples.
    pub texts: u64,
    /// The program itself and the tokenizer.
    pub program: u64,
    /// Operations for each token, forward and backward: 6 for each parameter of a product (4 where it stays), and those of
    /// attention.
    pub operations_per_token: f64,
    /// Those of them that compute logits, which a pass does of few tokens where it learns few.
    pub operations_of_logits: f64,
    /// Weights that stay which a pass makes ready for products: on its way forward, on its way back, and where it goes
    /// forward again.
    pub expanded: u64,
}

impl Plan {
    /// The plan for passes over `tokens` tokens at a time, and texts that take `texts` bytes.
    #[must_use]
    pub fn new(
        decoder: &Decoder,
        tokens: usize,
        recompute: Recompute,
        (algorithm, format): (Algorithm, WeightFormat),
        texts: u64,
    ) -> Self {
        let config = &decoder.config;
        let buffer = 4 * decoder.layout.len() as u64;
        let [activations, logits, working] = Buffers::bytes(decoder, tokens, recompute);
        let is_lookup = |role: Role| role == Role::PositionEmbedding || (role == Role::TokenEmbedding && !config.tied);
        let in_products = |role: Role| !role.is_norm() && !is_lookup(role);
        // A token is sent to some experts only.
        let share = |role: Role| match config.moe.as_ref().filter(|_| role.is_expert()) {
            Some(moe) => moe.used as f64 / moe.experts as f64,
            None => 1.0,
        };
        let elements = |of: &dyn Fn(Role) -> bool| -> f64 {
            let matrices = decoder.layout.own().filter(|parameter| of(parameter.role) && !parameter.is_bias);
            matrices.map(|parameter| share(parameter.role) * parameter.elements() as f64).sum()
        };
        let matrices = elements(&in_products);
        let added: usize =
            decoder.layout.parameters().filter(|(trained, _)| trained.is_lora()).map(|(_, slot)| slot.len()).sum();
        let is_frozen = !decoder.layout.frozen().is_empty();
        let in_passes = decoder.layout.frozen().iter().filter(|parameter| in_products(parameter.role));
        let frozen: usize = in_passes.map(Parameter::elements).sum();
        let times = if recompute == Recompute::Full { 3 } else { 2 };
        // Products before their magnitudes are computed twice.
        let twice: usize = decoder.layout.magnitudes.iter().map(|linear| linear.inputs * linear.outputs).sum();
        let of_product = if is_frozen { 4.0 } else { 6.0 };
        let products = of_product * matrices + 8.0 * added as f64 + 2.0 * twice as f64;
        // Half the keys are seen on average: 2 products of 2 operations forward, twice that backward.
        let seen = |window: Option<usize>| window.map_or(tokens, |window| window.min(tokens)) as f64 / 2.0;
        let attention: f64 =
            config.layers.iter().map(|layer| 12.0 * seen(layer.window) * config.query_width() as f64).sum();
        let again = match recompute {
            Recompute::None => 0.0,
            Recompute::Selective => 2.0 * elements(&Role::is_inside),
            Recompute::Full => 2.0 * matrices + attention / 3.0,
        };
        Self {
            parameters: decoder.layout.parameter_count() as u64,
            weights: Master::bytes(&decoder.layout, format, algorithm),
            frozen: (decoder.frozen.byte_len() + decoder.frozen.packed_bytes()) as u64,
            gradients: buffer,
            optimizer: Optimizer::bytes(algorithm, &decoder.layout),
            activations,
            logits,
            working,
            texts,
            program: 0,
            operations_per_token: products + attention + again,
            expanded: if decoder.frozen.packed_bytes() > 0 { 0 } else { times * frozen as u64 },
            operations_of_logits: of_product * (decoder.layout.outputs * config.hidden) as f64,
        }
    }

    /// The same with preferences, which are passed forward twice before the pass that learns. Going back past weights that
    /// stay is as far as going forward.
    pub(crate) fn of_preferences(self) -> Self {
        Self {
            operations_per_token: 2.0 * self.operations_per_token,
            operations_of_logits: 2.0 * self.operations_of_logits,
            expanded: 2 * self.expanded,
            ..self
        }
    }

    /// All bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights
            + self.frozen
            + self.gradients
            + self.optimizer
            + self.activations
            + self.logits
            + self.working
            + self.texts
            + self.program
    }
}
