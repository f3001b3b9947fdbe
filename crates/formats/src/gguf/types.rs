//! Numbers of the tensor types in GGUF files (`ggml.h`, `enum ggml_type`).

use saem_kernels::DataType;

/// What a type number in a file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeNumber {
    /// A type that the kernels read.
    Supported(DataType),
    /// A type that GGML defines (or defined) and the kernels do not read: its name, and what to use in its place.
    Named(&'static str, &'static str),
    /// No known type.
    Unknown,
}

/// The number of a tensor type in a GGUF file.
#[must_use]
pub const fn type_id(data_type: DataType) -> u32 {
    match data_type {
        DataType::F32 => 0,
        DataType::F16 => 1,
        DataType::Q4_0 => 2,
        DataType::Q4_1 => 3,
        DataType::Q5_0 => 6,
        DataType::Q5_1 => 7,
        DataType::Q8_0 => 8,
        DataType::Q2K => 10,
        DataType::Q3K => 11,
        DataType::Q4K => 12,
        DataType::Q5K => 13,
        DataType::Q6K => 14,
        DataType::Iq4Nl => 20,
        DataType::Iq4Xs => 23,
        DataType::Bf16 => 30,
    }
}

/// The tensor type with this number in a GGUF file, where Saem reads it.
#[must_use]
pub fn data_type(id: u32) -> Option<DataType> {
    DataType::ALL.into_iter().find(|data_type| type_id(*data_type) == id)
}

/// What the number `id` stands for.
pub(super) fn resolve(id: u32) -> TypeNumber {
    const SMALL: &str = "Q2_K or Q3_K_M";
    const MIDDLE: &str = "Q4_K_M or Q8_0";
    const FLOAT: &str = "F32, F16 or BF16";
    if let Some(data_type) = data_type(id) {
        return TypeNumber::Supported(data_type);
    }
    let (name, instead) = match id {
        4 => ("Q4_2 (removed from GGML)", MIDDLE),
        5 => ("Q4_3 (removed from GGML)", MIDDLE),
        9 => ("Q8_1", MIDDLE),
        15 => ("Q8_K", MIDDLE),
        16 => ("IQ2_XXS", SMALL),
        17 => ("IQ2_XS", SMALL),
        18 => ("IQ3_XXS", SMALL),
        19 => ("IQ1_S", SMALL),
        21 => ("IQ3_S", SMALL),
        22 => ("IQ2_S", SMALL),
        24 => ("I8", FLOAT),
        25 => ("I16", FLOAT),
        26 => ("I32", FLOAT),
        27 => ("I64", FLOAT),
        28 => ("F64", FLOAT),
        29 => ("IQ1_M", SMALL),
        31 => ("Q4_0_4_4 (removed from GGML)", "Q4_0"),
        32 => ("Q4_0_4_8 (removed from GGML)", "Q4_0"),
        33 => ("Q4_0_8_8 (removed from GGML)", "Q4_0"),
        34 => ("TQ1_0", SMALL),
        35 => ("TQ2_0", SMALL),
        36 => ("IQ4_NL_4_4 (removed from GGML)", "IQ4_NL"),
        37 => ("IQ4_NL_4_8 (removed from GGML)", "IQ4_NL"),
        38 => ("IQ4_NL_8_8 (removed from GGML)", "IQ4_NL"),
        39 => ("MXFP4", MIDDLE),
        40 => ("NVFP4", MIDDLE),
        41 => ("Q1_0", SMALL),
        _ => return TypeNumber::Unknown,
    };
    TypeNumber::Named(name, instead)
}
