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

// In the order of docs/README.md. The code of each page is run as it stands.
pages! {
    first_task = "first-task.md";
    args = "args.md";
    errors = "errors.md";
    unique = "unique.md";
    waiting = "waiting.md";
    examples = "examples.md";
    desktop = "desktop.md";
    ending = "ending.md";
    #[doc = include_str!("guide/pictures.md")]
    effects = "effects.md";
    #[doc = include_str!("guide/pictures.md")]
    schedules_and_limits = "schedules-and-limits.md";
    conditions = "conditions.md";
    outside = "outside.md";
    testing = "testing.md";
    watching = "watching.md";
    command = "command.md";
    file = "file.md";
    processes = "processes.md";
    devices = "devices.md";
    error_kinds = "error-kinds.md";
    configuration = "configuration.md";
    features = "features.md";
    #[doc = include_str!("guide/pictures.md")]
    scale = "scale.md";
    guarantees = "guarantees.md";
    trust = "trust.md";
    #[doc = include_str!("guide/pictures.md")]
    performance = "performance.md";
    compared = "compared.md";
    moving = "moving.md";
}
