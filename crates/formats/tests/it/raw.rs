//! Builds GGUF and safetensors files field by field, independently of the crate's writers, so that any field can be wrong.

/// Bytes that grow by fields.
#[derive(Clone, Default)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// Magic, version 3 and the two counts.
    pub(crate) fn gguf(tensors: u64, entries: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(entries)
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A string with its length.
    pub(crate) fn string(self, text: impl AsRef<[u8]>) -> Self {
        self.u64(text.as_ref().len() as u64).bytes(text.as_ref())
    }

    /// A key with the number of its value's type.
    pub(crate) fn key(self, key: &str, value_type: u32) -> Self {
        self.string(key).u32(value_type)
    }

    /// An entry of the tensor table.
    pub(crate) fn tensor(self, name: &str, shape: &[u64], type_id: u32, offset: u64) -> Self {
        let head = self.string(name).u32(shape.len() as u32);
        shape.iter().fold(head, |raw, size| raw.u64(*size)).u32(type_id).u64(offset)
    }

    /// Zeros up to a multiple of `alignment`.
    pub(crate) fn pad(mut self, alignment: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }

    pub(crate) fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A safetensors file from its header as text.
pub(crate) fn safetensors(header: &str, data_bytes: usize) -> Vec<u8> {
    Raw::default().u64(header.len() as u64).bytes(header.as_bytes()).zeros(data_bytes).0
}

// Numbers of the value types, as the format's document lists them.
pub(crate) const U8: u32 = 0;
pub(crate) const U32: u32 = 4;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;
