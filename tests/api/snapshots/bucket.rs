//! The permissions on the bucket in template.yaml: each statement, and the effect of all statements together.

use crate::support::iam::matches;
use local::objects::BUCKET;
use local::template::TEMPLATE;
use serde_json::{Value, json};
use serde_norway::Value as Yaml;

fn template() -> Yaml {
    serde_norway::from_str(TEMPLATE).unwrap()
}

/// A part of the template as plain data; an intrinsic function becomes a text that contains the bucket's name.
fn plain(value: &Yaml) -> Value {
    match value {
        Yaml::Tagged(tagged) => {
            let text = serde_json::to_string(&plain(&tagged.value)).unwrap();
            let arn = format!("arn:aws:s3:::{BUCKET}");
            let text = text.replace("${SnapshotBucket.Arn}", &arn).replace("SnapshotBucket.Arn", &arn);
            serde_json::from_str(&text).unwrap()
        }
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(members) => {
            let members = members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), plain(value)));
            Value::Object(members.collect())
        }
        other => serde_json::to_value(other).unwrap(),
    }
}

#[test]
fn the_bucket_is_private_encrypted_versioned_and_outlives_its_stack() {
    let template = template();
    let bucket = &template["Resources"]["SnapshotBucket"];
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(bucket[policy], "Retain", "{policy}");
        assert_eq!(template["Resources"]["SnapshotBucketPolicy"][policy], "Retain", "{policy}");
    }
    let bucket = plain(&bucket["Properties"]);
    let all = json!({"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true});
    assert_eq!(bucket["PublicAccessBlockConfiguration"], all);
    assert_eq!(bucket["OwnershipControls"]["Rules"], json!([{"ObjectOwnership": "BucketOwnerEnforced"}]));
    let encryption = &bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"];
    assert_eq!(encryption, &json!([{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]));
    assert_eq!(bucket["VersioningConfiguration"], json!({"Status": "Enabled"}));
    assert!(bucket.get("BucketName").is_none(), "a name of its own never collides");
}

#[test]
fn no_rule_expires_the_last_good_snapshot_and_removed_ones_are_destroyed_later() {
    let bucket = plain(&template()["Resources"]["SnapshotBucket"]["Properties"]);
    let rules = bucket["LifecycleConfiguration"]["Rules"].as_array().unwrap().clone();
    let has = |wanted: &str| rules.iter().filter(|rule| rule.get(wanted).is_some()).cloned().collect::<Vec<_>>();
    assert!(rules.iter().all(|rule| rule["Status"] == "Enabled"));
    for expiring in ["ExpirationInDays", "ExpirationDate", "Transitions", "Transition"] {
        assert_eq!(has(expiring), Vec::<Value>::new(), "{expiring} counts days, and knows nothing of other snapshots");
    }
    let removed = has("NoncurrentVersionExpiration");
    assert_eq!(removed[0]["NoncurrentVersionExpiration"], json!({"NoncurrentDays": "SnapshotRetentionDays"}));
    assert_eq!(removed[0]["Prefix"], snapshot::format::PREFIX);
    assert_eq!(has("ExpiredObjectDeleteMarker").len(), 1);
    let unfinished = has("AbortIncompleteMultipartUpload");
    assert_eq!(unfinished[0]["AbortIncompleteMultipartUpload"], json!({"DaysAfterInitiation": 1}));
    assert_eq!(unfinished[0]["Prefix"], "");
}

#[test]
fn the_bucket_policy_has_exactly_these_statements() {
    let policy = plain(&template()["Resources"]["SnapshotBucketPolicy"]["Properties"]);
    assert_eq!(policy["Bucket"], "SnapshotBucket");
    let (bucket, objects) = (format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*"));
    let deny = |sid: &str, action: Value, resource: Value, condition: Value| json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource, "Condition": condition});
    let expected = json!([
        deny("OnlyOverTls", json!("s3:*"), json!([bucket, objects]), json!({"Bool": {"aws:SecureTransport": "false"}})),
        deny(
            "OnlyOverTls12OrNewer",
            json!("s3:*"),
            json!([bucket, objects]),
            json!({"NumericLessThan": {"s3:TlsVersion": "1.2"}})
        ),
        deny(
            "OnlyOnce",
            json!(["s3:PutObject"]),
            json!([format!("{bucket}/database-backups/*")]),
            json!({"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}})
        ),
    ]);
    assert_eq!(policy["PolicyDocument"]["Statement"], expected);
}

/// A request, with the context keys that S3 fills in from its headers. Only `PutObject` and `CreateMultipartUpload` have the
/// header of the encryption; the parts of an upload and its end do not.
#[derive(Debug, Clone)]
struct Ask {
    action: &'static str,
    resource: String,
    context: Vec<(&'static str, &'static str)>,
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        other => vec![other.as_str().unwrap()],
    }
}

/// The part of IAM that our statements need: of these operators, only `Null` matches a missing key.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
fn applies(statement: &Value, ask: &Ask) -> bool {
    let known = |key: &str| ask.context.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let mut conditions = conditions.flat_map(|(operator, keys)| {
        keys.as_object().unwrap().iter().map(move |(key, wanted)| (operator.as_str(), key.as_str(), texts(wanted)))
    });
    texts(&statement["Action"]).iter().any(|action| matches(action, ask.action))
        && texts(&statement["Resource"]).iter().any(|resource| matches(resource, &ask.resource))
        && conditions.all(|(operator, key, wanted)| match (operator, known(key)) {
            ("Null", found) => found.is_none() == (wanted == ["true"]),
            ("Bool", found) => found.is_some_and(|found| wanted.contains(&found)),
            ("NumericLessThan", found) => {
                found.is_some_and(|found| found.parse::<f64>().unwrap() < wanted[0].parse().unwrap())
            }
            other => panic!("no rule for {other:?}"),
        })
}

/// A request is denied if any statement denies it, and otherwise allowed if a statement of the role allows it.
fn allowed(role: &[Value], ask: &Ask) -> bool {
    let policy = plain(&template()["Resources"]["SnapshotBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]);
    let policy = policy.as_array().unwrap();
    assert!(policy.iter().all(|statement| statement["Effect"] == "Deny" && statement["Principal"] == "*"));
    !policy.iter().any(|statement| applies(statement, ask)) && role.iter().any(|statement| applies(statement, ask))
}

/// The S3 permissions of a function's role.
fn role(function: &str) -> Vec<Value> {
    let policy = plain(&template()["Resources"][function]["Properties"]["Policies"][0]["Statement"]);
    let s3 = |statement: &Value| texts(&statement["Action"]).iter().all(|action| action.starts_with("s3:"));
    policy.as_array().unwrap().iter().filter(|statement| s3(statement)).cloned().collect()
}

/// A request to the bucket itself, or to an object in it, over TLS 1.3.
fn ask(action: &'static str, key: &str, more: &[(&'static str, &'static str)]) -> Ask {
    let mut context = vec![("aws:SecureTransport", "true"), ("s3:TlsVersion", "1.3")];
    context.extend_from_slice(more);
    let resource =
        if key.is_empty() { format!("arn:aws:s3:::{BUCKET}") } else { format!("arn:aws:s3:::{BUCKET}/{key}") };
    Ask { action, resource, context }
}

const ENCRYPTED: (&str, &str) = ("s3:x-amz-server-side-encryption", "AES256");
const ONCE: (&str, &str) = ("s3:if-none-match", "*");
/// Only `PutObject` and `CompleteMultipartUpload` create an object; the requests before them do not.
const MAKES: (&str, &str) = ("s3:ObjectCreationOperation", "true");
const PREPARES: (&str, &str) = ("s3:ObjectCreationOperation", "false");

const LINES: &str = "database-backups/audio-states-2026-11-21-03-00-00.jsonl.gz";
const MANIFEST: &str = "database-backups/audio-states-2026-11-21-03-00-00.manifest.json";

#[test]
fn a_role_that_takes_snapshots_can_write_each_object_once_and_destroy_none() {
    let role = role("SnapshotTablesFunction");
    let plain_http = |action, key| {
        let mut ask = ask(action, key, &[]);
        ask.context = vec![("aws:SecureTransport", "false")];
        ask
    };
    let old_tls = |action, key, version| {
        let mut ask = ask(action, key, &[ENCRYPTED, ONCE, MAKES]);
        ask.context[1] = ("s3:TlsVersion", version);
        ask
    };
    let table = [
        (true, ask("s3:PutObject", LINES, &[ENCRYPTED, ONCE, MAKES])),
        (true, ask("s3:PutObject", MANIFEST, &[ENCRYPTED, ONCE, MAKES])),
        // The three requests that create an object larger than 8 MiB.
        (true, ask("s3:PutObject", LINES, &[ENCRYPTED, PREPARES])),
        (true, ask("s3:PutObject", LINES, &[PREPARES])),
        (true, ask("s3:PutObject", LINES, &[ONCE, MAKES])),
        // Requests that could overwrite an object.
        (false, ask("s3:PutObject", LINES, &[ENCRYPTED, MAKES])),
        (false, ask("s3:PutObject", MANIFEST, &[ENCRYPTED, MAKES])),
        (false, ask("s3:PutObject", MANIFEST, &[ENCRYPTED, ("s3:if-match", "etag"), MAKES])),
        (false, ask("s3:PutObject", LINES, &[MAKES])),
        // Other prefixes are denied; below its own prefix, the role may read and clean up.
        (false, ask("s3:PutObject", "other", &[ENCRYPTED, ONCE, MAKES])),
        (false, ask("s3:PutObject", "database-backupsX", &[ENCRYPTED, ONCE, MAKES])),
        (false, ask("s3:GetObject", "other", &[])),
        (false, ask("s3:DeleteObject", "other", &[])),
        (true, ask("s3:GetObject", LINES, &[])),
        (true, ask("s3:GetObject", MANIFEST, &[])),
        (true, ask("s3:AbortMultipartUpload", LINES, &[])),
        (true, ask("s3:ListBucket", "", &[])),
        (true, ask("s3:ListBucketMultipartUploads", "", &[])),
        // Requests over plain HTTP or an old TLS version.
        (false, plain_http("s3:GetObject", LINES)),
        (false, plain_http("s3:ListBucket", "")),
        (false, plain_http("s3:PutObject", LINES)),
        (false, old_tls("s3:PutObject", LINES, "1.1")),
        (false, old_tls("s3:GetObject", LINES, "1.0")),
        (true, old_tls("s3:PutObject", LINES, "1.2")),
        // A role may hide an old object behind a delete marker, but may neither destroy it nor bring it back.
        (true, ask("s3:DeleteObject", LINES, &[])),
        (true, ask("s3:DeleteObject", MANIFEST, &[])),
        (false, ask("s3:DeleteObjectVersion", LINES, &[])),
        (false, ask("s3:DeleteObjectVersion", MANIFEST, &[])),
        (false, ask("s3:GetObjectVersion", LINES, &[])),
        (false, ask("s3:ListBucketVersions", "", &[])),
        (false, ask("s3:PutObjectAcl", LINES, &[])),
        (false, ask("s3:PutBucketPolicy", "", &[])),
        (false, ask("s3:PutLifecycleConfiguration", "", &[])),
        (false, ask("s3:PutBucketVersioning", "", &[])),
        (false, ask("s3:DeleteBucket", "", &[])),
    ];
    for (expected, asked) in table {
        assert_eq!(allowed(&role, &asked), expected, "{asked:?}");
    }
}

#[test]
fn even_a_role_with_all_other_permissions_cannot_overwrite_a_snapshot() {
    let administrator = [json!({"Effect": "Allow", "Action": "*", "Resource": "*"})];
    for (expected, asked) in [
        (true, ask("s3:PutObject", LINES, &[ENCRYPTED, ONCE, MAKES])),
        (false, ask("s3:PutObject", LINES, &[ENCRYPTED, MAKES])),
        (false, ask("s3:PutObject", MANIFEST, &[ENCRYPTED, MAKES])),
        (true, ask("s3:PutObject", "other", &[ENCRYPTED, MAKES])),
        (true, ask("s3:PutBucketPolicy", "", &[])),
    ] {
        assert_eq!(allowed(&administrator, &asked), expected, "{asked:?}");
    }
    let nobody = allowed(&[], &ask("s3:GetObject", LINES, &[]));
    assert!(!nobody, "the policy of the bucket allows nothing");
}

#[test]
fn only_the_snapshot_functions_may_access_the_bucket() {
    let template = template();
    for (id, resource) in template["Resources"].as_mapping().unwrap() {
        let id = id.as_str().unwrap();
        if resource["Type"] == "AWS::Serverless::Function" {
            let text = serde_json::to_string(&plain(&resource["Properties"])).unwrap();
            let expected = ["SnapshotTablesFunction", "RestoreFunction", "RestoreDrillFunction"].contains(&id);
            assert_eq!(text.contains("s3:"), expected, "{id}");
        }
    }
}
