//! Planted bugs: a special build has them, to show that the tests of each promise can fail.
//!
//! They exist only under `--cfg perdura_planted`, which only `.ci/planted` sets; the environment
//! variable `PERDURA_BUG` selects one. A bug that is reached writes its name to the file that
//! `PERDURA_BUG_REACHED` names.

/// Whether this bug is planted here.
#[cfg(not(perdura_planted))]
pub(crate) const fn planted(_bug: &str) -> bool {
    false
}

/// Whether this bug is planted here.
#[cfg(perdura_planted)]
pub(crate) fn planted(bug: &str) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let is_chosen = CHOSEN.get_or_init(|| std::env::var("PERDURA_BUG").ok()).as_deref() == Some(bug);
    if is_chosen
        && let Some(file) = std::env::var_os("PERDURA_BUG_REACHED")
        && let Ok(mut file) = std::fs::File::create_new(file)
    {
        let _ = std::io::Write::write_all(&mut file, bug.as_bytes());
    }
    is_chosen
}
