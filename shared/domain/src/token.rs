//! Room tokens: JWTs that are signed with Ed25519 (RFC 7519, RFC 8037). Nothing in a token chooses how it is checked.

use crate::attestation::Fingerprint;
use crate::room::Role;
use crate::{Refused, RoomId, Timestamp, UserId};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest life of a token, which is also the longest life of a room.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_hours(12);
/// Keys that verify at the same time: the current one, and the one before the last rotation.
pub const TOKEN_KEYS_MAX: usize = 2;
/// Longest token that is looked at, in bytes. One with the longest ids has about 700.
const TOKEN_BYTES_MAX: usize = 1024;
/// How far the clock that issued a token may be ahead of the clock that verifies it.
const AHEAD_MAX: Duration = Duration::from_mins(1);
/// `alg`, `typ` and `iss` of every room token.
const ALG: &str = "EdDSA";
const TYP: &str = "room+jwt";
const ISSUER: &str = "greenroom";
/// Prefix of `aud`; the room's id follows.
const ROOM_AUDIENCE: &str = "room:";

/// The right of one participant to act in one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomToken {
    /// The room.
    pub room: RoomId,
    /// The participant.
    pub participant: UserId,
    /// The role at the time of issue. What a participant may do is decided by the role that is stored.
    pub role: Role,
    /// The number that the participant's item must have. Leaving and removal raise it, which ends the token.
    pub epoch: u64,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    role: Role,
    epoch: u64,
    /// In seconds since 1970.
    iat: u64,
    /// In seconds since 1970.
    exp: u64,
}

/// The key that signs tokens. It never shows its secret.
pub struct TokenSigner {
    kid: String,
    key: SigningKey,
}

impl TokenSigner {
    /// The key of this seed: 32 random bytes.
    ///
    /// # Errors
    /// All bytes are the same, so the seed is not random.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Refused> {
        if seed.iter().all(|byte| *byte == seed[0]) {
            return Err(Refused("be 32 random bytes"));
        }
        let key = SigningKey::from_bytes(seed);
        Ok(Self { kid: kid(&key.verifying_key()), key })
    }

    /// The public half, in the form in which [`TokenKeys`] reads it.
    #[must_use]
    pub fn public(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// Signs a token.
    #[must_use]
    pub fn sign(&self, token: &RoomToken) -> String {
        let header = Header { alg: ALG, typ: TYP, kid: &self.kid };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: format!("{ROOM_AUDIENCE}{}", token.room),
            sub: token.participant.clone(),
            role: token.role,
            epoch: token.epoch,
            iat: token.issued_at.ms() / 1000,
            exp: token.expires_at.ms() / 1000,
        };
        let part = |json: serde_json::Result<Vec<u8>>| BASE64_URL_SAFE_NO_PAD.encode(json.unwrap_or_default());
        let mut text = part(serde_json::to_vec(&header));
        text.push('.');
        text.push_str(&part(serde_json::to_vec(&claims)));
        let signature = self.key.sign(text.as_bytes());
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut text);
        text
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigner({} ***)", self.kid)
    }
}

/// The public keys that verify tokens, at most [`TOKEN_KEYS_MAX`].
///
/// Its text is the keys' 32 bytes in base64url without padding, separated by commas, the current one first. A key's
/// `kid` is derived from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenKeys(Vec<(String, VerifyingKey)>);

impl FromStr for TokenKeys {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        const RULE: Refused = Refused("be one or two Ed25519 public keys in base64url, separated by a comma");
        let key = |text: &str| {
            let bytes: [u8; 32] = BASE64_URL_SAFE_NO_PAD.decode(text.trim()).ok()?.try_into().ok()?;
            let key = VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())?;
            Some((kid(&key), key))
        };
        let keys: Vec<_> = text.split(',').map(key).collect::<Option<_>>().ok_or(RULE)?;
        if keys.len() > TOKEN_KEYS_MAX { Err(RULE) } else { Ok(Self(keys)) }
    }
}

impl fmt::Display for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().map(|(_, key)| BASE64_URL_SAFE_NO_PAD.encode(key.as_bytes()));
        f.write_str(&keys.collect::<Vec<_>>().join(","))
    }
}

impl TokenKeys {
    /// The public halves of these keys.
    #[must_use]
    pub fn of<'a>(signers: impl Iterator<Item = &'a TokenSigner>) -> Self {
        Self(signers.map(|signer| (signer.kid.clone(), signer.key.verifying_key())).collect())
    }

    /// Whether the first key is the public half of this one.
    #[must_use]
    pub fn begin_with(&self, signer: &TokenSigner) -> bool {
        self.0.first().is_some_and(|(_, key)| *key == signer.key.verifying_key())
    }

    /// Whether there is no key, so that no token is valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token of this text. `None` for any text that one of these keys did not sign as a room token, and for a token
    /// that is not valid at `now`; a caller learns no reason.
    #[must_use]
    pub fn verify(&self, text: &str, now: Timestamp) -> Option<RoomToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        if header.alg != ALG || header.typ != TYP {
            return None;
        }
        let (_, key) = self.0.iter().find(|(kid, _)| kid == header.kid)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        key.verify_strict(signed.as_bytes(), &Signature::from_slice(&signature).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let seconds = |seconds: u64| Timestamp::from_ms(seconds.saturating_mul(1000));
        let (issued_at, expires_at) = (seconds(claims.iat), seconds(claims.exp));
        let is_valid = claims.iss == ISSUER
            && issued_at <= now.plus(AHEAD_MAX)
            && now < expires_at
            && expires_at <= issued_at.plus(TOKEN_LIFE_MAX);
        let room = claims.aud.strip_prefix(ROOM_AUDIENCE)?.parse().ok()?;
        is_valid.then_some(RoomToken {
            room,
            participant: claims.sub,
            role: claims.role,
            epoch: claims.epoch,
            issued_at,
            expires_at,
        })
    }
}

/// A key's name: the first half of its SHA-256, so that a key has only one.
fn kid(key: &VerifyingKey) -> String {
    Fingerprint::of(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_257_125_000);

    fn signer(first: u8) -> TokenSigner {
        let mut seed = [7; 32];
        seed[0] = first;
        TokenSigner::from_seed(&seed).unwrap()
    }

    fn keys(signer: &TokenSigner) -> TokenKeys {
        signer.public().parse().unwrap()
    }

    fn token() -> RoomToken {
        RoomToken {
            room: "rm_01JD0Q2K3V4W5X6Y7Z8A9BCDEF".parse().unwrap(),
            participant: "p_01JD0Q2K3V4W5X6Y7Z8A9BCDEF".parse().unwrap(),
            role: Role::Attendee,
            epoch: 1,
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_hours(12)),
        }
    }

    /// Signs any header and any claims.
    fn signed(key: &TokenSigner, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = key.key.sign(text.as_bytes()).to_bytes();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn parts(text: &str) -> (String, String) {
        let mut parts = text
            .split('.')
            .map(|part| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or_default());
        (parts.next().unwrap(), parts.next().unwrap())
    }

    #[test]
    fn a_signed_token_is_read_back() {
        let key = signer(1);
        assert_eq!(keys(&key).verify(&key.sign(&token()), NOW), Some(token()));
    }

    #[test]
    fn a_token_is_valid_from_its_issue_to_its_expiry() {
        let (key, text) = (signer(1), signer(1).sign(&token()));
        let at = |ms: u64| keys(&key).verify(&text, Timestamp::from_ms(ms)).is_some();
        let (from, to) = (NOW.ms(), token().expires_at.ms());
        assert!(at(from) && at(from - 60_000) && at(to - 1));
        assert!(!at(from - 60_001) && !at(to) && !at(to + 1));
    }

    #[test]
    fn the_key_before_a_rotation_still_verifies_and_a_retired_one_does_not() {
        let [new, old, retired] = [1, 2, 3].map(signer);
        let keys: TokenKeys = format!("{},{}", new.public(), old.public()).parse().unwrap();
        assert!(keys.verify(&new.sign(&token()), NOW).is_some() && keys.verify(&old.sign(&token()), NOW).is_some());
        assert!(keys.verify(&retired.sign(&token()), NOW).is_none());
        assert_eq!(keys.to_string().parse(), Ok(keys));
    }

    #[test]
    fn a_forged_header_is_refused() {
        let key = signer(1);
        let (header, claims) = parts(&key.sign(&token()));
        let kid = &key.kid;
        assert!(keys(&key).verify(&signed(&key, &header, &claims), NOW).is_some());
        let mut forged: Vec<String> = [
            "none", "None", "nOnE", "NONE", "HS256", "HS512", "RS256", "PS256", "ES256", "Ed25519", "eddsa", "EdDSA ",
            "",
        ]
        .iter()
        .map(|alg| format!(r#"{{"alg":"{alg}","typ":"room+jwt","kid":"{kid}"}}"#))
        .collect();
        forged.extend(
            ["JWT", "account+jwt", "room", ""].map(|typ| format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#)),
        );
        let kids = ["../../dev/null", "' OR 1=1 --", "\\u0000", "", &"k".repeat(10_000), &kid.to_lowercase()];
        forged.extend(kids.map(|kid| format!(r#"{{"alg":"EdDSA","typ":"room+jwt","kid":"{kid}"}}"#)));
        let more = [
            r#""jku":"https://evil.example/keys""#,
            r#""jwk":{"kty":"OKP"}"#,
            r#""x5u":"https://evil.example""#,
            r#""x5c":[]"#,
            r#""crit":["exp"]"#,
            r#""b64":false"#,
            r#""alg":"EdDSA""#,
            r#""zip":"DEF""#,
        ];
        forged.extend(more.map(|more| format!(r#"{{"alg":"EdDSA","typ":"room+jwt","kid":"{kid}",{more}}}"#)));
        let algs = ["null", "0", r#"["EdDSA"]"#];
        forged.extend(algs.map(|alg| format!(r#"{{"alg":{alg},"typ":"room+jwt","kid":"{kid}"}}"#)));
        forged.extend(["{}", "[]", "null", "", "{", r#"{"alg":"EdDSA","typ":"room+jwt"}"#].map(str::to_owned));
        assert!(forged.len() >= 40, "{}", forged.len());
        for header in forged {
            assert_eq!(keys(&key).verify(&signed(&key, &header, &claims), NOW), None, "{header}");
        }
    }

    #[test]
    fn malformed_claims_are_refused() {
        let key = signer(1);
        let (header, claims) = parts(&key.sign(&token()));
        let (iat, exp) = (NOW.ms() / 1000, token().expires_at.ms() / 1000);
        let with = |from: &str, to: &str| {
            assert!(claims.contains(from), "{from}");
            claims.replace(from, to)
        };
        let exp_is = |value: &str| with(&format!(r#""exp":{exp}"#), &format!(r#""exp":{value}"#));
        let iat_is = |value: String| with(&format!(r#""iat":{iat}"#), &format!(r#""iat":{value}"#));
        let bad = [
            exp_is("\"never\""),
            exp_is("1e400"),
            exp_is("-1"),
            exp_is("null"),
            exp_is(&format!("{}", iat + 43_201)),
            exp_is("18446744073709551615"),
            with(&format!(r#","exp":{exp}"#), ""),
            iat_is(format!("{}", iat + 3600)),
            iat_is("null".to_owned()),
            with("greenroom", "other"),
            with("room:", "account:"),
            with("room:rm_", "rm_"),
            with(r#""sub":"p_01JD0Q2K3V4W5X6Y7Z8A9BCDEF""#, r#""sub":["p_01JD0Q2K3V4W5X6Y7Z8A9BCDEF"]"#),
            with("attendee", "owner"),
            with(r#""epoch":1"#, r#""epoch":-1"#),
            with("{", r#"{"nbf":1,"#),
            with("{", r#"{"exp":1,"#),
            "{}".to_owned(),
            "[]".to_owned(),
            String::new(),
        ];
        for claims in bad {
            assert_eq!(keys(&key).verify(&signed(&key, &header, &claims), NOW), None, "{claims}");
        }
    }

    #[test]
    fn a_symmetric_signature_with_the_public_key_is_refused() {
        let key = signer(1);
        let (_, claims) = parts(&key.sign(&token()));
        let header = format!(r#"{{"alg":"HS256","typ":"room+jwt","kid":"{}"}}"#, key.kid);
        let text = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        for signature in [
            "",
            "AA",
            &BASE64_URL_SAFE_NO_PAD.encode([0; 64]),
            &BASE64_URL_SAFE_NO_PAD.encode(key.key.verifying_key().as_bytes()),
        ] {
            assert_eq!(keys(&key).verify(&format!("{text}.{signature}"), NOW), None);
        }
    }

    #[test]
    fn a_weak_key_is_refused() {
        assert!(TokenSigner::from_seed(&[0; 32]).is_err() && TokenSigner::from_seed(&[9; 32]).is_err());
        let zero = BASE64_URL_SAFE_NO_PAD.encode([0; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let good = signer(1).public();
        let three = [1, 2, 3].map(|n| signer(n).public()).join(",");
        for bad in [
            "",
            "secret",
            "development-secret-key",
            &zero,
            &BASE64_URL_SAFE_NO_PAD.encode(one),
            &three,
            &good[1..],
            &format!("{good},"),
        ] {
            assert!(bad.parse::<TokenKeys>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signer_does_not_show_its_secret() {
        let shown = format!("{:?}", signer(1));
        assert!(shown.contains("***") && !shown.contains('['), "{shown}");
    }

    proptest! {
        #[test]
        fn any_changed_byte_ends_a_token(place in any::<prop::sample::Index>(), to in 0x21_u8..0x7f) {
            let (key, text) = (signer(1), signer(1).sign(&token()));
            let mut bytes = text.clone().into_bytes();
            let place = place.index(bytes.len());
            prop_assume!(bytes[place] != to);
            bytes[place] = to;
            prop_assert_eq!(keys(&key).verify(&String::from_utf8(bytes).unwrap(), NOW), None);
        }

        #[test]
        fn no_text_makes_verification_panic(text in any::<String>()) {
            prop_assert_eq!(keys(&signer(1)).verify(&text, NOW), None);
        }
    }
}
