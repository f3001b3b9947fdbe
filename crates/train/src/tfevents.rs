//! Events for TensorBoard: a file of records that only grows.
//!
//! A record is a length, the bytes, and a checksum of each (TensorFlow's `record_writer.h`); the bytes are protocol
//! buffers of `event.proto` and `summary.proto`, of which four fields are needed. Each process begins a file of its own,
//! so that nothing that an earlier one wrote is touched; readers take a record that a crash cut short for the end.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};

use crate::TrainError;

const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// What TensorBoard knows a file of events by.
const VERSION: &[u8] = b"brain.Event:2";

/// A file of events, open for more.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: File,
    path: std::path::PathBuf,
}

impl EventFile {
    /// Begins a file in a folder.
    pub(crate) fn create(folder: &Path) -> Result<Self, TrainError> {
        let seconds = now() as u64;
        let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
        let host: String =
            host.trim().chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
        let host = if host.is_empty() { "localhost" } else { &host };
        let name = format!("events.out.tfevents.{seconds}.{host}.{}", std::process::id());
        // A process that goes on in the same second gets another name.
        let names = std::iter::once(name.clone()).chain((1..1000).map(|number| format!("{name}.{number}")));
        let path =
            names.map(|name| folder.join(name)).find(|path| !path.exists()).unwrap_or_else(|| folder.join(&name));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| TrainError::Io { path: path.clone(), source })?;
        let mut events = Self { file, path };
        events.write(0, &field_bytes(3, VERSION))?;
        Ok(events)
    }

    /// Adds numbers by name, for a step.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), TrainError> {
        let mut summary = Vec::new();
        for (tag, number) in values {
            let mut value = field_bytes(1, tag.as_bytes());
            value.push(2 << 3 | 5);
            value.extend((*number as f32).to_le_bytes());
            summary.extend(field_bytes(1, &value));
        }
        self.write(step, &field_bytes(5, &summary))
    }

    fn write(&mut self, step: u64, what: &[u8]) -> Result<(), TrainError> {
        let mut event = vec![1 << 3 | 1];
        event.extend(now().to_le_bytes());
        event.push(2 << 3);
        varint(step, &mut event);
        event.extend(what);
        let length = (event.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(&length).to_le_bytes());
        record.extend(&event);
        record.extend(masked(&event).to_le_bytes());
        // One call for the whole record: a crash leaves all of it or a part at the end.
        self.file.write_all(&record).map_err(|source| TrainError::Io { path: self.path.clone(), source })
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A checksum of something that may hold checksums itself (TensorFlow's `crc32c.h`).
fn masked(bytes: &[u8]) -> u32 {
    CASTAGNOLI.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A field with a length.
fn field_bytes(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_frames_them() {
        // RFC 3720, B.4: the checksum of 32 zeros.
        assert_eq!(CASTAGNOLI.checksum(&[0; 32]), 0x8a91_36aa);
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        events.scalars(300, &[("loss", 1.5), ("rate", 0.25)]).unwrap();
        let second = EventFile::create(folder.path()).unwrap();
        assert_ne!(events.path, second.path);
        let bytes = fs::read(&events.path).unwrap();
        let (mut at, mut records) = (0, Vec::new());
        while at < bytes.len() {
            let length: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
            let end = at + 12 + u64::from_le_bytes(length) as usize;
            let data = &bytes[at + 12..end];
            assert_eq!(bytes[at + 8..at + 12], masked(&length).to_le_bytes());
            assert_eq!(bytes[end..end + 4], masked(data).to_le_bytes());
            records.push(data.to_vec());
            at = end + 4;
        }
        assert_eq!(records.len(), 2);
        assert_eq!(records[0][9..], [&[0x10, 0, 0x1a, 13][..], VERSION].concat());
        let loss = [&[0x0a, 4][..], b"loss", &[0x15], &1.5_f32.to_le_bytes()].concat();
        let rate = [&[0x0a, 4][..], b"rate", &[0x15], &0.25_f32.to_le_bytes()].concat();
        let summary = [&[0x0a, 11][..], &loss, &[0x0a, 11], &rate].concat();
        // Step 300 takes two bytes.
        assert_eq!(records[1][9..], [&[0x10, 0xac, 0x02, 0x2a, 26][..], &summary].concat());
    }
}
