//! Removes from old data everything that must not come back: agents that may have been revoked since, their evidence,
//! pairing codes, and the presence of people who have left.

use crate::SnapshotError;
use crate::format::{Item, Table};
use crate::lease::unreachable;
use crate::pace::Pace;
use crate::scan::Pages;
use crate::tables::Tables;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::Actor;
use serde::Serialize;
use store::dynamodb::keys::{AGENT, CHANGED_BY, PK, REQUEST_ID, SK, USER};

/// Prefixes of the attributes of a state that hold evidence, a device binding or a pairing.
const PREFIXES: [&str; 3] = ["heard", "bound", "pairing"];
/// Other attributes to remove. The last request is one of them, because the restore is not part of it.
const NAMES: [&str; 4] = ["attested", "challenge", "leaseId", REQUEST_ID];
/// A lease is set to its end, not removed: a state without a lease counts as present until it expires.
const LEASE_UNTIL: &str = "leaseUntil";

/// The changes to an item.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ending {
    set: Vec<(&'static str, AttributeValue)>,
    remove: Vec<String>,
}

impl Ending {
    /// The changes that an item of the state table needs; empty if it holds no agent and nothing that belongs to one.
    pub(crate) fn of(item: &Item) -> Self {
        let Some(AttributeValue::S(key)) = item.get(PK) else { return Self::default() };
        let mut ending = Self::default();
        if key.starts_with(AGENT) {
            ending.set(item, "revoked", AttributeValue::Bool(true));
        } else if key.starts_with(USER) {
            if item.contains_key("agentId") {
                ending.set(item, "agentRevoked", AttributeValue::Bool(true));
            }
            if item.contains_key(LEASE_UNTIL) {
                ending.set(item, LEASE_UNTIL, AttributeValue::N("0".to_owned()));
            }
            let goes = |name: &&String| {
                NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            };
            ending.remove = item.keys().filter(goes).cloned().collect();
            ending.remove.sort_unstable();
        }
        if !ending.is_empty() {
            ending.set.push((CHANGED_BY, service()));
        }
        ending
    }

    fn set(&mut self, item: &Item, name: &'static str, value: AttributeValue) {
        if (name == LEASE_UNTIL && item.get(name) != Some(&value)) || !item.contains_key(name) {
            self.set.push((name, value));
        }
    }

    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// Applies the changes to the item.
    pub(crate) fn apply(self, item: &mut Item) {
        for name in self.remove {
            item.remove(&name);
        }
        item.extend(self.set.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

/// Replaces the actor and the request of an item's last change, because the restore now writes it. An item of an older
/// version without an actor stays as it is.
pub(crate) fn restored(item: &mut Item) {
    if item.contains_key(CHANGED_BY) {
        item.insert(CHANGED_BY.to_owned(), service());
        item.remove(REQUEST_ID);
    }
}

fn service() -> AttributeValue {
    AttributeValue::S(Actor::Service.to_string())
}

/// The result of [`revoke_all`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// Number of agents that were revoked.
    pub agents: u64,
    /// Number of people's states that were changed.
    pub states: u64,
}

/// Revokes every agent of the state table, and removes from each state the data that a restore would remove. Use it for
/// tables that were rolled back in another way. It is idempotent.
///
/// # Errors
/// [`SnapshotError::Unreachable`]; some items may be changed then.
pub async fn revoke_all(tables: &Tables) -> Result<Revoked, SnapshotError> {
    let mut revoked = Revoked::default();
    let mut pages = Pages::read(tables, Table::State, 1, &Pace::unpaced());
    while let Some(page) = pages.next().await? {
        for item in page {
            let ending = Ending::of(&item);
            if ending.is_empty() || !change(tables, &item, ending).await? {
                continue;
            }
            let is_agent = !item.contains_key("isMuted");
            *(if is_agent { &mut revoked.agents } else { &mut revoked.states }) += 1;
        }
    }
    Ok(revoked)
}

/// Returns whether the item was changed. An item that was removed, or that has got another agent since, stays as it is.
async fn change(tables: &Tables, item: &Item, ending: Ending) -> Result<bool, SnapshotError> {
    let key = item.iter().filter(|(name, _)| [PK, SK].contains(&name.as_str()));
    let key = key.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut request = tables.client.update_item().table_name(&tables.state).set_key(Some(key));
    let condition = match item.get("agentId") {
        Some(agent) => {
            request = request.expression_attribute_values(":agent", agent.clone());
            "attribute_exists(pk) AND agentId = :agent"
        }
        None => "attribute_exists(pk) AND attribute_not_exists(agentId)",
    };
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    for (number, (name, value)) in ending.set.into_iter().enumerate() {
        set.push(format!("{name} = :value{number}"));
        request = request.expression_attribute_values(format!(":value{number}"), value);
    }
    for (number, name) in ending.remove.into_iter().enumerate() {
        remove.push(format!("#name{number}"));
        request = request.expression_attribute_names(format!("#name{number}"), name);
    }
    let clause = |word: &str, parts: &[String]| {
        if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
    };
    let update = clause("SET", &set) + &clause("REMOVE", &remove);
    match request.update_expression(update).condition_expression(condition).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(false)
        }
        Err(error) => Err(unreachable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn item(pk: &str, names: &[&str]) -> Item {
        let names = names.iter().map(|name| ((*name).to_owned(), text("x")));
        names.chain([("pk".to_owned(), text(pk))]).collect()
    }

    fn changed(pk: &str, names: &[&str]) -> Vec<String> {
        let mut item = item(pk, names);
        Ending::of(&item).apply(&mut item);
        let mut again = item.clone();
        Ending::of(&again).apply(&mut again);
        assert_eq!(again, item, "the same again");
        let mut names: Vec<_> = item.into_keys().filter(|name| name != "pk").collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_state_keeps_the_claim_and_the_name_of_an_agent_that_is_revoked() {
        let claim = ["deviceId", "isMuted", "roomId", "version"];
        assert_eq!(changed("USER#ada", &claim), claim);
        let agent = ["agentId", "agentSeq", "attested", "boundDeviceId", "challenge", "heardAt", "heardSilentSince"];
        let pairing = ["pairingCode", "pairingUntil", "pairingWitness", "requestId"];
        assert_eq!(
            changed("USER#ada", &[&claim[..], &agent, &pairing].concat()),
            ["agentId", "agentRevoked", "agentSeq", "changedBy", "deviceId", "isMuted", "roomId", "version"]
        );
    }

    #[test]
    fn a_lease_is_over_and_not_forgotten() {
        let mut item = item("USER#ada", &["leaseId", "leaseUntil"]);
        Ending::of(&item).apply(&mut item);
        assert_eq!(item.get("leaseUntil"), Some(&AttributeValue::N("0".to_owned())));
        assert!(!item.contains_key("leaseId"));
    }

    #[test]
    fn an_agent_is_revoked_and_its_key_stays_known() {
        assert_eq!(changed("AGENT#7", &["publicKey"]), ["changedBy", "publicKey", "revoked"]);
        assert_eq!(changed("WITNESS#7", &["agentId", "expiresAt"]), ["agentId", "expiresAt"]);
    }

    #[test]
    fn a_state_whose_agent_is_revoked_already_is_not_changed() {
        assert!(Ending::of(&item("USER#ada", &["agentId", "agentRevoked", "changedBy"])).is_empty());
    }

    #[test]
    fn every_changed_or_restored_item_is_attributed_to_the_service() {
        let mut revoked = item("USER#ada", &["agentId", "changedBy", "requestId"]);
        Ending::of(&revoked).apply(&mut revoked);
        let mut brought_back = item("USER#ada", &["changedBy", "requestId"]);
        restored(&mut brought_back);
        for item in [revoked, brought_back] {
            assert_eq!(item.get("changedBy"), Some(&text("service")));
            assert!(!item.contains_key("requestId"));
        }
        let mut old = item("USER#ada", &["requestId"]);
        restored(&mut old);
        assert_eq!(old, item("USER#ada", &["requestId"]));
    }
}
