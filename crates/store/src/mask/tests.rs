//! What is personal goes, what is not stays.

use std::borrow::Cow;
use std::time::Instant;

use proptest::prelude::*;

use super::mask_personal_data as mask;

#[test]
fn resident_numbers() {
    for text in [
        "900101-1234567",
        "900101 - 1234567",
        "900101 1234567",
        "９００１０１－１２３４５６７",
        "900101–1234567",
        // Without a separator: with the checksum of each kind, ...
        "8001011234560",
        "8001015234563",
        // ... and without one where numbers have had none since October 2020.
        "2011233456789",
    ] {
        assert_eq!(mask(&format!("번호 {text}입니다")), "번호 [resident-number]입니다", "{text}");
        assert_eq!(mask(text), "[resident-number]", "{text}");
    }
    // No such month, no such day, no such kind, a wrong checksum, a count of milliseconds.
    for text in ["901301-1234567", "900230-1234567", "900101-9234567", "8001011234565", "1763780125000"] {
        assert_eq!(mask(text), text);
    }
}

#[test]
fn telephone_numbers() {
    for text in [
        "010-1234-5678",
        "01012345678",
        "010 1234 5678",
        "010.1234.5678",
        "０１０－１２３４－５６７８",
        "010 - 1234 - 5678",
        "011-123-4567",
        "02-123-4567",
        "02)1234-5678",
        "(02) 123-4567",
        "031-123-4567",
        "064-1234-5678",
        "070-1234-5678",
        "0505-123-4567",
        "+82 10-1234-5678",
        "+82-10-1234-5678",
        "+821012345678",
        "+82 2 123 4567",
        "82-10-1234-5678",
        "+82 010-1234-5678",
        "010-12345678",
    ] {
        let masked = mask(text);
        assert!(
            masked.ends_with("[phone]") && !masked.contains(|letter: char| letter.is_numeric()),
            "{text}: {masked}"
        );
        assert_eq!(mask(&format!("전화:{text}로")).matches("[phone]").count(), 1, "{text}");
    }
    for text in ["1588-1234", "12:34:56", "3.14159265", "010-123", "2026-11-22", "127.0.0.1:8080", "192.168.100.200"] {
        assert_eq!(mask(text), text);
    }
}

#[test]
fn cards() {
    for text in [
        "4111-1111-1111-1111",
        "4111 1111 1111 1111",
        "4111111111111111",
        "5500.0000.0000.0004",
        "3782-822463-10005",
        "378282246310005",
        "9409 1200 0000 0004",
    ] {
        assert_eq!(mask(text), "[card]", "{text}");
    }
    // A wrong Luhn sum, and microseconds since 1970 whose sum happens to be right.
    for text in ["4111 1111 1111 1112", "4111111111111112", "1763780125000001", "1763780125000002"] {
        assert_eq!(mask(text), text);
    }
}

#[test]
fn accounts() {
    for text in ["110-123-456789", "123456-01-123456", "1002-123-456789", "302-1234-5678-91", "3333-01-1234567"] {
        assert_eq!(mask(&format!("{text}으로 보내 주세요")), "[account]으로 보내 주세요", "{text}");
    }
    assert_eq!(mask("국민은행 계좌번호는 12345678901234 입니다"), "국민은행 계좌번호는 [account] 입니다");
    assert_eq!(mask("Bank account: 1234567890"), "Bank account: [account]");
    for text in ["주문 12345678901234", "2026-11-22-025525", "550e8400-e29b-41d4-a716-446655440000", "v1-22-333"] {
        assert_eq!(mask(text), text);
    }
}

#[test]
fn addresses_and_keys() {
    assert_eq!(mask("kim.min-su+a@mail.example.co.kr로 보내"), "[email]로 보내");
    assert_eq!(mask("메일은a_b@naver.com."), "메일은[email].");
    assert_eq!(mask("<01012345678@naver.com>"), "<[email]>");
    assert_eq!(mask("b@한글.kr"), "[email]");
    for text in ["@user", "a@b", "a@b.", "a @ b.com", "@@@@", "a@.c", "me@localhost:8080"] {
        assert_eq!(mask(text), text);
    }
    let key = format!("saem_AbCd12345678_{}", "x".repeat(43));
    assert_eq!(mask(&format!("Bearer {key}\n")), "Bearer saem_AbCd12345678_[key]\n");
    assert_eq!(mask("saem_store saem_store_keys"), "saem_store saem_store_keys");
}

#[test]
fn several_in_one_text_and_what_lies_between() {
    let text = "A 900101-1234567 B 010-1234-5678, 4111 1111 1111 1111 c@d.ef 110-123-456789 끝 42";
    assert_eq!(mask(text), "A [resident-number] B [phone], [card] [email] [account] 끝 42");
    // A number before a telephone number is not taken for its beginning.
    assert_eq!(mask("3 010-1234-5678"), "3 [phone]");
}

#[test]
fn a_text_without_any_is_not_copied() {
    assert!(matches!(mask("안녕하세요, 42번 고객님"), Cow::Borrowed("안녕하세요, 42번 고객님")));
}

#[test]
fn time_is_in_proportion_to_length() {
    for piece in ["1", "1-", "1 ", "@", "a@", "a.", "saem_", "saem_a_", "계좌 1234567890 ", "010-1234-"] {
        let text = piece.repeat(1_000_000 / piece.len());
        let begun = Instant::now();
        let masked = mask(&text);
        assert!(masked.len() <= 2 * text.len());
        assert!(begun.elapsed().as_secs_f64() < 5.0, "{piece}: {:?}", begun.elapsed());
    }
}

/// Digits in this form, separators and all.
fn shaped(form: &str, digits: &[u8]) -> String {
    let mut digits = digits.iter();
    form.chars().map(|letter| if letter == '#' { char::from(b'0' + digits.next().unwrap()) } else { letter }).collect()
}

proptest! {
    #[test]
    fn anything_may_come(text in any::<String>()) {
        let masked = mask(&text);
        if !text.contains(|letter: char| letter == '@' || letter.is_numeric()) && !text.contains("saem_") {
            prop_assert_eq!(masked, text.as_str());
        }
    }

    #[test]
    fn anything_number_like_may_come(text in "[-0-9a-c @.+)계좌０-９_]{0,60}") {
        let masked = mask(&text);
        // What stays is a part of the text, in its order.
        let mut letters = text.chars();
        let kept = ["[resident-number]", "[card]", "[phone]", "[account]", "[email]", "[key]"]
            .iter()
            .fold(masked.into_owned(), |text, label| text.replace(label, ""));
        prop_assert!(kept.chars().all(|letter| letters.any(|other| other == letter)));
    }

    #[test]
    fn planted_numbers_are_found(
        before in "[가-힣 ,.:]{0,12}",
        after in "([가-힣,:][가-힣 ,.:]{0,12})?",
        form in prop::sample::select(vec!["010-####-####", "010########", "02-###-####", "+82-10-####-####", "031.###.####"]),
        digits in prop::collection::vec(0_u8..10, 8),
    ) {
        let number = shaped(form, &digits);
        let masked = mask(&format!("{before}{number}{after}")).into_owned();
        prop_assert_eq!(masked, format!("{before}[phone]{after}"));
    }

    #[test]
    fn planted_resident_numbers_are_found(
        year in 0_u32..100, month in 1_u32..13, day in 1_u32..29, kind in 1_u32..9, rest in 0_u32..1_000_000,
        between in prop::sample::select(vec!["-", " ", " - ", "–"]),
    ) {
        let number = format!("{year:02}{month:02}{day:02}{between}{kind}{rest:06}");
        let masked = mask(&format!("주민번호는 {number}예요")).into_owned();
        prop_assert_eq!(masked, "주민번호는 [resident-number]예요");
    }
}
