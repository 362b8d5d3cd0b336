//! The hashes of rooms' passwords: Argon2id, and bcrypt for hashes that were made elsewhere.

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::room::Password;
use store::{Kind, Refusal, StoreError, random};

/// 401: the room needs a password, and none was sent.
pub(crate) const PASSWORD_REQUIRED: Refusal =
    Refusal::new(Kind::Unauthenticated, "password_required", "this room needs a password");
/// 401: the password is another one.
pub(crate) const PASSWORD_WRONG: Refusal =
    Refusal::new(Kind::Unauthenticated, "password_wrong", "this is not the room's password");

/// OWASP's smallest parameters of Argon2id: 19 MiB, two passes, one lane.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// The hash of a password, in the PHC form. It takes some 40 ms of a processor.
///
/// # Errors
/// [`StoreError::Internal`] if no salt can be made.
pub(crate) async fn hash(password: Password) -> Result<String, StoreError> {
    let salt = random::<SALT_BYTES>()?;
    off_the_loop(move || {
        let salt = SaltString::encode_b64(&salt).map_err(|error| internal(&error))?;
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| internal(&error))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon.hash_password(password.as_bytes(), &salt).map_err(|error| internal(&error))?;
        Ok(hash.to_string())
    })
    .await
}

/// Checks a password against a stored hash.
///
/// # Errors
/// [`PASSWORD_WRONG`]; [`StoreError::Corrupt`] if the hash is not readable.
pub(crate) async fn verify(password: Password, hash: String) -> Result<(), StoreError> {
    const CORRUPT: StoreError = StoreError::Corrupt { attribute: "passwordHash" };
    off_the_loop(move || {
        let is_right = if hash.starts_with("$2") {
            bcrypt::verify(password.as_bytes(), &hash).map_err(|_| CORRUPT)?
        } else {
            let hash = PasswordHash::new(&hash).ok().filter(|hash| hash.hash.is_some()).ok_or(CORRUPT)?;
            match Argon2::default().verify_password(password.as_bytes(), &hash) {
                Ok(()) => true,
                Err(argon2::password_hash::Error::Password) => false,
                Err(_) => return Err(CORRUPT),
            }
        };
        if is_right { Ok(()) } else { Err(PASSWORD_WRONG.into()) }
    })
    .await
}

/// Runs a computation that would hold up the other requests of this process.
async fn off_the_loop<T: Send + 'static>(
    compute: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(compute).await.map_err(|error| StoreError::Internal(error.into()))?
}

fn internal(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Internal(error.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_alone() {
        let longest = "x".repeat(127);
        for text in ["open sesame", "пароль 🔑", &format!("{longest}a")] {
            let made = hash(password(text)).await.unwrap();
            assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
            verify(password(text), made.clone()).await.unwrap();
            for other in ["open sesame ", &format!("{longest}b")] {
                assert!(verify(password(other), made.clone()).await.unwrap_err().is(PASSWORD_WRONG));
            }
        }
    }

    #[tokio::test]
    async fn a_hash_of_bcrypt_is_verified() {
        // From the test vectors of Openwall's crypt_blowfish.
        let made = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        verify(password("U*U"), made.to_owned()).await.unwrap();
        assert!(verify(password("U*V"), made.to_owned()).await.unwrap_err().is(PASSWORD_WRONG));
    }

    #[tokio::test]
    async fn a_hash_that_cannot_be_read_is_an_error_and_no_wrong_password() {
        for bad in ["", "secret", "$2b$", "$argon2id$v=19$m=1"] {
            let refused = verify(password("x"), bad.to_owned()).await.unwrap_err();
            assert!(matches!(refused, StoreError::Corrupt { .. }), "{bad}");
        }
    }
}
