//! What a sentence is about, by its words: the vectors that segmentation compares.
//!
//! Words of Hangul change their endings ("노트를", "노트가"), so they count by their pairs of syllables; other words
//! count as they are. A word that many sentences of the text have says little about any of them (inverse document
//! frequency).

use std::collections::{HashMap, HashSet};

/// Numbers of a vector; words fall into them by their hash.
const SIZE: usize = 1024;

/// A vector for each sentence.
#[must_use]
pub(crate) fn vectors(sentences: &[&str]) -> Vec<Vec<f32>> {
    let features: Vec<Vec<u64>> = sentences.iter().map(|sentence| features(sentence)).collect();
    let mut holders: HashMap<u64, u32> = HashMap::new();
    for sentence in &features {
        for feature in sentence.iter().collect::<HashSet<_>>() {
            *holders.entry(*feature).or_default() += 1;
        }
    }
    let count = sentences.len() as f32;
    let vector = |sentence: &Vec<u64>| {
        let mut vector = vec![0.0_f32; SIZE];
        for feature in sentence {
            let holders = holders.get(feature).copied().unwrap_or(1) as f32;
            let place = usize::try_from(feature % SIZE as u64).unwrap_or_default();
            if let Some(value) = vector.get_mut(place) {
                // Never 0, so that a text of one sentence said twice is similar to itself.
                *value += (1.0 + count / holders).ln();
            }
        }
        vector
    };
    features.iter().map(vector).collect()
}

fn features(sentence: &str) -> Vec<u64> {
    let mut features = Vec::new();
    for word in sentence.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
        if letters.iter().any(|letter| ('가'..='힣').contains(letter)) && letters.len() > 1 {
            features.extend(letters.windows(2).map(hash));
        } else {
            features.push(hash(&letters));
        }
    }
    features
}

/// FNV-1a over the letters: the same on every machine, so that a text is parted the same way everywhere.
fn hash(letters: &[char]) -> u64 {
    letters.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, letter| {
        (hash ^ u64::from(u32::from(*letter))).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::segmentation::{Settings, segment, sentences_of};
    use super::*;

    fn borders(text: &str, count: usize) -> Vec<usize> {
        let settings = Settings { alpha: Some(0.0), count: Some(count), sizes: None };
        let sentences = sentences_of(text, &settings).unwrap();
        let lengths: Vec<usize> = sentences.iter().map(|sentence| sentence.chars().count()).collect();
        segment(&lengths, &vectors(&sentences), &settings)
    }

    #[test]
    fn korean_topics_part() {
        let text = "김치는 배추를 소금에 절여 만든다. 절인 배추에 고춧가루와 마늘을 넣는다. 김치는 항아리에서 배추와 함께 익는다. \
            기차는 서울에서 부산까지 간다. 부산으로 가는 기차는 두 시간 반이 걸린다. 서울역에서 기차표를 살 수 있다. \
            축구는 열한 명이 한다. 축구 경기는 구십 분 동안 열린다. 골을 많이 넣은 팀이 축구 경기를 이긴다.";
        assert_eq!(borders(text, 3), [0, 3, 6]);
    }

    #[test]
    fn english_topics_part() {
        let text = "The garden has red roses. Roses need water in the garden. Water the roses every morning. \
            A computer has a processor. The processor of a computer runs programs. Programs are stored on the computer.";
        assert_eq!(borders(text, 2), [0, 3]);
    }

    #[test]
    fn endings_do_not_hide_a_word() {
        let both = vectors(&["노트를 만든다", "노트가 있다", "바다로 간다"]);
        let dot = |a: usize, b: usize| both[a].iter().zip(&both[b]).map(|(a, b)| a * b).sum::<f32>();
        assert!(dot(0, 1) > 0.0);
        assert_eq!(dot(1, 2), 0.0);
    }
}
