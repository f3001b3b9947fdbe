//! Training against PyTorch and against itself.

mod gradients;
