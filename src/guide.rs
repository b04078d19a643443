#![doc = include_str!("guide/links.md")]
#![doc = include_str!("../docs/README.md")]

/// Makes a module of each page, for its text alone.
///
/// `links.md` stands before a page: of two definitions of a link, Markdown takes the first. So a link to another file leads to that file
/// where the page is read as a file, and to its module here. `tests/it/documents.rs` writes it.
macro_rules! pages {
    ($($(#[$meta:meta])* $name:ident = $file:literal;)*) => { $(
        #[doc = include_str!("guide/links.md")]
        $(#[$meta])*
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    )* };
}

// The code of these pages is run as it stands.
pages! {
    first_task = "first-task.md";
    errors = "errors.md";
    desktop = "desktop.md";
    ending = "ending.md";
    unique = "unique.md";
    waiting = "waiting.md";
    watching = "watching.md";
    file = "file.md";
    processes = "processes.md";
    devices = "devices.md";
    features = "features.md";
    error_kinds = "error-kinds.md";
    moving = "moving.md";
    configuration = "configuration.md";
    compared = "compared.md";
    examples = "examples.md";
    command = "command.md";
    guarantees = "guarantees.md";
}

// The code of these is a part of a test or of an example, which runs (tests/it/documents.rs).
#[cfg(not(doctest))]
pages! {
    args = "args.md";
    conditions = "conditions.md";
    #[doc = include_str!("guide/pictures.md")]
    effects = "effects.md";
    outside = "outside.md";
    #[doc = include_str!("guide/pictures.md")]
    performance = "performance.md";
    #[doc = include_str!("guide/pictures.md")]
    scale = "scale.md";
    #[doc = include_str!("guide/pictures.md")]
    schedules_and_limits = "schedules-and-limits.md";
    testing = "testing.md";
}
