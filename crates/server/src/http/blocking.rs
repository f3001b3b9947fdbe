//! Work that takes its time.

use crate::ApiError;

/// Runs what computes for longer than the runtime's threads should: a template is a program, a long text is work, and
/// neither may hold up the threads that move bytes.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ApiError::internal()))
}
