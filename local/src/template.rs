//! Reads `template.yaml` as the route table. A route exists only if the template contains it.

use serde::Deserialize;
use serde_norway::Value;
use std::collections::BTreeMap;

/// The embedded template.
pub const TEMPLATE: &str = include_str!("../../template.yaml");

/// The template cannot be used. It is embedded in this program, so this is a bug.
#[derive(Debug, thiserror::Error)]
pub enum BadTemplate {
    /// Not YAML, or not a template.
    #[error("template.yaml is not readable")]
    Syntax(#[from] serde_norway::Error),
    /// A resource lacks a property, or has a property that we do not support.
    #[error("template.yaml: {resource}: {problem}")]
    Resource {
        /// Logical id.
        resource: String,
        /// The problem.
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
    /// Its routes; empty for a function that a schedule or a stream starts.
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
    /// Formats the route as API Gateway writes a route key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path == DEFAULT_ROUTE { f.write_str(DEFAULT_ROUTE) } else { write!(f, "{} {}", self.method, self.path) }
    }
}

/// The route for all requests that match no other route.
pub const DEFAULT_ROUTE: &str = "$default";

/// The WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketApi {
    /// The expression with which API Gateway finds a message's route, such as `$request.body.event`.
    pub selection: String,
    /// Name of the stage; it is part of the API's address.
    pub stage: String,
    /// Its routes, by key.
    pub routes: Vec<SocketRoute>,
}

/// A route of the WebSocket API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketRoute {
    /// `$connect`, `$disconnect`, `$default`, or the word in a message that selects this route.
    pub key: String,
    /// Name of the binary of its function.
    pub binary: String,
    /// Whether the function's answer is sent to the client. Without a route response, API Gateway drops it.
    pub answers: bool,
}

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

    /// The functions with their routes, by logical id. A function without routes is called by a schedule, a stream or
    /// the WebSocket API.
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
                        // In SAM, an event without a path is the default route.
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

    /// The WebSocket API with its routes.
    ///
    /// # Errors
    /// There is no such API, or a route has no integration with a function.
    pub fn socket_api(&self) -> Result<SocketApi, BadTemplate> {
        let bad = |resource: &str, problem| BadTemplate::Resource { resource: resource.to_owned(), problem };
        let of_kind = |kind: &'static str| {
            let found =
                move |(_, resource): &(&String, &Resource)| resource.kind == format!("AWS::ApiGatewayV2::{kind}");
            self.resources.iter().filter(found)
        };
        let (api, resource) = of_kind("Api").next().ok_or_else(|| bad("SocketApi", "there is no WebSocket API"))?;
        let selection = resource.properties["RouteSelectionExpression"].as_str();
        let selection = selection.ok_or_else(|| bad(api, "RouteSelectionExpression is not a text"))?.to_owned();
        let (id, resource) = of_kind("Stage").next().ok_or_else(|| bad(api, "it has no stage"))?;
        let stage = resource.properties["StageName"].as_str();
        let stage = stage.ok_or_else(|| bad(id, "StageName is not a text"))?.to_owned();

        let functions = self.functions()?;
        let answering: Vec<_> =
            of_kind("RouteResponse").filter_map(|(_, response)| reference(&response.properties["RouteId"])).collect();
        let routes = of_kind("Route").map(|(id, route)| {
            let key = route.properties["RouteKey"].as_str().ok_or_else(|| bad(id, "RouteKey is not a text"))?;
            let integration = reference(&route.properties["Target"]).and_then(|integration| {
                self.resources.get(integration).filter(|found| found.kind == "AWS::ApiGatewayV2::Integration")
            });
            let integration = integration.ok_or_else(|| bad(id, "Target names no integration"))?;
            let function = reference(&integration.properties["IntegrationUri"])
                .and_then(|named| functions.iter().find(|function| function.logical_id == named))
                .ok_or_else(|| bad(id, "its integration names no function"))?;
            Ok(SocketRoute {
                key: key.to_owned(),
                binary: function.binary.clone(),
                answers: answering.contains(&id.as_str()),
            })
        });
        let mut routes = routes.collect::<Result<Vec<_>, BadTemplate>>()?;
        routes.sort();
        Ok(SocketApi { selection, stage, routes })
    }

    /// The `CreateTable` request for the table with this logical id, and its time-to-live attribute.
    ///
    /// Properties that one machine does not need are left out: encryption, point-in-time recovery.
    ///
    /// # Errors
    /// The table does not exist, or a property is not plain data.
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

/// The resource to which a value refers: by `!Ref`, by `!GetAtt`, or as the last name in a `!Sub` that does not begin
/// with `AWS::`.
fn reference(value: &Value) -> Option<&str> {
    let Value::Tagged(tagged) = value else { return None };
    let text = tagged.value.as_str()?;
    let named = if tagged.tag == "Sub" {
        let named = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
        named.filter(|name| !name.starts_with("AWS::")).last()?
    } else {
        text
    };
    named.split('.').next()
}

/// An index's throughput limit often refers to a parameter. It is removed, because the engine has no limits.
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
    fn a_route_of_the_socket_api_leads_to_its_function() {
        let text = "Resources:
  F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: target/lambda/f/}}
  A: {Type: 'AWS::ApiGatewayV2::Api', Properties: {RouteSelectionExpression: $request.body.event}}
  S: {Type: 'AWS::ApiGatewayV2::Stage', Properties: {StageName: live}}
  I: {Type: 'AWS::ApiGatewayV2::Integration', Properties: {IntegrationUri: !Sub 'x:${AWS::Region}/${F.Arn}/invocations'}}
  R: {Type: 'AWS::ApiGatewayV2::Route', Properties: {RouteKey: ping, Target: !Sub 'integrations/${I}'}}
  Q: {Type: 'AWS::ApiGatewayV2::Route', Properties: {RouteKey: $connect, Target: !Sub 'integrations/${I}'}}
  P: {Type: 'AWS::ApiGatewayV2::RouteResponse', Properties: {RouteId: !Ref R}}";
        let api = Template::parse(text).unwrap().socket_api().unwrap();
        assert_eq!((api.selection.as_str(), api.stage.as_str()), ("$request.body.event", "live"));
        let routes: Vec<_> =
            api.routes.iter().map(|route| (route.key.as_str(), route.binary.as_str(), route.answers)).collect();
        assert_eq!(routes, [("$connect", "f", false), ("ping", "f", true)]);
        let astray = text.replace("integrations/${I}", "integrations/${F}");
        let error = Template::parse(&astray).unwrap().socket_api().unwrap_err();
        assert_eq!(error.to_string(), "template.yaml: Q: Target names no integration");
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
