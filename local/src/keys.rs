//! The keys that sign and verify tokens: made at the runner's first start, and by `greenroom keys`.

use crate::snapshots::{CommandError, Source};
use config::Config;
use std::time::Duration;
use store::StoreError;
use store::dynamodb::{Signing, SigningKeys};

/// How long a command waits while another process uses the data directory.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stored keys. A table that has none gets one.
///
/// # Errors
/// See [`StoreError`].
pub async fn ensure(signing: &Signing) -> Result<SigningKeys, StoreError> {
    match signing.read().await? {
        Some(keys) => Ok(keys),
        None => signing.rotate(store::random()?).await,
    }
}

/// Makes the first key of a table. Returns what to deploy, for people.
///
/// # Errors
/// [`CommandError::HasKeys`] if there is one already.
pub async fn new(source: &Source) -> Result<String, CommandError> {
    with(source, async |signing| {
        if signing.read().await?.is_some() {
            return Err(CommandError::HasKeys);
        }
        let keys = signing.rotate(store::random()?).await?;
        Ok(format!("made a key that signs tokens; deploy with TokenKeys={}", keys.public()))
    })
    .await
}

/// Makes a new key beside the current one. Returns what to deploy, for people.
///
/// # Errors
/// See [`CommandError`].
pub async fn rotate(source: &Source) -> Result<String, CommandError> {
    let on_aws = source.aws;
    with(source, async |signing| {
        let keys = signing.rotate(store::random()?).await?;
        Ok(if on_aws {
            format!(
                "made a new key; the one before it still signs\n\
                 1. deploy with TokenKeys={}, so that both verify\n\
                 2. then deploy with TokenKeys={}, so that the new one signs",
                keys.public_before_the_switch(),
                keys.public()
            )
        } else {
            "made a new key; a runner uses it from its next start, and the one before it still verifies".to_owned()
        })
    })
    .await
}

async fn with(
    source: &Source,
    work: impl AsyncFnOnce(&Signing) -> Result<String, CommandError>,
) -> Result<String, CommandError> {
    let config = Config::of_runner_from_env()?;
    let opened = source.open(&config, PATIENCE).await?;
    let signing = Signing::new(opened.tables.client.clone(), opened.tables.state.clone());
    let done = work(&signing).await;
    drop(signing);
    opened.close().await;
    done
}
