//! The checks on the host, with `std`.

#[test]
fn all_checks_hold_with_std() {
    for (name, check) in ratelimit_meter_targets::CHECKS {
        assert!(check(), "{name}");
    }
}
