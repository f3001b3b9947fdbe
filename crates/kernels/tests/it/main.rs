//! Integration tests of the kernels, one module per concern.

mod blocks;
