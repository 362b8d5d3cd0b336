//! DynamoDB through AWS's own client: the only storage path, on AWS, in the runner and in every test.

mod agents;
mod analytics;
mod cause;
mod connections;
mod expression;
mod item;
pub mod keys;
mod ledger;
mod limits;
mod lists;
mod messages;
mod mutes;
mod once;
mod page;
mod pairing;
mod participants;
mod questions;
mod rooms;
mod signing;
mod stream;
mod table;
mod users;

pub use agents::{
    AGENT_IDLE, AGENT_NOT_FOUND, AGENT_REVOKED, Agent, Agents, Attested, SEQUENCE_CONFLICT, WINDOW_NOT_NEWER,
};
pub use aws_sdk_dynamodb::Client;
pub use cause::Cause;
pub use connections::{Connection, Connections, Renewed};
pub use ledger::{Appended, Changed, Ledger, LedgerItem, Part, Unfinished, followed_stream};
pub use limits::{Limits, Subject};
pub use messages::{CHAT_OFF, MessagesPage, NewMessage};
pub use mutes::{MUTE_REQUEST_NOT_FOUND, NewMuteRequest};
pub use once::{ANSWERED, Answers, Given, IDEMPOTENCY_KEY_REUSED, Record, Repeatable};
pub use page::{CURSOR_INVALID, Cursor, Page};
pub use pairing::{CODE_INVALID, KEY_BOUND};
pub use participants::{LAST_PRESENTER, Member, NOT_IN_ROOM, NOT_SEATED, PRESENTER_ONLY, People, PersonChange, Seat};
pub use questions::{NOT_THE_AUTHOR, QUESTION_NOT_FOUND, QUESTIONS_OFF, QuestionChange, TOO_MANY_QUESTIONS};
pub use rooms::{
    NewParticipant, NewPassword, NewRoom, ROOM_ENDED, ROOM_FULL, ROOM_NOT_FOUND, RoomChange, Rooms, StoredRoom,
};
pub use signing::{NO_SIGNING_KEY, Signing, SigningKeys};
pub use stream::{BatchOutcome, FailedRecord, RoomChanged, StreamEvent, StreamRecord, stream_began};
pub use users::{
    Guard, LEAVE_INSTEAD, NO_SEAT, NOT_ADMITTED, ROOM_FIXED, TOKEN_INVALID, UNMUTE_NOT_ALLOWED, USER_NOT_FOUND, Users,
    VERSION_CONFLICT, Written,
};

use crate::StoreError;
use aws::{ConnectError, Environment, bounded, retries, time_outs};
use aws_sdk_dynamodb::Config;
use aws_sdk_dynamodb::config::{BehaviorVersion, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::{HttpClient, SharedHttpClient};

/// A client for the `DynamoDB` of the [`Environment`], or at `AWS_ENDPOINT_URL_DYNAMODB`. It opens its first connection
/// in advance.
///
/// # Errors
/// As [`Environment::read`]. A connection that cannot be opened is not an error: the first call tries again.
pub async fn connect_from_env() -> Result<Client, ConnectError> {
    let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").ok();
    let Environment { region, credentials, endpoint, http } =
        Environment::read_and_connect("dynamodb", endpoint).await?;
    let mut config = with_retries(config(http)).region(region).credentials_provider(credentials);
    config.set_endpoint_url(endpoint);
    Ok(Client::from_conf(config.build()))
}

/// The configuration of a client that reaches `DynamoDB` over a network: timeouts, and retries of transient failures.
#[must_use]
pub fn persistent(http: impl HttpClient + 'static) -> aws_sdk_dynamodb::config::Builder {
    with_retries(config(bounded(http)))
}

fn with_retries(config: aws_sdk_dynamodb::config::Builder) -> aws_sdk_dynamodb::config::Builder {
    config.retry_config(retries()).timeout_config(time_outs())
}

/// The configuration that all our clients share.
#[must_use]
pub fn config(http: impl HttpClient + 'static) -> aws_sdk_dynamodb::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(SharedHttpClient::new(http))
        .sleep_impl(TokioSleep::new())
        // Answers are small and arrive whole; the attempt timeout covers a stall.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// Maps a failed call to an error: [`StoreError::Unavailable`] is transient, [`StoreError::Internal`] is permanent.
pub fn failed<E>(error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let unavailable = match &error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(context) => {
            context.raw().status().is_server_error()
                || matches!(
                    context.err().code(),
                    Some(
                        "ProvisionedThroughputExceededException"
                            | "RequestLimitExceeded"
                            | "ThrottlingException"
                            | "Throttling"
                            // A concurrent transaction, such as a pairing, writes the same item.
                            | "TransactionConflictException"
                    )
                )
        }
        _ => false,
    };
    if unavailable { StoreError::Unavailable(error.into()) } else { StoreError::Internal(error.into()) }
}
