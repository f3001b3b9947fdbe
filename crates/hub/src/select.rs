//! Which files of a repository make a model.

use crate::HubError;
use crate::hugging_face::RemoteFile;
use crate::name::is_safe_file_name;

/// The files to fetch, and the one to open; an empty entry stands for the directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) files: Vec<RemoteFile>,
    pub(crate) entry: String,
}

/// Quantisations in the order of preference where a repository offers several and none was asked for.
const PREFERRED: [&str; 4] = ["q4_k_m", "q4_k_s", "q4_0", "q8_0"];

/// Small files of a checkpoint that a model or its terms need.
const CHECKPOINT: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
];

/// Chooses from the files of a repository.
///
/// With `wanted`, the file of that name or the only GGUF file whose name contains it in any case (`Q8_0`). Without, the
/// preferred GGUF file; where there is none, the whole checkpoint (`config.json` and safetensors).
pub(crate) fn select(name: &str, files: &[RemoteFile], wanted: Option<&str>) -> Result<Selection, HubError> {
    let gguf: Vec<&RemoteFile> = files.iter().filter(|file| is_gguf(&file.path) && !is_projector(&file.path)).collect();
    let choose = |choices: &[&RemoteFile]| HubError::ChooseFile {
        name: name.to_owned(),
        choices: choices.iter().map(|file| file.path.clone()).collect(),
    };
    let chosen = if let Some(wanted) = wanted {
        if let Some(file) = files.iter().find(|file| file.path == wanted) {
            file
        } else {
            let wanted = wanted.to_ascii_lowercase();
            let matching: Vec<&RemoteFile> = first_parts(&gguf)
                .into_iter()
                .filter(|file| base(&file.path).to_ascii_lowercase().contains(&wanted))
                .collect();
            match matching.as_slice() {
                [file] => *file,
                [] => return Err(choose(&first_parts(&gguf))),
                several => return Err(choose(several)),
            }
        }
    } else if gguf.is_empty() {
        return checkpoint(files).ok_or_else(|| choose(&[]));
    } else {
        let first = first_parts(&gguf);
        match first.as_slice() {
            [file] => *file,
            several => PREFERRED
                .iter()
                .find_map(|kind| several.iter().copied().find(|file| file.path.to_ascii_lowercase().contains(kind)))
                .ok_or_else(|| choose(several))?,
        }
    };
    let parts = parts_of(chosen, files);
    let entry = base(&chosen.path).to_owned();
    if parts.iter().any(|file| !is_safe_file_name(base(&file.path))) {
        return Err(choose(&[]));
    }
    Ok(Selection { files: parts, entry })
}

/// Last part of a path in a repository.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn checkpoint(files: &[RemoteFile]) -> Option<Selection> {
    let wanted = |file: &&RemoteFile| {
        let path = file.path.as_str();
        let terms = ["LICENSE", "NOTICE"].iter().any(|start| path.to_ascii_uppercase().starts_with(start));
        is_safe_file_name(path) && (CHECKPOINT.contains(&path) || terms || path.ends_with(".safetensors"))
    };
    let files: Vec<RemoteFile> = files.iter().filter(wanted).cloned().collect();
    let has = |end: &str| files.iter().any(|file| file.path.ends_with(end));
    (has("config.json") && has(".safetensors")).then_some(Selection { files, entry: String::new() })
}

fn is_gguf(path: &str) -> bool {
    path.len() > 5 && path.to_ascii_lowercase().ends_with(".gguf")
}

/// Vision projectors and importance matrices are GGUF files too, but no language models.
fn is_projector(path: &str) -> bool {
    let name = base(path).to_ascii_lowercase();
    name.contains("mmproj") || name.contains("imatrix")
}

/// Of a file that is split in parts, only the first.
fn first_parts<'a>(files: &[&'a RemoteFile]) -> Vec<&'a RemoteFile> {
    files.iter().copied().filter(|file| split(&file.path).is_none_or(|(_, part, _)| part == 1)).collect()
}

/// The file, or all parts of it in order.
fn parts_of(chosen: &RemoteFile, files: &[RemoteFile]) -> Vec<RemoteFile> {
    let Some((stem, _, count)) = split(&chosen.path) else { return vec![chosen.clone()] };
    let mut parts: Vec<(u32, &RemoteFile)> = files
        .iter()
        .filter_map(|file| {
            let (other, part, total) = split(&file.path)?;
            (other == stem && total == count).then_some((part, file))
        })
        .collect();
    parts.sort_by_key(|(part, _)| *part);
    parts.into_iter().map(|(_, file)| file.clone()).collect()
}

/// `name-00002-of-00005.gguf` is (`name`, 2, 5).
fn split(path: &str) -> Option<(&str, u32, u32)> {
    let stem = path.get(..path.len().checked_sub(5)?)?;
    let (head, count) = stem.rsplit_once("-of-")?;
    let (name, part) = head.rsplit_once('-')?;
    (part.len() == 5 && count.len() == 5).then_some(())?;
    Some((name, part.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{RemoteFile, select};

    fn files(names: &[&str]) -> Vec<RemoteFile> {
        let file = |name: &&str| RemoteFile { path: (*name).to_owned(), bytes: Some(1), sha256: None };
        names.iter().map(file).collect()
    }

    fn chosen(names: &[&str], wanted: Option<&str>) -> Result<(String, Vec<String>), Vec<String>> {
        match select("o/r", &files(names), wanted) {
            Ok(selection) => Ok((selection.entry, selection.files.into_iter().map(|file| file.path).collect())),
            Err(crate::HubError::ChooseFile { choices, .. }) => Err(choices),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_only_gguf_file_needs_no_choice() {
        let found = chosen(&["README.md", "a.gguf", "mmproj-a.gguf"], None);
        assert_eq!(found, Ok(("a.gguf".into(), vec!["a.gguf".into()])));
    }

    #[test]
    fn of_several_quantisations_q4_k_m_is_preferred_and_others_can_be_named() {
        let names = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-F16.gguf"];
        assert_eq!(chosen(&names, None).unwrap().0, "m-Q4_K_M.gguf");
        assert_eq!(chosen(&names, Some("q8_0")).unwrap().0, "m-Q8_0.gguf");
        assert_eq!(chosen(&names, Some("m-F16.gguf")).unwrap().0, "m-F16.gguf");
        assert_eq!(chosen(&names, Some("q2_k")).unwrap_err().len(), 3);
        assert_eq!(chosen(&["m-F16.gguf", "m-F32.gguf"], None).unwrap_err().len(), 2);
    }

    #[test]
    fn every_part_of_a_split_file_is_fetched_in_order() {
        let names = ["d/m-00002-of-00002.gguf", "d/m-00001-of-00002.gguf", "d/n-00001-of-00003.gguf"];
        let (entry, parts) = chosen(&names, Some("m-")).unwrap();
        assert_eq!(entry, "m-00001-of-00002.gguf");
        assert_eq!(parts, ["d/m-00001-of-00002.gguf", "d/m-00002-of-00002.gguf"]);
    }

    #[test]
    fn a_checkpoint_is_its_weights_tokenizer_and_terms_but_no_code() {
        let names =
            ["config.json", "model.safetensors", "tokenizer.json", "modeling.py", "LICENSE", "../evil.safetensors"];
        let (entry, kept) = chosen(&names, None).unwrap();
        assert_eq!(entry, "");
        assert_eq!(kept, ["config.json", "model.safetensors", "tokenizer.json", "LICENSE"]);
        assert!(chosen(&["config.json", "pytorch_model.bin"], None).is_err());
    }
}
