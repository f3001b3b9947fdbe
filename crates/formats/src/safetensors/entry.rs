//! One entry of the JSON header: a tensor's type, shape and place.

use std::fmt;

use saem_kernels::DataType;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::shown;

/// Far more dimensions than any model has.
pub(super) const MOST_DIMENSIONS: usize = 8;

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// A type that the kernels read.
    Supported(DataType),
    /// The name of a type that the format defines and the kernels do not read.
    Unsupported(&'static str),
}

/// Name and bits of an element. A type of less than 8 bits must fill whole bytes.
fn stored_type(name: &str) -> Option<(Stored, usize)> {
    let unsupported = |name, bits| Some((Stored::Unsupported(name), bits));
    match name {
        "F32" => Some((Stored::Supported(DataType::F32), 32)),
        "F16" => Some((Stored::Supported(DataType::F16), 16)),
        "BF16" => Some((Stored::Supported(DataType::Bf16), 16)),
        "F64" => unsupported("F64", 64),
        "C64" => unsupported("C64", 64),
        "I64" => unsupported("I64", 64),
        "U64" => unsupported("U64", 64),
        "I32" => unsupported("I32", 32),
        "U32" => unsupported("U32", 32),
        "I16" => unsupported("I16", 16),
        "U16" => unsupported("U16", 16),
        "I8" => unsupported("I8", 8),
        "U8" => unsupported("U8", 8),
        "BOOL" => unsupported("BOOL", 8),
        "F8_E4M3" => unsupported("F8_E4M3", 8),
        "F8_E5M2" => unsupported("F8_E5M2", 8),
        "F8_E4M3FNUZ" => unsupported("F8_E4M3FNUZ", 8),
        "F8_E5M2FNUZ" => unsupported("F8_E5M2FNUZ", 8),
        "F8_E8M0" => unsupported("F8_E8M0", 8),
        "F6_E2M3" => unsupported("F6_E2M3", 6),
        "F6_E3M2" => unsupported("F6_E3M2", 6),
        "F4" => unsupported("F4", 4),
        _ => None,
    }
}

/// An entry as it is written; what is wrong in its values is kept until the name is at hand.
pub(super) struct RawEntry {
    /// The type and its bits, or the name of an unknown type.
    pub(super) data_type: Result<(Stored, usize), String>,
    /// `None` where there are too many dimensions.
    pub(super) shape: Option<Vec<usize>>,
    pub(super) offsets: [u64; 2],
}

/// Reads an entry.
pub(super) struct EntrySeed;

impl<'de> DeserializeSeed<'de> for EntrySeed {
    type Value = RawEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawEntry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed {
    type Value = RawEntry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a tensor: dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEntry, A::Error> {
        let (mut data_type, mut shape, mut offsets) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let again = match key.as_str() {
                "dtype" => {
                    let name: String = map.next_value()?;
                    data_type.replace(stored_type(&name).ok_or_else(|| shown(name.as_bytes()))).is_some()
                }
                "shape" => shape.replace(map.next_value_seed(ShapeSeed)?).is_some(),
                "data_offsets" => offsets.replace(map.next_value::<[u64; 2]>()?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if again {
                return Err(A::Error::custom(format_args!("{key} occurs twice")));
            }
        }
        Ok(RawEntry {
            data_type: data_type.ok_or_else(|| A::Error::missing_field("dtype"))?,
            shape: shape.ok_or_else(|| A::Error::missing_field("shape"))?,
            offsets: offsets.ok_or_else(|| A::Error::missing_field("data_offsets"))?,
        })
    }
}

/// A list of dimensions that stops growing where there are too many.
struct ShapeSeed;

impl<'de> DeserializeSeed<'de> for ShapeSeed {
    type Value = Option<Vec<usize>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed {
    type Value = Option<Vec<usize>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut shape = Vec::new();
        let mut fits = true;
        while let Some(size) = sequence.next_element::<usize>()? {
            fits &= shape.len() < MOST_DIMENSIONS;
            if fits {
                shape.push(size);
            }
        }
        Ok(fits.then_some(shape))
    }
}
