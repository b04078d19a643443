//! What a test needs of the machine. The tests of the command use it, too.

use std::io::Write;

/// Whether this machine has what a test needs. Without it the test says loudly that it is skipped; with `CI=true` that is a failure.
#[track_caller]
pub fn has(what: &str, found: bool) -> bool {
    if !found {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "this machine has no {what}, and CI=true allows no skip"
        );
        // Past the harness, which shows what a test prints only when it fails.
        let place = std::panic::Location::caller();
        let _ = writeln!(std::io::stderr(), "SKIPPED: this machine has no {what} (at {place})");
    }
    found
}
