//! Validation of names, queues, keys and tags.

use crate::error::Error;

/// The queue of tasks that name none.
pub const DEFAULT_QUEUE: &str = "default";

/// The longest name, queue, key or tag, in bytes: long enough for a path or a UUID, short enough for an index.
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// Accepts 1-200 bytes without control characters. `field` names the value in the error.
///
/// # Errors
/// `InvalidInput`, naming the field, the value and the rule.
pub(crate) fn check_name(field: &str, value: &str) -> Result<(), Error> {
    match problem(value) {
        None => Ok(()),
        Some(problem) => Err(Error::invalid_value(field, value, &problem)),
    }
}

/// Like [`check_name`], for keys and tags. Their text may be private, so the error leaves it out.
///
/// # Errors
/// `InvalidInput`, naming the field and the rule.
pub(crate) fn check_key(field: &str, value: &str) -> Result<(), Error> {
    match problem(value) {
        None => Ok(()),
        Some(problem) => Err(Error::invalid(field, &problem)),
    }
}

fn problem(value: &str) -> Option<String> {
    if value.is_empty() {
        return Some(format!("is empty; give it 1-{MAX_NAME_BYTES} bytes"));
    }
    if value.len() > MAX_NAME_BYTES {
        return Some(format!("has {} bytes; shorten it to at most {MAX_NAME_BYTES}", value.len()));
    }
    let control = value.char_indices().find(|(_, c)| c.is_control());
    control.map(|(at, c)| format!("has the control character U+{:04X} at byte {at}; remove it", u32::from(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_hold_on_both_sides() {
        for good in ["a", "Ä", "a b/c:d", &"x".repeat(MAX_NAME_BYTES)] {
            assert!(check_name("queue", good).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(check_name("queue", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_error_names_field_value_and_fix() {
        let e = check_name("queue", "a\0b").unwrap_err().to_string();
        assert_eq!(e, r#"queue "a\0b" has the control character U+0000 at byte 1; remove it"#);
        let e = check_key("unique key", &"secret".repeat(50)).unwrap_err().to_string();
        assert_eq!(e, "unique key has 300 bytes; shorten it to at most 200");
    }
}
