//! Values as JSON: an accepted value is read back unchanged, and error messages contain nothing of
//! the value.

mod lossless;
mod shape;

use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use lossless::{MAX_DEPTH, Refused, Strictly, Why};

/// The JSON of a value, if it is within the limit.
///
/// # Errors
/// `Serialization` (naming `what` and the field) or `TooLarge` (naming `what`); never with a part
/// of the value.
pub(crate) fn to_json<V: Serialize + ?Sized>(what: &str, value: &V, limit: usize) -> Result<String, Error> {
    let json = written(value)
        .map_err(|why| Error::new(ErrorKind::Serialization, format!("the {what} cannot be kept: {why}")))?;
    measured(what, json, limit)
}

/// The same JSON, if it is within the limit.
///
/// # Errors
/// `TooLarge`, naming `what`.
pub(crate) fn measured(what: &str, json: String, limit: usize) -> Result<String, Error> {
    if json.len() > limit {
        let message = format!(
            "the JSON of the {what} has {} bytes, over the limit of {limit}; store it elsewhere and keep its name",
            json.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(json)
}

/// JSON that reads back as this value, or why there is none.
fn written<V: Serialize + ?Sized>(value: &V) -> Result<String, String> {
    let refused = Cell::new(None);
    let written = match planted("g01-other-values-than-given") {
        false => serde_json::to_string(&Strictly::new(value, &refused)),
        true => serde_json::to_string(value),
    };
    written.map_err(|e| match refused.get() {
        None => format!("the value does not turn into JSON ({})", place(&e)),
        Some(Refused { why, field }) => {
            let place = field.map_or_else(String::new, |field| format!(" in the field `{field}`"));
            match why {
                Why::NotFinite => format!(
                    "a number{place} is NaN or infinite, for which JSON has no number; give it as a text, or leave it out"
                ),
                Why::TooDeep => format!(
                    "something{place} lies more than {MAX_DEPTH} lists and maps deep, which is more than is read back; give it \
                     as a flat list, or as a text"
                ),
            }
        }
    })
}

/// Reads a value from JSON.
///
/// # Errors
/// What is wrong: fields of the type and kinds of values, never a part of the JSON.
pub(crate) fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|e| {
        let misfit = if e.classify() == Category::Data { shape::misfit::<T>(json) } else { None };
        match misfit.filter(|_| !planted("g14-args-in-errors")) {
            Some(misfit) => format!("{misfit} ({})", place(&e)),
            None => place(&e),
        }
    })
}

/// Where JSON is wrong. serde's own messages repeat values, so only the position is used.
fn place(e: &serde_json::Error) -> String {
    if planted("g14-args-in-errors") {
        return e.to_string();
    }
    let kind = match e.classify() {
        Category::Data => "a value of another shape",
        Category::Syntax => "not JSON",
        Category::Eof => "cut short",
        Category::Io => "a value that cannot be written",
    };
    match e.line() {
        0 => kind.to_owned(),
        line => format!("{kind} at line {line} column {}", e.column()),
    }
}
