//! Every combination of the inputs is small enough to be tried, so nothing is sampled.

use super::*;
use std::collections::BTreeSet;

const CLAIMED_AT_MS: u64 = 1_795_257_125_000;

/// One combination of everything that a verdict depends on.
#[derive(Debug, Clone)]
struct Case {
    is_muted: bool,
    scope: MuteScope,
    device_claimed: bool,
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
        let device = DeviceId::try_from("e3b0".to_owned()).unwrap();
        let claimed = Claimed {
            is_muted: self.is_muted,
            mute_scope: self.scope,
            device_id: self.device_claimed.then_some(&device),
            at: Timestamp::from_ms(CLAIMED_AT_MS),
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

/// Calls `check` with every combination: some 250 000.
fn every(mut check: impl FnMut(&Case)) {
    // Around the edges of the grace before the claim, and of the life of the evidence.
    let ends = [-2001_i64, -2000, 0, 5000].map(|ms| CLAIMED_AT_MS.checked_add_signed(ms).unwrap());
    let ages = [0, 25_000, 25_001].map(Duration::from_millis);
    for is_muted in [true, false] {
        for scope in [MuteScope::App, MuteScope::Os, MuteScope::Device] {
            for device_claimed in [true, false] {
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
                                                let evidence =
                                                    Evidence { observed_at, condition, flag, signal, route, device };
                                                let policy = Policy::new(min_evidence);
                                                let case = Case {
                                                    is_muted,
                                                    scope,
                                                    device_claimed,
                                                    evidence,
                                                    binding,
                                                    policy,
                                                    age,
                                                };
                                                check(&case);
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

/// The words of the design: what a verdict may say, and with which reason.
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
    let claimed = Claimed { is_muted: true, mute_scope: MuteScope::App, device_id: None, at: Timestamp::from_ms(0) };
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
        assert_eq!((condition, route, case.binding), (Condition::Measured, Route::Direct, Binding::Same), "{case:?}");
        if case.is_muted {
            assert_ne!(signal, Signal::Signal, "{case:?}");
            let strong = signal == Signal::DigitalZero || (signal == Signal::Floor && flag == Flag::Muted);
            assert!(strong || case.policy.min_evidence > MinEvidence::DigitalZero, "{case:?}");
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
fn what_holds_in_the_way_of_one_verdict_holds_in_the_way_of_both() {
    every(|case| {
        let Verdicts { mute, device } = case.verdicts();
        let own = [Reason::DeviceMatch, Reason::WeakEvidence];
        assert!(own.contains(&device.reason) || (device.value, device.reason) == (mute.value, mute.reason), "{case:?}");
    });
}

#[test]
fn evidence_up_to_two_seconds_older_than_the_claim_still_counts() {
    let case = |observed: u64| Case {
        is_muted: true,
        scope: MuteScope::App,
        device_claimed: true,
        evidence: Evidence {
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
