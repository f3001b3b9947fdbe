//! The ids and texts that the reference tokenizers gave for the fixtures.

use saem_tokenizer::Tokenizer;
use serde::Deserialize;

use crate::fixtures;

/// Ids without reading special tokens; with that and the tokens around a text, if those differ; decoded text, if it
/// differs from the text.
type Row = (Vec<u32>, Option<Vec<u32>>, Option<String>);

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    families: std::collections::BTreeMap<String, Vec<Row>>,
    gguf: std::collections::BTreeMap<String, Gguf>,
}

/// Name of the pre-tokeniser, and ids where they differ from those of `tokenizers`.
type Gguf = (String, Vec<Option<Vec<u32>>>);

fn expected() -> Expected {
    serde_json::from_slice(&fixtures::read("expected.json")).unwrap()
}

#[test]
fn every_family_gives_the_ids_and_texts_of_tokenizers() {
    let expected = expected();
    assert_eq!(expected.families.len(), fixtures::FAMILIES.len());
    for (family, rows) in &expected.families {
        let tokenizer = fixtures::load(family);
        for (text, (plain, parsed, decoded)) in expected.texts.iter().zip(rows) {
            assert_eq!(&tokenizer.encode(text, false, false), plain, "{family}: {text:?}");
            let parsed = parsed.as_ref().unwrap_or(plain);
            assert_eq!(&tokenizer.encode(text, true, true), parsed, "{family}, parsed: {text:?}");
            let decoded = decoded.as_ref().unwrap_or(text);
            assert_eq!(&tokenizer.decode(plain, false), decoded, "{family}, decoded: {text:?}");
        }
    }
}

#[test]
fn vocabularies_of_gguf_files_give_the_ids_of_llama_cpp() {
    let expected = expected();
    for (family, (pre, ids)) in &expected.gguf {
        let tokenizer = Tokenizer::from_parts(fixtures::parts(family, pre)).unwrap();
        let rows = &expected.families[family];
        for ((text, theirs), (plain, _, _)) in expected.texts.iter().zip(ids).zip(rows) {
            let wanted = theirs.as_ref().unwrap_or(plain);
            assert_eq!(&tokenizer.encode(text, false, false), wanted, "{family} as {pre}: {text:?}");
        }
    }
}

/// The cache is shared by all tokenizers of a thread; it must not mix them up, nor must threads.
#[test]
fn tokenizers_in_turn_and_in_parallel_do_not_disturb_each_other() {
    let expected = expected();
    let tokenizers: Vec<(Tokenizer, &Vec<Row>)> =
        expected.families.iter().map(|(family, rows)| (fixtures::load(family), rows)).collect();
    std::thread::scope(|scope| {
        for shift in 0..4 {
            let (tokenizers, texts) = (&tokenizers, &expected.texts);
            scope.spawn(move || {
                for (at, text) in texts.iter().enumerate().cycle().skip(shift * 17).take(texts.len() * 2) {
                    for (tokenizer, rows) in tokenizers {
                        assert_eq!(tokenizer.encode(text, false, false), rows[at].0);
                    }
                }
            });
        }
    });
}
