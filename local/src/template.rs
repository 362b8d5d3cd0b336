//! `template.yaml`, read as the route table: a route that is not in it exists nowhere.

use serde::Deserialize;
use serde_norway::Value;
use std::collections::BTreeMap;

/// The template this program was built with.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// The template cannot be used. Its text is part of this program, so this is a mistake of ours.
#[derive(Debug, thiserror::Error)]
pub enum BadTemplate {
    /// Not YAML, or not a template.
    #[error("template.yaml is not readable")]
    Syntax(#[from] serde_norway::Error),
    /// A resource lacks a property, or has one we do not understand.
    #[error("template.yaml: {resource}: {problem}")]
    Resource {
        /// Logical id.
        resource: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// One function and the routes that reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Logical id, such as `SetMuteFunction`.
    pub logical_id: String,
    /// Name of the binary, the last part of `CodeUri`.
    pub binary: String,
    /// Its routes; none for what a schedule starts.
    pub routes: Vec<Route>,
}

/// A method and a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `GET`, …; `ANY` for the default route.
    pub method: String,
    /// `/api/users/{userId}`, …; `$default` for the default route.
    pub path: String,
}

impl std::fmt::Display for Route {
    /// As API Gateway writes a route key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path == DEFAULT_ROUTE { f.write_str(DEFAULT_ROUTE) } else { write!(f, "{} {}", self.method, self.path) }
    }
}

/// The route that takes whatever no other route takes.
pub const DEFAULT_ROUTE: &str = "$default";

/// A parsed template.
#[derive(Debug, Deserialize)]
pub struct Template {
    #[serde(rename = "Resources")]
    resources: BTreeMap<String, Resource>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Properties", default)]
    properties: Value,
}

impl Template {
    /// Parses the text of a template.
    ///
    /// # Errors
    /// [`BadTemplate::Syntax`]
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        Ok(serde_norway::from_str(text)?)
    }

    /// The functions with their routes, by logical id. One without routes is called by something else than the gateway.
    ///
    /// # Errors
    /// A function without a `CodeUri`, or a route without method or path.
    pub fn functions(&self) -> Result<Vec<Function>, BadTemplate> {
        let functions = self.resources.iter().filter(|(_, resource)| resource.kind == "AWS::Serverless::Function");
        functions
            .map(|(logical_id, resource)| {
                let bad = |problem| BadTemplate::Resource { resource: logical_id.clone(), problem };
                let code = resource.properties["CodeUri"].as_str().ok_or_else(|| bad("CodeUri is not a text"))?;
                let binary = code.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
                let events = resource.properties["Events"].as_mapping();
                let routes = events
                    .into_iter()
                    .flat_map(|events| events.values())
                    .filter(|event| event["Type"] == "HttpApi")
                    .map(|event| {
                        let text = |name| event["Properties"][name].as_str().map(str::to_owned);
                        // SAM takes an event without a path for the default route.
                        let path = text("Path").unwrap_or_else(|| DEFAULT_ROUTE.to_owned());
                        let method = text("Method").unwrap_or_else(|| "ANY".to_owned()).to_uppercase();
                        if method == "ANY" && path != DEFAULT_ROUTE {
                            return Err(bad("a route other than the default needs a method"));
                        }
                        Ok(Route { method, path })
                    })
                    .collect::<Result<_, _>>()?;
                Ok(Function { logical_id: logical_id.clone(), binary, routes })
            })
            .collect()
    }

    /// The `CreateTable` request for the table with this logical id, and its time-to-live attribute.
    ///
    /// Left out is what one machine does not need: encryption, point-in-time recovery.
    ///
    /// # Errors
    /// There is no such table, or a property is not plain data.
    pub fn table(&self, logical_id: &str, name: &str) -> Result<(serde_json::Value, Option<String>), BadTemplate> {
        let bad = |problem| BadTemplate::Resource { resource: logical_id.to_owned(), problem };
        let resource = self.resources.get(logical_id).ok_or_else(|| bad("there is no such table"))?;
        let mut request = serde_json::Map::new();
        request.insert("TableName".into(), name.into());
        request.insert("BillingMode".into(), "PAY_PER_REQUEST".into());
        for property in ["AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"] {
            let value = &resource.properties[property];
            if !value.is_null() {
                let mut value = serde_json::to_value(value).map_err(|_| bad("a property is not plain data"))?;
                drop_throughput(&mut value);
                request.insert(property.into(), value);
            }
        }
        if let Some(view) = resource.properties["StreamSpecification"]["StreamViewType"].as_str() {
            let stream = serde_json::json!({"StreamEnabled": true, "StreamViewType": view});
            request.insert("StreamSpecification".into(), stream);
        }
        let ttl = resource.properties["TimeToLiveSpecification"]["AttributeName"].as_str().map(str::to_owned);
        Ok((request.into(), ttl))
    }

    /// The raw properties of a resource, for tests over the template.
    #[must_use]
    pub fn properties(&self, logical_id: &str) -> Option<&Value> {
        self.resources.get(logical_id).map(|resource| &resource.properties)
    }
}

/// An index's own throughput limit often refers to a parameter; the engine knows no limits.
fn drop_throughput(value: &mut serde_json::Value) {
    if let Some(indexes) = value.as_array_mut() {
        for index in indexes {
            if let Some(index) = index.as_object_mut() {
                index.remove("OnDemandThroughput");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_without_code_is_refused_by_name() {
        let template = Template::parse("Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {}}}").unwrap();
        assert_eq!(template.functions().unwrap_err().to_string(), "template.yaml: F: CodeUri is not a text");
    }

    #[test]
    fn intrinsic_functions_elsewhere_do_no_harm() {
        let text = "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: target/lambda/f/, \
                    FunctionName: !Sub 'x-${Stage}', Events: {R: {Type: HttpApi, Properties: {ApiId: !Ref Api, \
                    Method: get, Path: /f}}}}}}";
        let functions = Template::parse(text).unwrap().functions().unwrap();
        assert_eq!((functions[0].binary.as_str(), functions[0].routes[0].to_string().as_str()), ("f", "GET /f"));
    }
}
