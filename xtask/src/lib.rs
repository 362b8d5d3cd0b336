//! What the chores do, apart from reading the command line.

pub mod cost;

use std::fs;
use std::path::Path;

/// The generated pages: name and text.
#[must_use]
pub fn pages() -> [(&'static str, String); 3] {
    [
        ("docs/cost.md", cost::markdown()),
        ("docs/environment.md", state::config::markdown()),
        ("docs/verdicts.md", domain::verdicts_markdown()),
    ]
}

/// Writes the generated pages.
///
/// # Errors
/// A file cannot be written.
pub fn docs(root: &Path) -> Result<Vec<String>, String> {
    let written = pages().map(|(page, text)| write(root, page, &text).map(|()| page.to_owned()));
    written.into_iter().collect()
}

/// An endpoint to be made.
#[derive(Debug)]
pub struct Endpoint<'a> {
    module: &'a str,
    name: &'a str,
    method: &'a str,
    path: &'a str,
}

impl<'a> Endpoint<'a> {
    /// Checks the words of the command.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(module: &'a str, name: &'a str, method: &'a str, path: &'a str) -> Result<Self, String> {
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !word(module) || !word(name) {
            return Err("MODULE and NAME are lower_snake_case".to_owned());
        }
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) {
            return Err("METHOD is GET, POST, PUT, PATCH or DELETE".to_owned());
        }
        let path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"/{}._-".contains(&byte);
        if !path.starts_with("/api/") || !path.bytes().all(path_byte) {
            return Err("PATH is like '/api/users/{userId}/volume'".to_owned());
        }
        Ok(Self { module, name, method, path })
    }

    /// Makes the new files and enters the endpoint in the files that list them all. Returns the files' names.
    ///
    /// # Errors
    /// The endpoint exists already, or a file cannot be read or written. Nothing has been changed in the first case.
    pub fn write(&self, root: &Path) -> Result<Vec<String>, String> {
        let Self { module, name, .. } = self;
        let handler = format!("functions/src/{module}/{name}.rs");
        let binary = format!("functions/src/bin/{name}.rs");
        let event = format!("events/{name}.json");
        let test = format!("tests/api/routes/{module}/{name}.rs");
        for file in [&handler, &binary, &event, &test] {
            if root.join(file).exists() {
                return Err(format!("{file} exists already"));
            }
        }
        let list = read(root, "functions/src/lib.rs")?;
        let template = read(root, "template.yaml")?;
        let openapi = read(root, "docs/openapi.json")?;
        let list = self.listed(&list)?;
        let template = self.routed(&template)?;
        let openapi = self.described(&openapi)?;

        write(root, &handler, &self.handler())?;
        write(root, &binary, &self.binary())?;
        write(root, &event, &self.event())?;
        write(root, &test, &self.test())?;
        write(root, "functions/src/lib.rs", &list)?;
        write(root, "template.yaml", &template)?;
        write(root, "docs/openapi.json", &openapi)?;
        let listed = ["functions/src/lib.rs", "template.yaml", "docs/openapi.json"].map(str::to_owned);
        Ok([handler, binary, event, test].into_iter().chain(listed).collect())
    }

    fn handler(&self) -> String {
        let Self { method, path, .. } = self;
        let parameters: Vec<_> = self.parameters().collect();
        let note = match parameters.as_slice() {
            [] => String::new(),
            names => format!("/// Path parameters: {}; read them with `crate::http::path`.\n///\n", names.join(", ")),
        };
        format!(
            "//! `{method} {path}`: say here what it does.\n\n\
             use crate::auth::{{Act, permit}};\n\
             use crate::http::ok;\n\
             use crate::{{Reply, Request, State}};\n\
             use serde::Serialize;\n\n\
             #[derive(Serialize)]\n\
             #[serde(rename_all = \"camelCase\")]\n\
             struct Answer {{\n    success: bool,\n}}\n\n\
             {note}/// # Errors\n/// 401 no caller.\n\
             pub(crate) async fn handle(state: State, _request: Request) -> Reply {{\n    \
             // Name this act in auth.rs.\n    permit(&state, Act::ReadMetrics)?;\n\n    \
             ok(&Answer {{ success: true }})\n}}\n"
        )
    }

    fn binary(&self) -> String {
        let name = self.name;
        format!(
            "//! The Lambda of the endpoint of the same name.\n\
             fn main() -> Result<(), functions::Error> {{\n    functions::serve(functions::entries::{name})\n}}\n"
        )
    }

    fn test(&self) -> String {
        let Self { name, method, .. } = self;
        let path = self.example();
        format!(
            "use crate::support::runner::Runner;\n\n#[test]\nfn {name}_answers() {{\n    \
             let runner = Runner::ephemeral();\n    \
             assert_eq!(runner.send(\"{method}\", \"{path}\", &[], \"\").status, 200);\n}}\n"
        )
    }

    fn event(&self) -> String {
        let Self { method, path, .. } = self;
        let example = self.example();
        let parameters: serde_json::Map<_, _> =
            self.parameters().map(|name| (name.to_owned(), format!("demo-{}", stem(name)).into())).collect();
        let event = serde_json::json!({
            "version": "2.0",
            "routeKey": format!("{method} {path}"),
            "rawPath": example,
            "rawQueryString": "",
            "headers": {"accept": "application/json", "content-type": "application/json"},
            "pathParameters": parameters,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "a1b2c3d4e5",
                "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
                "domainPrefix": "a1b2c3d4e5",
                "http": {
                    "method": method,
                    "path": example,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": "curl/8.7.1",
                },
                "requestId": "Zx01KgXmPoAMEVQw=",
                "routeKey": format!("{method} {path}"),
                "stage": "$default",
                "time": "21/Nov/2026:10:32:05 +0000",
                "timeEpoch": 1_795_257_125_000_u64,
            },
            "isBase64Encoded": false,
        });
        format!("{event:#}\n")
    }

    /// The list of all endpoints and modules, with this one.
    fn listed(&self, text: &str) -> Result<String, String> {
        let Self { module, name, .. } = self;
        let text = insert_before(text, "}\n\nmod ", &format!("    {module}::{name},\n"))?;
        let line = format!("    pub(crate) mod {name};\n");
        let opening = format!("mod {module} {{\n");
        if text.contains(&opening) {
            Ok(text.replacen(&opening, &format!("{opening}{line}"), 1))
        } else {
            insert_before(&text, "\nmod answer;", &format!("{opening}{line}}}\n"))
        }
    }

    /// The template, with a function that may do nothing but write its log: what it needs is for a person to say.
    fn routed(&self, text: &str) -> Result<String, String> {
        let Self { name, method, path, .. } = self;
        let id: String = name.split('_').map(capitalized).collect();
        let dashed = name.replace('_', "-");
        let function = format!(
            "  {id}Function:\n    Type: AWS::Serverless::Function\n    Metadata: {{SkipBuild: true}}\n    Properties:\n      \
             FunctionName: !Sub greenroom-${{Stage}}-{dashed}\n      CodeUri: target/lambda/{name}/\n      \
             LoggingConfig: {{LogGroup: !Ref {id}Logs}}\n      Events:\n        Route:\n          Type: HttpApi\n          \
             Properties: {{ApiId: !Ref Api, Method: {method}, Path: '{path}'}}\n  {id}Logs:\n    \
             Type: AWS::Logs::LogGroup\n    Properties:\n      \
             LogGroupName: !Sub /aws/lambda/greenroom-${{Stage}}-{dashed}\n      RetentionInDays: !Ref LogRetentionDays\n\n"
        );
        insert_before(text, "Outputs:\n", &function)
    }

    /// The API's description, with this endpoint. Inserted as text, so that nothing else moves.
    fn described(&self, text: &str) -> Result<String, String> {
        let mut words = self.name.split('_');
        let id: String = words.next().into_iter().map(str::to_owned).chain(words.map(capitalized)).collect();
        let parameters: Vec<_> = self
            .parameters()
            .map(|name| serde_json::json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let operation = serde_json::json!({
            "operationId": id,
            "tags": [self.module],
            "summary": "Say here what it does.",
            "parameters": parameters,
            "responses": {"200": {
                "description": "Done.",
                "content": {"application/json": {"schema": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["success"],
                    "properties": {"success": {"type": "boolean"}},
                }}},
            }},
        });
        let operation = format!("{operation:#}").replace('\n', "\n      ");
        let method = format!("      \"{}\": {operation}", self.method.to_lowercase());
        let known = format!("    \"{}\": {{\n", self.path);
        if let Some(at) = text.find(&known) {
            let at = at + known.len();
            return Ok(format!("{}{method},\n{}", &text[..at], &text[at..]));
        }
        let paths = "  \"paths\": {\n";
        let at = text.find(paths).ok_or("docs/openapi.json: no paths found")? + paths.len();
        Ok(format!("{}{known}{method}\n    }},\n{}", &text[..at], &text[at..]))
    }

    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The path with example values, as the other events have them: `/api/users/demo-user/volume`.
    fn example(&self) -> String {
        let segments = self.path.split('/').map(|segment| {
            let parameter = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
            parameter.map_or_else(|| segment.to_owned(), |name| format!("demo-{}", stem(name)))
        });
        segments.collect::<Vec<_>>().join("/")
    }
}

/// `userId` without `Id`.
fn stem(parameter: &str) -> &str {
    parameter.strip_suffix("Id").unwrap_or(parameter)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn insert_before(text: &str, mark: &str, addition: &str) -> Result<String, String> {
    let at = text.find(mark).ok_or_else(|| format!("no place found before {mark:?}"))?;
    Ok(format!("{}{addition}{}", &text[..at], &text[at..]))
}

fn read(root: &Path, file: &str) -> Result<String, String> {
    fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))
}

fn write(root: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = root.join(file);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(&path, text)).map_err(|error| format!("{file}: {error}"))
}
