//! What is set only if it was given.

/// Sets an option that was given.
pub(super) fn with<T, V>(options: T, given: Option<V>, set: impl FnOnce(T, V) -> T) -> T {
    match given {
        Some(value) => set(options, value),
        None => options,
    }
}
