//! Unpredictable random bytes from the operating system.

use crate::StoreError;

/// `N` random bytes.
///
/// # Errors
/// [`StoreError::Internal`] if the operating system provides none.
pub fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::getrandom(&mut bytes).map_err(|error| StoreError::Internal(error.into()))?;
    Ok(bytes)
}
