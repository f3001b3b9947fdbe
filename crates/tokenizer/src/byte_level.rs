//! The GPT-2 alphabet: 256 printable characters that stand for the 256 bytes in vocabulary files.
//!
//! Bytes that print as themselves in Latin-1 keep their character; the other 68 take U+0100 onwards, in order. So a
//! space is spelled `Ġ` (U+0120) and a line feed `Ċ` (U+010A).

const ALPHABET: usize = 0x100 + 68;

const fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const BYTE_TO_CHAR: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut next = 0x100u32;
    let mut byte = 0;
    while byte < 256 {
        let code = if prints(byte as u8) {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        if let Some(character) = char::from_u32(code) {
            table[byte] = character;
        }
        byte += 1;
    }
    table
};

/// Byte of each character, or 256.
const CHAR_TO_BYTE: [u16; ALPHABET] = {
    let mut table = [256; ALPHABET];
    let mut byte = 0;
    while byte < 256 {
        table[BYTE_TO_CHAR[byte] as usize] = byte as u16;
        byte += 1;
    }
    table
};

/// The character that spells `byte`.
pub(crate) fn spell(byte: u8) -> char {
    BYTE_TO_CHAR[byte as usize]
}

/// Spells bytes in the alphabet.
pub(crate) fn spell_all(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| spell(byte)).collect()
}

/// Appends the bytes that `text` spells; `false`, and nothing appended, if a character is outside the alphabet.
pub(crate) fn unspell(text: &str, bytes: &mut Vec<u8>) -> bool {
    let start = bytes.len();
    for character in text.chars() {
        match CHAR_TO_BYTE.get(character as usize) {
            Some(&byte) if byte < 256 => bytes.push(byte as u8),
            _ => {
                bytes.truncate(start);
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let all: Vec<u8> = (0..=255).collect();
        let spelled = spell_all(&all);
        assert_eq!(spelled.chars().count(), 256);
        let mut back = Vec::new();
        assert!(unspell(&spelled, &mut back));
        assert_eq!(back, all);
        assert_eq!(spell(b' '), 'Ġ');
        assert_eq!(spell(b'\n'), 'Ċ');
    }

    #[test]
    fn other_characters_are_refused_whole() {
        let mut bytes = vec![1];
        assert!(!unspell("a 한", &mut bytes));
        assert_eq!(bytes, [1]);
    }
}
