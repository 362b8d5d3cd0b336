//! Randomness that nobody can guess, from the operating system.

use crate::StoreError;

/// `N` random bytes.
///
/// # Errors
/// [`StoreError::Internal`] if the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::getrandom(&mut bytes).map_err(|error| StoreError::Internal(error.into()))?;
    Ok(bytes)
}
