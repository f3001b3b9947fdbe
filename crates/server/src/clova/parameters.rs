//! Ranges, and the sampling parameters that all of CLOVA Studio's text routes share.

use std::fmt::Display;

use saem_engine::{Sampling, StopMatcher, random::fresh_seed};

use super::status::parameter;
use crate::ApiError;
use crate::nfc::nfc;

/// The largest seed.
pub(crate) const MAX_SEED: u64 = 4_294_967_295;

/// `value` where it lies from `least` to `most`.
pub(crate) fn within<T: PartialOrd + Display>(field: &str, value: T, least: T, most: T) -> Result<T, ApiError> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(parameter(field, format!("is {value} (allowed: {least} to {most})")))
}

/// `value` where it lies above `least` and does not exceed `most`.
pub(crate) fn above<T: PartialOrd + Display>(field: &str, value: T, least: T, most: T) -> Result<T, ApiError> {
    if value > least && value <= most {
        return Ok(value);
    }
    Err(parameter(field, format!("is {value} (allowed: above {least} to {most})")))
}

/// The sampling that the fields make. `temperature` and `repetition_penalty` have their ranges checked by the caller:
/// they differ between the routes.
pub(crate) fn sampling(
    top_p: Option<f32>,
    top_k: Option<u32>,
    temperature: f32,
    repetition_penalty: f32,
    seed: Option<u64>,
) -> Result<Sampling, ApiError> {
    let seed = match within("seed", seed.unwrap_or(0), 0, MAX_SEED)? {
        0 => drawn_seed(),
        seed => seed,
    };
    Ok(Sampling {
        temperature,
        top_k: within("topK", top_k.unwrap_or(0), 0, 128)? as usize,
        top_p: above("topP", top_p.unwrap_or(0.8), 0.0, 1.0)?,
        repetition_penalty,
        seed: Some(seed),
        ..Sampling::default()
    })
}

/// A seed for a request that leaves it open: 1 to [`MAX_SEED`], so that it can be sent back as it is.
fn drawn_seed() -> u64 {
    fresh_seed() % MAX_SEED + 1
}

/// Stop strings, checked.
pub(crate) fn stop(field: &str, stop: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let stop: Vec<String> = stop.unwrap_or_default().into_iter().map(nfc).collect();
    StopMatcher::new(&stop).map_err(|error| parameter(field, error.to_string()))?;
    Ok(stop)
}

/// Whether to stream: NAVER's documents say it by the header `Accept`, two clients say it by a field as well.
pub(crate) fn wants_stream(field: Option<bool>, accept: Option<&str>) -> bool {
    field == Some(true) || accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told() {
        let text = |error: ApiError| error.to_string();
        assert_eq!(text(within("topK", 129, 0, 128).unwrap_err()), "`topK` is 129 (allowed: 0 to 128)");
        let low = above("topP", 0.0, 0.0, 1.0).unwrap_err();
        assert_eq!((low.message.as_str(), low.param.as_deref()), ("`topP` is 0 (allowed: above 0 to 1)", Some("topP")));
        assert!(within("x", f32::NAN, 0.0, 1.0).is_err());
        assert!(above("x", f32::NAN, 0.0, 1.0).is_err());
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let sampling = sampling(None, None, 0.5, 1.1, Some(0)).unwrap();
        assert_eq!((sampling.top_p, sampling.top_k, sampling.temperature), (0.8, 0, 0.5));
        assert!((1..=MAX_SEED).contains(&sampling.seed.unwrap()));
        assert!(sampling.validate().is_ok());
    }

    #[test]
    fn a_seed_is_kept_and_zero_draws_one() {
        let seed = |seed| sampling(None, None, 0.5, 1.1, seed).map(|sampling| sampling.seed.unwrap());
        assert_eq!(seed(Some(MAX_SEED)).unwrap(), MAX_SEED);
        assert_ne!(seed(None).unwrap(), seed(None).unwrap());
        assert!(seed(Some(MAX_SEED + 1)).is_err());
    }

    #[test]
    fn an_empty_stop_string_is_refused_by_the_field_of_the_route() {
        assert!(stop("stopBefore", Some(vec![String::new()])).unwrap_err().to_string().contains("stopBefore"));
        assert_eq!(stop("stop", None).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn streams_are_asked_for_in_two_ways() {
        assert!(wants_stream(None, Some("text/event-stream")));
        assert!(wants_stream(Some(true), Some("application/json")));
        assert!(!wants_stream(Some(false), Some("application/json")));
        assert!(!wants_stream(None, None));
    }
}
