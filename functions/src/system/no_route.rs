//! `$default`: whatever no other route takes.

use super::get_openapi::DOCUMENT;
use crate::{ApiError, Reply, Request, State};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Described<'a> {
    #[serde(borrow)]
    paths: BTreeMap<&'a str, BTreeMap<&'a str, &'a RawValue>>,
}

/// # Errors
/// Always: 405 if the path exists with other methods, else 404.
pub(crate) async fn handle(_state: State, request: Request) -> Reply {
    Err(match methods(request.uri().path()) {
        Some(allow) => ApiError::Method { allow },
        None => ApiError::NoRoute,
    })
}

/// The methods of a path, separated by commas. Read from the description, which a test holds equal to the routes.
fn methods(path: &str) -> Option<String> {
    let described: Described<'_> = serde_json::from_str(DOCUMENT).ok()?;
    let (_, methods) = described.paths.into_iter().find(|(template, _)| matches(template, path))?;
    Some(methods.into_keys().map(str::to_uppercase).collect::<Vec<_>>().join(", "))
}

fn matches(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = template.split('/').all(|wanted| {
        segments.next().is_some_and(|given| wanted == given || (wanted.starts_with('{') && !given.is_empty()))
    });
    fits && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_one_filled_segment_per_parameter() {
        let template = "/api/users/{userId}/mute";
        assert!(matches(template, "/api/users/ada/mute"));
        for other in ["/api/users//mute", "/api/users/ada", "/api/users/ada/mute/", "/api/users/a/b/mute"] {
            assert!(!matches(template, other), "{other}");
        }
    }

    #[test]
    fn a_known_path_names_its_methods() {
        assert_eq!(methods("/api/users/ada").as_deref(), Some("DELETE, GET"));
        assert_eq!(methods("/api/nowhere"), None);
    }
}
