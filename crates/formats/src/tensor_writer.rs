//! The data part of a file that is being written: tensors one after the other, in the order in which they were announced.

use std::io::Write;

use crate::WriteError;

/// The bytes of one announced tensor.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) len: u64,
    /// Zeros that follow the tensor.
    pub(crate) padding: u64,
}

/// Takes the tensors' bytes, whole or in pieces, so that no model has to fit into memory.
#[derive(Debug)]
pub struct TensorWriter<W> {
    out: W,
    segments: Vec<Segment>,
    /// Which segment is being written.
    current: usize,
    /// Bytes of it that were written.
    written: u64,
}

impl<W: Write> TensorWriter<W> {
    pub(crate) fn new(out: W, segments: Vec<Segment>) -> Self {
        Self { out, segments, current: 0, written: 0 }
    }

    /// The tensor whose bytes come next, and how many of them are missing. `None` at the end.
    #[must_use]
    pub fn next_tensor(&self) -> Option<(&str, u64)> {
        self.segments.get(self.current).map(|segment| (segment.name.as_str(), segment.len - self.written))
    }

    /// Writes the next tensor as a whole.
    ///
    /// # Errors
    /// Where the number of bytes is not the announced one, and where the output fails.
    pub fn write_tensor(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        match self.next_tensor() {
            Some((name, missing)) if missing != bytes.len() as u64 => {
                Err(WriteError::WrongLength { name: name.to_owned(), expected: missing, actual: bytes.len() as u64 })
            }
            _ => self.write_piece(bytes),
        }
    }

    /// Writes the next bytes of the next tensor; the tensor after it follows once it is whole.
    ///
    /// # Errors
    /// Where more bytes are given than the tensor has left, and where the output fails.
    pub fn write_piece(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let given = bytes.len() as u64;
        let Some(segment) = self.segments.get(self.current) else {
            return if given == 0 { Ok(()) } else { Err(WriteError::TooMuchData { extra: given }) };
        };
        let after = self.written.saturating_add(given);
        if after > segment.len {
            return Err(WriteError::WrongLength { name: segment.name.clone(), expected: segment.len, actual: after });
        }
        self.out.write_all(bytes)?;
        self.written = after;
        if after == segment.len {
            write_zeros(&mut self.out, segment.padding)?;
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Checks that every tensor is whole, flushes the output and gives it back.
    ///
    /// # Errors
    /// Where a tensor is missing, and where the output fails.
    pub fn finish(mut self) -> Result<W, WriteError> {
        // Tensors without elements need no call.
        while matches!(self.next_tensor(), Some((_, 0))) {
            self.write_piece(&[])?;
        }
        if let Some((name, missing)) = self.next_tensor() {
            return Err(WriteError::Incomplete { name: name.to_owned(), missing });
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Writes `count` zeros.
pub(crate) fn write_zeros(out: &mut impl Write, count: u64) -> Result<(), WriteError> {
    const ZEROS: [u8; 64] = [0; 64];
    let mut left = count;
    while left > 0 {
        let piece = left.min(ZEROS.len() as u64);
        out.write_all(ZEROS.get(..piece as usize).unwrap_or(&ZEROS))?;
        left -= piece;
    }
    Ok(())
}
