//! `GET /api/analytics`: how rooms were used, day by day.

use crate::auth::{Act, Caller};
use crate::function::{Function, STATE, allow, route};
use crate::http::{ok, whole};
use crate::{ApiError, Context, Reply, Request};
use domain::analytics::Day;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const FUNCTION: Function = route!(GET "/api/analytics")
    .may(&[allow(&["dynamodb:Query"], &[STATE]).keys(&["DAYS"])])
    .costs(1, 2.0, 0.0)
    .query("days=30")
    .describes(
        "Counts of created rooms, without anybody's name. A room counts moments after it was created or ended; one that \
         nobody ends counts as created alone. Days without rooms are left out.",
    )
    .parameters(&["Days"])
    .gives::<Analytics>(200, "The days, the newest first.");

/// The most days that an answer may hold: as long as they are kept.
const DAYS_MAX: u32 = 400;
const DAYS_DEFAULT: u32 = 30;

/// How rooms were used.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [{"days": []}]))]
struct Analytics {
    days: Vec<Day>,
}

/// # Errors
/// 400 malformed query; 401 no caller; 403 a participant's token.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    Caller::of(&context, &request)?.must(Act::ReadMetrics)?;
    let days = days(&request)?;

    ok(&Analytics { days: context.rooms.days(days, (context.clock)()).await? })
}

/// How many days the query wants.
fn days(request: &Request) -> Result<u32, ApiError> {
    let mut days = None;
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        if name != "days" || days.is_some() {
            return Err(ApiError::invalid("query", "must hold days at most once, and nothing else"));
        }
        let refuse = || ApiError::invalid("days", format!("must be a whole number from 1 to {DAYS_MAX}"));
        days = Some(whole(&value).filter(|days| (1..=DAYS_MAX).contains(days)).ok_or_else(refuse)?);
    }
    Ok(days.unwrap_or(DAYS_DEFAULT))
}
