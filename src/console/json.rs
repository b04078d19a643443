//! JSON as it is stored, for display: numbers keep all their digits and keys their order.

use serde_json::value::RawValue;

/// The deepest nesting that is laid out over lines; of deeper JSON most would be indentation.
const MAX_DEPTH: usize = 127;

/// Stored JSON as a value on one line; as a text if it is no JSON.
pub(crate) fn raw(json: &str) -> Box<RawValue> {
    let one_line = laid_out(json, false).and_then(|json| RawValue::from_string(json).ok());
    one_line.unwrap_or_else(|| {
        let text = serde_json::Value::from(json).to_string();
        RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
    })
}

/// Stored JSON over several lines; as it is if it is no JSON.
pub(crate) fn pretty(json: &str) -> String {
    laid_out(json, true).unwrap_or_else(|| json.to_owned())
}

/// JSON with other spaces between its tokens: none, or lines and indentation. None if it is no JSON, or too deep for lines.
fn laid_out(json: &str, in_lines: bool) -> Option<String> {
    serde_json::from_str::<&RawValue>(json).ok()?;
    let mut out = String::with_capacity(json.len());
    let mut depth = 0;
    let (mut in_text, mut is_escaped, mut is_open) = (false, false, false);
    let line = |out: &mut String, depth: usize| {
        if in_lines {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    for c in json.chars() {
        if in_text {
            out.push(c);
            in_text = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        depth -= usize::from(closes);
        if closes != is_open {
            line(&mut out, depth);
        }
        is_open = matches!(c, '{' | '[');
        depth += usize::from(is_open);
        if in_lines && depth > MAX_DEPTH {
            return None;
        }
        out.push(c);
        match c {
            ',' => line(&mut out, depth),
            ':' if in_lines => out.push(' '),
            '"' => in_text = true,
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_digits_and_the_order_of_its_keys() {
        let stored = r#"{"z":170141183460469231731687303715884105727,"a":[1.0,-0.0,{}],"t":"x\" ,{:","e":[],"m":{"k":null}}"#;
        let lines = pretty(stored);
        assert_eq!(
            lines,
            "{\n  \"z\": 170141183460469231731687303715884105727,\n  \"a\": [\n    1.0,\n    -0.0,\n    {}\n  ],\n  \
             \"t\": \"x\\\" ,{:\",\n  \"e\": [],\n  \"m\": {\n    \"k\": null\n  }\n}"
        );
        assert_eq!(raw(&lines).get(), stored);
        assert_eq!(raw("not JSON").get(), "\"not JSON\"");
        assert_eq!(pretty("not JSON"), "not JSON");
        let deep = "[".repeat(500) + &"]".repeat(500);
        assert_eq!(pretty(&deep), deep);
    }
}
