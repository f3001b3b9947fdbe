//! The text form of a key, `saem_<id>_<32 random bytes in base 62>`, and how it is recognised again.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::StoreError;
use crate::error::Result;

/// Digits, then capitals, then small letters.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits of an id: 71 bits, so that ids never meet.
pub(crate) const ID_DIGITS: usize = 12;
/// Digits of 32 bytes: 62^43 > 2^256.
const SECRET_DIGITS: usize = 43;

/// The id of a key text that has the form of one.
pub(crate) fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix("saem_")?.split_once('_')?;
    let is_number = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| DIGITS.contains(&byte));
    (is_number(id, ID_DIGITS) && is_number(secret, SECRET_DIGITS)).then_some(id)
}

/// A new id.
pub(crate) fn new_id() -> Result<String> {
    let mut id = String::with_capacity(ID_DIGITS);
    while id.len() < ID_DIGITS {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        // 248 = 4 x 62: taking no byte above it keeps every digit equally likely.
        let digits = bytes.iter().filter(|byte| **byte < 248).filter_map(|byte| digit(byte % 62));
        id.extend(digits.take(ID_DIGITS - id.len()));
    }
    Ok(id)
}

/// The full text of a new key with this id.
pub(crate) fn new_key(id: &str) -> Result<String> {
    Ok(format!("saem_{id}_{}", new_token()?))
}

/// A new secret of 32 random bytes, in 43 digits.
pub(crate) fn new_token() -> Result<String> {
    let mut bytes = [0; 32];
    fill(&mut bytes)?;
    Ok(base62(bytes))
}

/// Whether a text has the form of [`new_token`].
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == SECRET_DIGITS && text.bytes().all(|byte| DIGITS.contains(&byte))
}

/// What is stored of a key: the SHA-256 of its text, in hex. A key has 256 random bits, so nothing slower is needed.
pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Whether two hashes are equal, in a time that does not tell where they differ.
pub(crate) fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// Bytes in small hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| StoreError::Random { reason: error.to_string() })
}

fn digit(value: u8) -> Option<char> {
    DIGITS.get(usize::from(value)).map(|digit| char::from(*digit))
}

/// A number of 32 bytes, most significant first, in 43 digits of base 62.
fn base62(mut number: [u8; 32]) -> String {
    let mut digits = Vec::with_capacity(SECRET_DIGITS);
    for _ in 0..SECRET_DIGITS {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            // Both fit: value < 62 x 256.
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        digits.extend(digit(rest as u8));
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_documented_form() {
        let id = new_id().unwrap();
        let key = new_key(&id).unwrap();
        assert_eq!(key.len(), 5 + 12 + 1 + 43);
        assert_eq!(id_of(&key), Some(id.as_str()));
        assert_ne!(new_key(&id).unwrap(), key);
        assert_ne!(new_id().unwrap(), id);
    }

    #[test]
    fn base_62_is_the_number() {
        assert_eq!(base62([0; 32]), "0".repeat(43));
        let mut one = [0; 32];
        one[31] = 61;
        assert_eq!(base62(one), format!("{}z", "0".repeat(42)));
        one[30] = 1; // 256 + 61 = 5 x 62 + 7
        assert_eq!(base62(one), format!("{}57", "0".repeat(41)));
        // 2^256 - 1, computed with Python's integers.
        assert_eq!(base62([255; 32]), LARGEST);
    }

    const LARGEST: &str = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

    #[test]
    fn other_texts_are_no_keys() {
        let key = new_key("AAAABBBBCCCC").unwrap();
        let longer = format!("{key}0");
        let shorter = &key[..key.len() - 1];
        for text in
            ["", "saem_", "saem__", "sk-abc", &longer, shorter, &key.replace("saem", "sæm"), &key.replace('A', "-")]
        {
            assert_eq!(id_of(text), None, "{text}");
        }
    }

    #[test]
    fn hashes_are_those_of_sha_256() {
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(equal(&hash("abc"), &hash("abc")));
        assert!(!equal(&hash("abc"), &hash("abd")));
        assert!(!equal(&hash("abc"), ""));
    }
}
