//! The automaton of one text while it grows, and what it allows next.

use llguidance::Matcher;
use llguidance::api::StopReason;

use super::ConstraintError;

/// Follows one text and tells which tokens may come next.
#[derive(Clone)]
pub(crate) struct Guide {
    matcher: Matcher,
    /// One bit per token, the lowest bit of the first word for token 0.
    mask: Vec<u32>,
}

impl std::fmt::Debug for Guide {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Guide").field("stopped", &self.matcher.stop_reason()).finish_non_exhaustive()
    }
}

impl Guide {
    pub(super) fn new(matcher: Matcher) -> Self {
        Self { matcher, mask: Vec::new() }
    }

    /// The tokens that may come next, one bit each; the end tokens are among them where the text may end.
    ///
    /// # Errors
    /// Where the step exceeds its fuel, or no token can follow.
    pub(crate) fn allowed(&mut self) -> Result<&[u32], ConstraintError> {
        match self.matcher.compute_mask_or_eos() {
            Ok(mask) => self.mask = mask.into(),
            Err(error) => return Err(self.explain(&error)),
        }
        Ok(&self.mask)
    }

    /// Goes on by one token, which must be allowed.
    ///
    /// # Errors
    /// Where the token is not allowed or the step exceeds its fuel.
    pub(crate) fn take(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.matcher.consume_token(token).map_err(|error| self.explain(&error))
    }

    /// Whether the text is complete: it fulfils the constraint and nothing but its end may follow.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.matcher.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    /// Whether the text may end here.
    pub(super) fn is_accepting(&mut self) -> bool {
        self.is_complete() || matches!(self.matcher.is_accepting(), Ok(true))
    }

    fn explain(&self, error: &dyn std::fmt::Display) -> ConstraintError {
        match self.matcher.stop_reason() {
            StopReason::NoExtensionBias => ConstraintError::DeadEnd,
            _ if error.to_string().contains("NoExtensionBias") => ConstraintError::DeadEnd,
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => {
                ConstraintError::TooComplex { what: "constraint", reason: "a step takes more than its fuel".to_owned() }
            }
            _ => ConstraintError::refused("constraint", error),
        }
    }
}

/// Takes all probability from the tokens whose bit is not set, and from those that have no bit.
pub(crate) fn restrict(logits: &mut [f32], mask: &[u32]) {
    let mut words = mask.iter().copied();
    for logits in logits.chunks_mut(32) {
        match words.next().unwrap_or(0) {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            word => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// The only token of a mask, where it has just one.
pub(crate) fn only_token(mask: &[u32]) -> Option<u32> {
    let mut set = mask.iter().enumerate().filter(|(_, word)| **word != 0);
    let (index, word) = set.next()?;
    (word.is_power_of_two() && set.next().is_none()).then(|| index as u32 * 32 + word.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_the_set_bits_keep_their_logits(
            words in prop::collection::vec(prop_oneof![Just(0_u32), Just(u32::MAX), any::<u32>()], 0..6),
            length in 0_usize..200,
        ) {
            let allowed = |token: usize| words.get(token / 32).is_some_and(|word| word >> (token % 32) & 1 == 1);
            let mut logits: Vec<f32> = (0..length).map(|token| token as f32).collect();
            restrict(&mut logits, &words);
            for (token, logit) in logits.iter().enumerate() {
                prop_assert_eq!(*logit, if allowed(token) { token as f32 } else { f32::NEG_INFINITY });
            }
            let all: Vec<usize> = (0..words.len() * 32).filter(|token| allowed(*token)).collect();
            let expected = if let [only] = all[..] { Some(only as u32) } else { None };
            prop_assert_eq!(only_token(&words), expected);
        }
    }
}
