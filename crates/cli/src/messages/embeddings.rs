//! What is said about vectors of sentences.

use crate::language::Language;

messages! {
    embed_summary(texts: usize, tokens: usize, seconds: &str) {
        en: "{texts} texts, {tokens} tokens, {seconds} s",
        ko: "글 {texts}개, 토큰 {tokens}개, {seconds}초",
    }
    not_an_encoder_hint() {
        en: "saem embed needs an embedding model, such as use-multilingual",
        ko: "saem embed에는 use-multilingual 같은 임베딩 모델이 필요합니다",
    }
}
