//! The map of a file.

use std::fs;

use saem_formats::{FormatError, MappedFile};

#[test]
fn an_empty_file_has_no_bytes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mapped = MappedFile::open(file.path()).unwrap();
    assert!(mapped.bytes().is_empty());
    mapped.release(0..0);
}

#[test]
fn released_bytes_come_back() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let contents: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
    fs::write(file.path(), &contents).unwrap();
    let mapped = MappedFile::open(file.path()).unwrap();
    let borrowed = mapped.bytes();
    assert_eq!(borrowed, contents);
    for range in [0..100_000, 1..99_999, 5000..5001, 0..0] {
        mapped.prefetch(range.clone());
        mapped.release(range);
        assert_eq!(borrowed, contents);
    }
    // Ranges beyond the file are ignored, since `release` is a hint.
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    for range in [0..100_001, 200_000..300_000, usize::MAX - 1..usize::MAX, 10..5] {
        mapped.release(range);
    }
    assert_eq!(borrowed, contents);
}

/// Loading repacks tensor by tensor; without this, a model would be in memory twice.
#[test]
#[cfg(target_os = "linux")]
fn released_bytes_leave_the_memory_of_the_process() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), vec![1_u8; 8 << 20]).unwrap();
    let mapped = MappedFile::open(file.path()).unwrap();
    // Kilobytes of the map that the process holds.
    let resident = || -> u64 {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let name = file.path().to_str().unwrap();
        let line = maps.lines().skip_while(|line| !line.ends_with(name)).find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(mapped.bytes().iter().map(|byte| u64::from(*byte)).sum::<u64>(), 8 << 20);
    assert_eq!(resident(), 8 << 10);
    mapped.release(0..4 << 20);
    assert!(resident() <= 4 << 10, "{}", resident());
    assert_eq!(mapped.bytes()[0], 1);
}

/// Saem replaces files by renaming, and users delete models while they are loaded.
#[test]
fn a_deleted_file_stays_readable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model");
    fs::write(&path, b"weights").unwrap();
    let mapped = MappedFile::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"other").unwrap();
    assert_eq!(mapped.bytes(), b"weights");
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(MappedFile::open(directory.path()), Err(FormatError::NotAFile { .. })));
    assert!(matches!(MappedFile::open(directory.path().join("none")), Err(FormatError::NotFound { .. })));
    #[cfg(unix)]
    assert!(matches!(MappedFile::open("/dev/zero"), Err(FormatError::NotAFile { .. })));
}
