//! The key that signs tokens. Only the functions that issue tokens may read its item.

use super::item::{Item, binary, bytes};
use super::keys;
use super::table::{Table, Write};
use crate::{Kind, Refusal, StoreError};
use aws_sdk_dynamodb::Client;
use domain::{Refused, TokenKeys, TokenSigner};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// 503: the stage has no key that fits its `TOKEN_KEYS`.
pub const NO_SIGNING_KEY: Refusal = Refusal::new(
    Kind::Unavailable,
    "no_signing_key",
    "this stage cannot sign tokens; its operator makes a key with `greenroom keys new` and sets TOKEN_KEYS",
);

/// The attributes of the item.
const SEED: &str = "seed";
const BEFORE: &str = "seedBefore";

/// Reads the key that signs tokens, once per process.
#[derive(Debug, Clone)]
pub struct Signing {
    table: Table,
    signer: Arc<OnceCell<Arc<TokenSigner>>>,
}

/// The stored keys: the current one, and the one before the last rotation.
#[derive(Debug)]
pub struct SigningKeys {
    current: TokenSigner,
    before: Option<TokenSigner>,
}

impl SigningKeys {
    /// The public keys in the order of `TOKEN_KEYS`: the first one belongs to the key that signs.
    #[must_use]
    pub fn public(&self) -> TokenKeys {
        TokenKeys::of(std::iter::once(&self.current).chain(&self.before))
    }

    /// The public keys while both verify and the older one still signs.
    #[must_use]
    pub fn public_before_the_switch(&self) -> TokenKeys {
        TokenKeys::of(self.before.iter().chain([&self.current]))
    }
}

impl Signing {
    /// The key in `table`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { table: Table::new(client, table), signer: Arc::default() }
    }

    /// The stored key whose public half is the first of `keys`, so that a rotation takes effect for signing and
    /// verifying at once. The first call reads it, and the process keeps it.
    ///
    /// # Errors
    /// [`NO_SIGNING_KEY`] if there is none.
    pub async fn signer(&self, keys: &TokenKeys) -> Result<Arc<TokenSigner>, StoreError> {
        let read = || async {
            let SigningKeys { current, before } = self.read().await?.ok_or(NO_SIGNING_KEY)?;
            let mut stored = std::iter::once(current).chain(before);
            Ok::<_, StoreError>(Arc::new(stored.find(|signer| keys.begin_with(signer)).ok_or(NO_SIGNING_KEY)?))
        };
        self.signer.get_or_try_init(read).await.cloned()
    }

    /// The stored keys; none if there are none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they are not readable.
    pub async fn read(&self) -> Result<Option<SigningKeys>, StoreError> {
        let Some(item) = self.table.get_now(keys::signing()).await? else { return Ok(None) };
        let before = item.contains_key(BEFORE).then(|| key(&item, BEFORE)).transpose()?;
        Ok(Some(SigningKeys { current: key(&item, SEED)?, before }))
    }

    /// Stores a new key, made of these random bytes. The one before it still verifies.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the bytes are not random; see [`StoreError`].
    pub async fn rotate(&self, seed: [u8; 32]) -> Result<SigningKeys, StoreError> {
        let before = self.table.get_now(keys::signing()).await?.map(|item| bytes::<32>(&item, SEED)).transpose()?;
        let write = Write::put(keys::signing()).set(SEED, binary(&seed));
        let write = write.set_or_remove(BEFORE, before.as_ref().map(|seed| binary(seed)));
        self.table.write(write).await.map(drop)?;
        Ok(SigningKeys { current: signer(&seed)?, before: before.as_ref().map(signer).transpose()? })
    }
}

fn key(item: &Item, attribute: &'static str) -> Result<TokenSigner, StoreError> {
    TokenSigner::from_seed(&bytes(item, attribute)?).map_err(|_| StoreError::Corrupt { attribute })
}

fn signer(seed: &[u8; 32]) -> Result<TokenSigner, StoreError> {
    TokenSigner::from_seed(seed).map_err(|error: Refused| StoreError::Internal(error.into()))
}
