//! Randomness that nobody can guess, from the operating system.

use crate::StateError;

/// `N` random bytes.
///
/// # Errors
/// [`StateError::Internal`] if the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], StateError> {
    let mut bytes = [0; N];
    getrandom::getrandom(&mut bytes).map_err(|error| StateError::Internal(error.into()))?;
    Ok(bytes)
}
