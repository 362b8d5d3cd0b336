//! Parts of examples in the API's description that several types share.

use serde_json::{Value, json};

/// The verdicts of a person without an agent.
pub(crate) fn no_agent() -> Value {
    let verdict = json!({
        "value": "unverified", "reason": "no_agent", "observedAt": null, "expiresAt": null, "since": null,
        "assurance": "self-hosted",
    });
    json!({"mute": verdict, "device": verdict})
}

/// A person in a list.
pub(crate) fn listed_user() -> Value {
    json!({
        "userId": "ada", "name": null, "isMuted": true, "muteScope": "app", "deviceId": "usb-1",
        "deviceLabel": "USB microphone", "roomId": "demo", "version": 4, "lastUpdated": "2026-11-21T11:44:18.082Z",
        "createdAt": "2026-11-21T11:44:18.027Z", "source": "open", "agent": null, "verdict": no_agent(),
    })
}
