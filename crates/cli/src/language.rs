//! The language in which Saem speaks to its user.

use std::env;

/// A language that every message exists in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// English, wherever nothing asks for Korean.
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// The user's language: `$SAEM_LANG`, else the locale of messages as POSIX finds it.
    pub(crate) fn from_env() -> Self {
        Self::choose(|name| env::var(name).ok())
    }

    fn choose(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let value = ["SAEM_LANG", "LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set).unwrap_or_default();
        if value.to_ascii_lowercase().starts_with("ko") { Self::Korean } else { Self::English }
    }
}

#[cfg(test)]
mod tests {
    use super::Language;

    fn chosen(variables: &[(&str, &str)]) -> Language {
        Language::choose(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_locale_decides_and_saem_lang_overrides_it() {
        assert_eq!(chosen(&[]), Language::English);
        assert_eq!(chosen(&[("LANG", "C.UTF-8")]), Language::English);
        assert_eq!(chosen(&[("LANG", "ko_KR.UTF-8")]), Language::Korean);
        assert_eq!(chosen(&[("LC_ALL", "en_US.UTF-8"), ("LANG", "ko_KR.UTF-8")]), Language::English);
        assert_eq!(chosen(&[("LC_ALL", ""), ("LC_MESSAGES", "ko_KR"), ("LANG", "en")]), Language::Korean);
        assert_eq!(chosen(&[("SAEM_LANG", "en"), ("LC_ALL", "ko_KR.UTF-8")]), Language::English);
        assert_eq!(chosen(&[("SAEM_LANG", "ko")]), Language::Korean);
    }
}
