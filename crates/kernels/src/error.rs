//! What can be wrong with the operands of a kernel.

use crate::DataType;

/// An operand that does not fit the operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The byte buffer does not have the size that its shape and type ask for.
    #[error("{data_type} data for {elements} elements has {actual} bytes (expected {expected})")]
    ByteCount {
        /// Type of the data.
        data_type: DataType,
        /// Elements that the shape asks for.
        elements: usize,
        /// Bytes that these elements take.
        expected: usize,
        /// Bytes that were given.
        actual: usize,
    },
    /// Rows of a quantised type must hold whole blocks.
    #[error("{columns} columns do not fill whole blocks of {data_type} ({block} elements)")]
    PartialBlock {
        /// Type of the data.
        data_type: DataType,
        /// Elements in a row.
        columns: usize,
        /// Elements in a block of this type.
        block: usize,
    },
    /// The shape's element count does not fit in memory.
    #[error("a matrix of {rows} x {columns} elements is too large")]
    TooLarge {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
    },
    /// A value cannot be quantised.
    #[error("element {index} is not a finite number and cannot be quantised to {data_type}")]
    NotFinite {
        /// Type asked for.
        data_type: DataType,
        /// Position of the first such element.
        index: usize,
    },
    /// The system gives no such memory.
    #[error("cannot get {bytes} bytes of memory: {reason}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// The operating system's reason.
        reason: String,
    },
    /// Threads could not be started.
    #[error("cannot start {threads} compute threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The operating system's reason.
        reason: String,
    },
}
