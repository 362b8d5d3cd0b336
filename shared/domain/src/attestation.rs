//! The bodies that an agent sends, and the signature over their exact bytes. `docs/attestation.md` specifies the
//! protocol.

use crate::id::BASE32_CLASS;
use crate::user::Version;
use crate::{AgentDevice, AgentId, Condition, Evidence, Flag, Nullable, Refused, Route, Signal, Timestamp, UserId};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::time::Duration;

/// The header that holds the signature, in base64url.
pub const SIGNATURE_HEADER: &str = "greenroom-signature";

/// Longest window that one attestation may describe.
pub const WINDOW_MAX: Duration = Duration::from_mins(1);
/// Farthest that the end of a window may be from the server's time.
pub const SKEW_MAX: Duration = Duration::from_secs(30);

/// The purpose of a signature. It is part of the signed bytes, so a signature for one purpose is never valid for
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Pairing an agent with a person.
    Enrolment,
    /// Attesting a measurement.
    Attestation,
}

impl Purpose {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Enrolment => b"greenroom-enrolment-v2\n",
            Self::Attestation => b"greenroom-attestation-v2\n",
        }
    }

    /// The tag of protocol 1, whose attestations named no version of the claim.
    const fn superseded_tag(self) -> &'static [u8] {
        match self {
            Self::Enrolment => b"greenroom-enrolment-v1\n",
            Self::Attestation => b"greenroom-attestation-v1\n",
        }
    }

    /// Signs a body, for the header [`SIGNATURE_HEADER`].
    #[must_use]
    pub fn sign(self, key: &SigningKey, body: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(key.sign(&[self.tag(), body].concat()).to_bytes())
    }

    /// Whether `key` made `signature` over exactly this body. Keys of small order and signatures that are not reduced
    /// are refused (RFC 8032, 5.1.7, and the stricter rules of ed25519-dalek's `verify_strict`).
    #[must_use]
    pub fn verify(self, key: &PublicKey, body: &[u8], signature: &str) -> bool {
        is_signed(key, &[self.tag(), body].concat(), signature)
    }

    /// Whether `key` made `signature` over this body by protocol 1. Such an agent only needs an update.
    #[must_use]
    pub fn verify_superseded(self, key: &PublicKey, body: &[u8], signature: &str) -> bool {
        is_signed(key, &[self.superseded_tag(), body].concat(), signature)
    }
}

fn is_signed(key: &PublicKey, text: &[u8], signature: &str) -> bool {
    let Some(signature) = bytes(signature).map(|bytes| Signature::from_bytes(&bytes)) else { return false };
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(text, &signature).is_ok())
}

/// Decodes exactly `N` bytes of base64url. Any other encoding of the same bytes is refused, so each value has one text.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// The pattern of this number of bytes in base64url.
fn base64_pattern(bytes: usize) -> String {
    format!("^[A-Za-z0-9_-]{{{}}}$", (8 * bytes).div_ceil(6))
}

macro_rules! base64_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = base64_pattern($length)))]
        pub struct $name([u8; $length]);

        impl $name {
            /// The bytes themselves.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                bytes(&text).map(Self).ok_or(Refused($rule))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                BASE64_URL_SAFE_NO_PAD.encode(value.0)
            }
        }
    };
}

base64_bytes! {
    /// An agent's Ed25519 public key: 32 bytes in base64url without padding.
    PublicKey, 32, "be 32 bytes in base64url without padding"
}

base64_bytes! {
    /// A random value that the next attestation must repeat, which proves that it was made later: 16 bytes in
    /// base64url.
    Challenge, 16, "be 16 bytes in base64url without padding"
}

base64_bytes! {
    /// A browser's proof that it asked for an agent's pairing: 32 random bytes in base64url. Any client that presents
    /// it decides whose microphone the agent measures.
    WitnessToken, 32, "be 32 bytes in base64url without padding"
}

impl WitnessToken {
    /// Its fingerprint. The server stores this and not the token.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

base64_bytes! {
    /// The first half of a SHA-256 digest: enough to recognize a value again.
    Fingerprint, 16, "be 16 bytes in base64url without padding"
}

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Self(half)
    }
}

impl AgentId {
    /// The id of the agent with this key. A key belongs to one agent, so the id is derived from the key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self::from_bits(u128::from_be_bytes(*Fingerprint::of(&key.0).as_bytes()))
    }
}

/// A pairing code: 80 random bits as 16 digits of Crockford's base32, in groups of four.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PairingCode(String);

impl JsonSchema for PairingCode {
    // The server accepts more forms of a code than it shows, so the two schemas differ.
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PairingCode".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if generator.contract().is_deserialize() {
            json_schema!({"type": "string", "minLength": CODE_DIGITS, "maxLength": TYPED_CHARS_MAX})
        } else {
            json_schema!({"type": "string", "pattern": format!("^{BASE32_CLASS}{{4}}(-{BASE32_CLASS}{{4}}){{3}}$")})
        }
    }
}

/// Digits of a pairing code.
const CODE_DIGITS: usize = 16;
/// Longest code that the API's description allows, in characters: the digits, with room for hyphens and blanks.
const TYPED_CHARS_MAX: usize = 64;

impl PairingCode {
    /// Makes a code from ten random bytes.
    #[must_use]
    pub fn from_random(random: [u8; 10]) -> Self {
        let mut bits = [0; 16];
        bits[6..].copy_from_slice(&random);
        let digits = crate::id::base32(u128::from_be_bytes(bits));
        let digits = &digits[digits.len() - CODE_DIGITS..];
        Self::grouped(digits)
    }

    fn grouped(digits: &str) -> Self {
        Self([0, 4, 8, 12].map(|at| &digits[at..at + 4]).join("-"))
    }

    /// Its fingerprint. The server stores this and not the code.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }
}

impl TryFrom<String> for PairingCode {
    type Error = Refused;

    /// Accepts a code as a person may type it: in any case, with or without hyphens and blanks, `O` for `0`, `I` or `L`
    /// for `1`.
    fn try_from(text: String) -> Result<Self, Refused> {
        let digits: String = text
            .chars()
            .filter(|c| !matches!(c, '-' | ' '))
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .collect();
        if digits.len() == CODE_DIGITS && digits.bytes().all(|byte| crate::id::BASE32.contains(&byte)) {
            Ok(Self::grouped(&digits))
        } else {
            Err(Refused("be 16 letters and digits in groups of four, like 7K3M-Q2XD-9VTA-B4NC"))
        }
    }
}

impl From<PairingCode> for String {
    fn from(code: PairingCode) -> Self {
        code.0
    }
}

/// An agent's request to be paired, signed with its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enrolment {
    /// Whose microphone the agent will measure.
    pub user_id: UserId,
    /// The code that the person was shown, in any case, with or without hyphens.
    pub code: PairingCode,
    /// The key that signs this body and every attestation: Ed25519, 32 bytes in base64url without padding.
    pub public_key: PublicKey,
}

/// An agent's measurement, in coarse classes. `docs/attestation.md` explains each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attestation {
    /// One more than the `seq` of the last accepted attestation.
    pub seq: u64,
    /// The challenge that the server sent last.
    pub challenge: Challenge,
    /// The version of the claim under which the whole window was measured.
    pub version: Version,
    /// Start of the window, in milliseconds since 1970, in the server's time.
    pub from_ms: u64,
    /// End of the window: at most 60 s after `fromMs`, and at most 30 s from the server's time.
    pub to_ms: u64,
    /// When the unbroken silence of the device began; at most `toMs`. Null unless `signal` is `digital_zero` or
    /// `floor`.
    #[schemars(with = "Nullable<u64>")]
    pub silent_since_ms: Option<u64>,
    /// Whether the agent could measure.
    pub condition: Condition,
    /// The system's mute flag.
    pub flag: Flag,
    /// The signal that the device delivered; `not_opened` unless `condition` is `measured`.
    pub signal: Signal,
    /// Which device the stream heard. With `silenced`, `signal` is `not_opened`.
    pub route: Route,
    /// The device that was opened; required if `condition` is `measured`.
    pub device: Option<AgentDevice>,
}

impl Attestation {
    /// Checks the rules that involve several members.
    ///
    /// # Errors
    /// The field and the rule it broke.
    pub fn check(&self) -> Result<(), (&'static str, Refused)> {
        let window = u64::try_from(WINDOW_MAX.as_millis()).unwrap_or(u64::MAX);
        if self.to_ms < self.from_ms || self.to_ms - self.from_ms > window {
            return Err(("toMs", Refused("be between fromMs and 60 s after it")));
        }
        if self.condition != Condition::Measured && self.signal != Signal::NotOpened {
            return Err(("signal", Refused("be not_opened unless condition is measured")));
        }
        if self.route == Route::Silenced && self.signal != Signal::NotOpened {
            return Err(("signal", Refused("be not_opened while route is silenced")));
        }
        if self.signal.is_silence() != self.silent_since_ms.is_some() {
            return Err(("silentSinceMs", Refused("be given if signal is digital_zero or floor, and null otherwise")));
        }
        if self.silent_since_ms.is_some_and(|since| since > self.to_ms) {
            return Err(("silentSinceMs", Refused("be at most toMs")));
        }
        if self.condition == Condition::Measured && self.device.is_none() {
            return Err(("device", Refused("be given if condition is measured")));
        }
        Ok(())
    }

    /// Whether the window ended so far from the server's time that one of the two clocks must be wrong.
    #[must_use]
    pub fn is_skewed(&self, now: Timestamp) -> bool {
        u128::from(self.to_ms.abs_diff(now.ms())) > SKEW_MAX.as_millis()
    }

    /// The evidence to store. A window that ends in the future counts as ending now, so a clock that is ahead does not
    /// make evidence last longer.
    #[must_use]
    pub fn evidence(self, now: Timestamp) -> Evidence {
        let observed_at = Timestamp::from_ms(self.to_ms).min(now);
        Evidence {
            version: self.version,
            observed_at,
            condition: self.condition,
            flag: self.flag,
            signal: self.signal,
            route: self.route,
            device: self.device,
            // The length of the silence is kept: it does not depend on the difference of the two clocks.
            silent_since: self
                .silent_since_ms
                .map(|since| Timestamp::from_ms(observed_at.ms().saturating_sub(self.to_ms.saturating_sub(since)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey(key.verifying_key().to_bytes())
    }

    /// The example by which other agents can check themselves; `docs/attestation.md` shows it.
    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let key = key(7);
        let body = br#"{"userId":"ada","code":"7K3M-Q2XD-9VTA-B4NC","publicKey":"6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"}"#;
        let enrolment: Enrolment = serde_json::from_slice(body).unwrap();
        assert_eq!(enrolment.public_key, public(&key));
        let page = include_str!("../../../docs/attestation.md");
        for part in [
            String::from(public(&key)),
            Purpose::Enrolment.sign(&key, body),
            AgentId::of(&public(&key)).to_string(),
            String::from_utf8(body.to_vec()).unwrap(),
        ] {
            assert!(page.contains(&part), "docs/attestation.md must show {part}");
        }
    }

    #[test]
    fn a_signature_is_good_for_its_key_its_purpose_and_its_bytes_alone() {
        let (ada, eve) = (key(1), key(2));
        let body = br#"{"seq":1}"#;
        let signature = Purpose::Attestation.sign(&ada, body);
        assert!(Purpose::Attestation.verify(&public(&ada), body, &signature));
        assert!(!Purpose::Attestation.verify(&public(&eve), body, &signature));
        assert!(!Purpose::Enrolment.verify(&public(&ada), body, &signature));
        assert!(!Purpose::Attestation.verify(&public(&ada), b"{\"seq\":1} ", &signature));
        for bad in ["", "AAAA", &format!("{signature}=="), &signature[1..]] {
            assert!(!Purpose::Attestation.verify(&public(&ada), body, bad), "{bad}");
        }
    }

    #[test]
    fn every_flipped_bit_of_body_or_signature_is_noticed() {
        let key = key(3);
        let body = br#"{"seq":17,"flag":"muted"}"#.to_vec();
        let signature = Purpose::Attestation.sign(&key, &body);
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Purpose::Attestation.verify(&public(&key), &flipped, &signature), "bit {bit}");
        }
        let raw: [u8; 64] = bytes(&signature).unwrap();
        for bit in 0..raw.len() * 8 {
            let mut flipped = raw;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = BASE64_URL_SAFE_NO_PAD.encode(flipped);
            assert!(!Purpose::Attestation.verify(&public(&key), &body, &flipped), "bit {bit}");
        }
    }

    /// Points of small order, and the group's order to add to `S`: from "Taming the many `EdDSAs`" (Chalkias, Garillot,
    /// Nikolaenko, SSR 2020), tables 1 and 2.
    #[test]
    fn weak_keys_and_unreduced_signatures_are_refused() {
        let small: [&str; 5] = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        ];
        let hex = |text: &str| {
            let mut bytes = [0; 32];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
            }
            bytes
        };
        for point in small {
            // With S = 0 and R = the point, a lax verifier accepts some bodies.
            let signature = BASE64_URL_SAFE_NO_PAD.encode([hex(point), [0; 32]].concat());
            for body in 0..64_u8 {
                assert!(!Purpose::Attestation.verify(&PublicKey(hex(point)), &[body], &signature), "{point}");
            }
        }
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let key = key(4);
        let mut raw: [u8; 64] = bytes(&Purpose::Attestation.sign(&key, b"{}")).unwrap();
        let mut carry = 0;
        for at in 0..32 {
            let sum = u16::from(raw[32 + at]) + u16::from(order[at]) + carry;
            raw[32 + at] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!Purpose::Attestation.verify(&public(&key), b"{}", &BASE64_URL_SAFE_NO_PAD.encode(raw)));
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = PairingCode::from_random([0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let text = String::from(code.clone());
        assert_eq!(text.len(), 19);
        for typed in [text.to_lowercase(), text.replace('-', ""), text.replace('-', " "), text.replace('0', "o")] {
            assert_eq!(PairingCode::try_from(typed), Ok(code.clone()));
        }
        for bad in ["", "7K3M", "7K3M-Q2XD-9VTA-B4NU", "7K3M-Q2XD-9VTA-B4NC-0", "７K3M-Q2XD-9VTA-B4NC"] {
            assert!(PairingCode::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    fn attestation() -> Attestation {
        Attestation {
            seq: 1,
            challenge: Challenge([0; 16]),
            version: 1,
            from_ms: 1000,
            to_ms: 2000,
            silent_since_ms: Some(500),
            condition: Condition::Measured,
            flag: Flag::Muted,
            signal: Signal::DigitalZero,
            route: Route::Direct,
            device: Some(AgentDevice {
                id: "alsa:hw".to_owned().try_into().unwrap(),
                label: "Yeti".to_owned().try_into().unwrap(),
                unique: true,
            }),
        }
    }

    #[test]
    fn a_body_with_inconsistent_members_is_refused() {
        let refused = |attestation: &Attestation| attestation.check().unwrap_err().0;
        assert_eq!(attestation().check(), Ok(()));
        assert_eq!(refused(&Attestation { to_ms: 999, ..attestation() }), "toMs");
        assert_eq!(refused(&Attestation { to_ms: 61_001, ..attestation() }), "toMs");
        assert_eq!(refused(&Attestation { condition: Condition::NoData, ..attestation() }), "signal");
        assert_eq!(refused(&Attestation { route: Route::Silenced, ..attestation() }), "signal");
        assert_eq!(refused(&Attestation { silent_since_ms: None, ..attestation() }), "silentSinceMs");
        assert_eq!(refused(&Attestation { silent_since_ms: Some(2001), ..attestation() }), "silentSinceMs");
        assert_eq!(refused(&Attestation { signal: Signal::Signal, ..attestation() }), "silentSinceMs");
        assert_eq!(refused(&Attestation { device: None, ..attestation() }), "device");
    }

    #[test]
    fn a_window_that_ends_in_the_future_ends_now_and_a_distant_one_is_skewed() {
        let now = Timestamp::from_ms(100_000);
        let ending = |to_ms| Attestation { to_ms, ..attestation() };
        assert_eq!(ending(120_000).evidence(now).observed_at, now);
        assert_eq!(ending(90_000).evidence(now).observed_at, Timestamp::from_ms(90_000));
        assert!(!ending(70_000).is_skewed(now) && !ending(130_000).is_skewed(now));
        let silence = Attestation { to_ms: 120_000, silent_since_ms: Some(115_000), ..attestation() }.evidence(now);
        assert_eq!(silence.silent_since, Some(Timestamp::from_ms(95_000)), "the silence still lasts five seconds");
        assert!(ending(69_999).is_skewed(now) && ending(130_001).is_skewed(now));
    }

    proptest! {
        #[test]
        fn every_code_is_read_back(random in any::<[u8; 10]>()) {
            let code = PairingCode::from_random(random);
            prop_assert_eq!(PairingCode::try_from(String::from(code.clone())), Ok(code));
        }

        #[test]
        fn every_challenge_is_read_back(random in any::<[u8; 16]>()) {
            let challenge = Challenge::from(random);
            prop_assert_eq!(Challenge::try_from(String::from(challenge)), Ok(challenge));
        }
    }
}
