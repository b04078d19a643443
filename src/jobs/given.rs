//! Options that are set only if they were given.

/// Sets an option if it was given.
pub(super) fn with<T, V>(options: T, given: Option<V>, set: impl FnOnce(T, V) -> T) -> T {
    match given {
        Some(value) => set(options, value),
        None => options,
    }
}
