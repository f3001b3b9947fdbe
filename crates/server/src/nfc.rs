//! Text at the border: composed characters, whatever the client's system writes.

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// The text in Unicode's normalisation form C. macOS writes Hangul in pieces (NFD), models have learnt it whole, and a
/// prompt in pieces costs several times the tokens.
#[must_use]
pub fn nfc(text: String) -> String {
    // Nearly all text is composed already.
    if is_nfc_quick(text.chars()) == IsNormalized::Yes { text } else { text.nfc().collect() }
}

#[cfg(test)]
mod tests {
    use super::nfc;

    #[test]
    fn syllables_in_pieces_become_whole() {
        assert_eq!(nfc("\u{1109}\u{1162}\u{11b7}".to_owned()), "샘");
        assert_eq!(nfc("샘 spring".to_owned()), "샘 spring");
    }
}
