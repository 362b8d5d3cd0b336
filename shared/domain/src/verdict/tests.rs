//! The inputs have few enough combinations to try all of them, so nothing is sampled.

use super::*;
use std::collections::BTreeSet;

const CLAIMED_AT_MS: u64 = 1_795_257_125_000;
const VERSION: Version = 5;

/// One combination of all inputs of a verdict.
#[derive(Debug, Clone)]
struct Case {
    is_muted: bool,
    scope: MuteScope,
    evidence: Evidence,
    binding: Binding,
    policy: Policy,
    /// Age of the evidence when the verdict is asked for.
    age: Duration,
}

impl Case {
    fn now(&self) -> Timestamp {
        self.evidence.observed_at.plus(self.age)
    }

    fn verdicts(&self) -> Verdicts {
        let claimed = Claimed {
            is_muted: self.is_muted,
            mute_scope: self.scope,
            at: Timestamp::from_ms(CLAIMED_AT_MS),
            version: VERSION,
        };
        Verdicts::of(claimed, Witness::Attested(&self.evidence), self.binding, self.policy, self.now())
    }

    fn expired(&self) -> bool {
        self.age > FRESH
    }

    fn older_than_the_claim(&self) -> bool {
        self.evidence.observed_at.ms() + 2000 < CLAIMED_AT_MS
    }
}

/// Calls `check` with every combination: almost 1.2 million.
fn every(mut check: impl FnMut(&Case)) {
    // Values on both sides of the limits: the grace before and after the claim, and the life of the evidence.
    let ends = [-2001_i64, -2000, 0, 1999, 2000].map(|ms| CLAIMED_AT_MS.checked_add_signed(ms).unwrap());
    let ages = [0, 25_000, 25_001].map(Duration::from_millis);
    for is_muted in [true, false] {
        for scope in [MuteScope::App, MuteScope::Os, MuteScope::Device] {
            for &condition in Condition::ALL {
                for &flag in Flag::ALL {
                    for &signal in Signal::ALL {
                        for &route in Route::ALL {
                            for observed in ends {
                                for &binding in Binding::ALL {
                                    for &min_evidence in MinEvidence::ALL {
                                        for age in ages {
                                            let observed_at = Timestamp::from_ms(observed);
                                            let device = None;
                                            let policy = Policy::new(min_evidence);
                                            for version in [VERSION - 1, VERSION] {
                                                for silent_ms in [0, 2999, 3000] {
                                                    let silent_since = Timestamp::from_ms(observed_at.ms() - silent_ms);
                                                    let evidence = Evidence {
                                                        version,
                                                        observed_at,
                                                        condition,
                                                        flag,
                                                        signal,
                                                        route,
                                                        device: device.clone(),
                                                        silent_since: signal.is_silence().then_some(silent_since),
                                                    };
                                                    check(&Case { is_muted, scope, evidence, binding, policy, age });
                                                    if !signal.is_silence() {
                                                        break;
                                                    }
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The reasons that the design allows for each value.
const ALLOWED: &[(Value, &[Reason])] = &[
    (
        Value::Verified,
        &[
            Reason::SilentAndFlagged,
            Reason::DigitalZero,
            Reason::FloorAccepted,
            Reason::FlagOnly,
            Reason::SignalPresent,
            Reason::DeviceMatch,
        ],
    ),
    (
        Value::Contradicted,
        &[
            Reason::DeviceMissing,
            Reason::DeviceMismatch,
            Reason::FlagLies,
            Reason::SignalPresent,
            Reason::OsUnmuted,
            Reason::SilentDevice,
        ],
    ),
    (Value::Stale, &[Reason::AttestationExpired, Reason::ClaimNewer]),
    (
        Value::Unverified,
        &[
            Reason::NoAgent,
            Reason::AgentRevoked,
            Reason::PermissionDenied,
            Reason::HostUnavailable,
            Reason::DeviceBusy,
            Reason::NoData,
            Reason::DeviceUnbound,
            Reason::DeviceAmbiguous,
            Reason::DeviceAlias,
            Reason::StreamSilenced,
            Reason::RecentSignal,
            Reason::AppMutedDeviceHot,
            Reason::WeakEvidence,
            Reason::Quiet,
        ],
    ),
];

#[test]
fn every_reason_is_given_and_only_with_the_value_it_belongs_to() {
    let mut seen = BTreeSet::new();
    let mut note = |verdicts: Verdicts| {
        for verdict in [verdicts.mute, verdicts.device] {
            let reasons = ALLOWED.iter().find(|(value, _)| *value == verdict.value).unwrap().1;
            assert!(reasons.contains(&verdict.reason), "{verdict:?}");
            seen.insert((verdict.value, verdict.reason));
        }
    };
    every(|case| note(case.verdicts()));
    let claimed = Claimed { is_muted: true, mute_scope: MuteScope::App, at: Timestamp::from_ms(0), version: 0 };
    for witness in [Witness::Nobody, Witness::Revoked, Witness::Paired] {
        note(Verdicts::of(
            claimed,
            witness,
            Binding::Same,
            Policy::new(MinEvidence::DigitalZero),
            Timestamp::from_ms(0),
        ));
    }
    let allowed: BTreeSet<_> =
        ALLOWED.iter().flat_map(|(value, reasons)| reasons.iter().map(|reason| (*value, *reason))).collect();
    assert_eq!(seen, allowed);
}

#[test]
fn a_mute_is_verified_only_by_fresh_silence_of_the_bound_device() {
    every(|case| {
        let verdict = case.verdicts().mute;
        if verdict.value != Value::Verified {
            return;
        }
        let Evidence { condition, flag, signal, route, .. } = case.evidence;
        assert!(!case.expired() && !case.older_than_the_claim(), "{case:?}");
        assert_eq!(case.evidence.version, VERSION, "{case:?}");
        assert_eq!((condition, route, case.binding), (Condition::Measured, Route::Direct, Binding::Same), "{case:?}");
        if case.is_muted {
            assert_ne!(signal, Signal::Signal, "{case:?}");
            let strong = signal == Signal::DigitalZero || (signal == Signal::Floor && flag == Flag::Muted);
            assert!(strong || case.policy.min_evidence > MinEvidence::DigitalZero, "{case:?}");
            let lasted = case.evidence.silent_since.is_none_or(|since| since.plus(RECENT) <= case.evidence.observed_at);
            assert!(lasted || flag == Flag::Muted, "{case:?}");
        } else {
            assert_eq!(signal, Signal::Signal, "{case:?}");
        }
    });
}

#[test]
fn signal_never_verifies_a_mute_and_exact_zeros_never_verify_an_open_microphone() {
    every(|case| {
        let verdict = case.verdicts().mute;
        let against = if case.is_muted { Signal::Signal } else { Signal::DigitalZero };
        assert!(case.evidence.signal != against || verdict.value != Value::Verified, "{case:?}");
    });
}

#[test]
fn evidence_of_another_claim_never_verifies_and_contradicts_only_well_after_the_claim() {
    every(|case| {
        if case.evidence.version == VERSION || case.expired() {
            return;
        }
        let Verdicts { mute, device } = case.verdicts();
        assert!(mute.value != Value::Verified && device.value != Value::Verified, "{case:?}");
        if mute.value == Value::Contradicted {
            assert!(case.evidence.observed_at.ms() >= CLAIMED_AT_MS + 2000, "{case:?}");
            assert_eq!((case.binding, case.evidence.route), (Binding::Same, Route::Direct), "{case:?}");
            assert!(case.is_muted && device.reason == Reason::ClaimNewer, "{case:?}");
        }
    });
}

#[test]
fn silence_that_has_just_begun_proves_nothing_without_the_systems_flag() {
    every(|case| {
        let Evidence { flag, signal, observed_at, silent_since, .. } = case.evidence;
        let recent = silent_since.is_some_and(|since| since.plus(RECENT) > observed_at);
        let verdict = case.verdicts().mute;
        if recent && flag != Flag::Muted && signal == Signal::DigitalZero && case.evidence.version == VERSION {
            assert!(!matches!(verdict.reason, Reason::DigitalZero | Reason::SilentDevice), "{case:?}");
        }
        assert!(verdict.since.is_none_or(|since| Some(since) == silent_since), "{case:?}");
        if matches!(verdict.reason, Reason::DigitalZero | Reason::SilentAndFlagged | Reason::RecentSignal) {
            assert_eq!(verdict.since, silent_since, "{case:?}");
        }
    });
}

#[test]
fn an_alias_and_a_silenced_stream_never_verify_and_never_contradict() {
    every(|case| {
        let silenced = case.evidence.route == Route::Silenced && case.binding == Binding::Same;
        if case.evidence.condition == Condition::DeviceMissing {
            return;
        }
        if case.binding == Binding::Alias || silenced {
            let Verdicts { mute, device } = case.verdicts();
            for verdict in [mute, device] {
                assert!(matches!(verdict.value, Value::Unverified | Value::Stale), "{case:?}");
            }
        }
    });
}

#[test]
fn a_missing_device_contradicts_only_a_claim_of_that_device() {
    every(|case| {
        if case.evidence.condition == Condition::DeviceMissing
            && matches!(case.binding, Binding::Unbound | Binding::Ambiguous | Binding::Alias)
        {
            assert_ne!(case.verdicts().mute.value, Value::Contradicted, "{case:?}");
        }
    });
}

#[test]
fn a_moved_stream_and_a_missing_device_never_count_as_silence() {
    every(|case| {
        if case.evidence.route == Route::Moved || case.evidence.condition == Condition::DeviceMissing {
            let Verdicts { mute, device } = case.verdicts();
            assert!(mute.value != Value::Verified && device.value != Value::Verified, "{case:?}");
        }
    });
}

#[test]
fn muted_in_the_app_with_a_hot_device_is_no_contradiction() {
    every(|case| {
        let verdict = case.verdicts().mute;
        if case.is_muted && case.scope == MuteScope::App && case.evidence.route == Route::Direct {
            assert!(
                verdict.value != Value::Contradicted
                    || matches!(verdict.reason, Reason::DeviceMissing | Reason::DeviceMismatch),
                "{case:?}"
            );
        }
    });
}

#[test]
fn a_verdict_expires_by_itself() {
    every(|case| {
        let Verdicts { mute, device } = case.verdicts();
        if case.expired() {
            assert_eq!((mute.value, mute.reason), (Value::Stale, Reason::AttestationExpired), "{case:?}");
        }
        assert_eq!(mute.expires_at, Some(case.evidence.observed_at.plus(FRESH)));
        assert_eq!((mute.observed_at, mute.expires_at), (device.observed_at, device.expires_at));
    });
}

#[test]
fn a_policy_that_asks_for_more_never_verifies_more() {
    every(|case| {
        let stricter = Case { policy: Policy::new(MinEvidence::DigitalZero), ..case.clone() };
        if stricter.verdicts().mute.value == Value::Verified {
            assert_eq!(case.verdicts().mute.value, Value::Verified, "{case:?}");
        }
    });
}

#[test]
fn an_obstacle_of_one_verdict_is_an_obstacle_of_both() {
    every(|case| {
        let Verdicts { mute, device } = case.verdicts();
        let mut own = vec![Reason::DeviceMatch, Reason::WeakEvidence];
        if case.evidence.version != VERSION {
            own.push(Reason::ClaimNewer);
        }
        assert!(own.contains(&device.reason) || (device.value, device.reason) == (mute.value, mute.reason), "{case:?}");
    });
}

#[test]
fn evidence_up_to_two_seconds_older_than_the_claim_still_counts() {
    let case = |observed: u64| Case {
        is_muted: true,
        scope: MuteScope::App,
        evidence: Evidence {
            version: VERSION,
            silent_since: Some(Timestamp::from_ms(CLAIMED_AT_MS - 60_000)),
            observed_at: Timestamp::from_ms(observed),
            condition: Condition::Measured,
            flag: Flag::Muted,
            signal: Signal::DigitalZero,
            route: Route::Direct,
            device: None,
        },
        binding: Binding::Same,
        policy: Policy::new(MinEvidence::DigitalZero),
        age: Duration::ZERO,
    };
    assert_eq!(case(CLAIMED_AT_MS - 2000).verdicts().mute.reason, Reason::SilentAndFlagged);
    assert_eq!(case(CLAIMED_AT_MS - 2001).verdicts().mute.reason, Reason::ClaimNewer);
}
