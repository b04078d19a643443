//! The filter box: what is typed, and the filter that it stands for.
//!
//! Words are searched for as they stand, together. `state:failed,lost`, `queue:`, `name:`, `error:`, `tag:` and `id:` narrow the
//! search; quotes keep a value or a text with blanks or colons together.

use std::fmt;

use crate::console::filter::Conditions;
use crate::{Filter, State, TaskId};

/// The filter that was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub states: Vec<State>,
    pub ids: Vec<TaskId>,
    pub queue: Option<String>,
    pub name: Option<String>,
    pub error: Option<String>,
    pub tag: Option<String>,
    pub text: Option<String>,
}

/// The qualifiers.
const QUALIFIERS: &str = "state: queue: name: error: tag: id:";

impl Query {
    /// Reads what was typed.
    ///
    /// # Errors
    /// What is wrong, with the qualifier and what to write.
    pub fn parse(typed: &str) -> Result<Query, String> {
        let mut query = Query::default();
        let mut words = Vec::new();
        for token in tokens(typed)? {
            match token {
                (None, word) if word.is_empty() => {
                    return Err("\"\" is an empty text; write what to search for".to_owned());
                }
                (None, word) => words.push(word),
                (Some(qualifier), value) => query.narrow(&qualifier, value)?,
            }
        }
        query.text = (!words.is_empty()).then(|| words.join(" "));
        Ok(query)
    }

    fn narrow(&mut self, qualifier: &str, value: String) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("{qualifier}: has no value; write {}", example(qualifier)));
        }
        let place = match qualifier {
            "state" => return self.narrow_states(&value),
            "id" => return self.narrow_ids(&value),
            "queue" => &mut self.queue,
            "name" => &mut self.name,
            "error" => &mut self.error,
            "tag" => &mut self.tag,
            _ => {
                return Err(format!(
                    "there is no {qualifier}: (but {QUALIFIERS}); put quotes around a text with a colon"
                ));
            }
        };
        match place {
            Some(earlier) => Err(format!("{qualifier}: is there twice ({earlier} and {value}); keep one")),
            None => {
                *place = Some(value);
                Ok(())
            }
        }
    }

    fn narrow_states(&mut self, value: &str) -> Result<(), String> {
        for name in value.split(',') {
            let state = name.parse().map_err(|_| {
                let all = State::ALL.map(|state| state.as_str().to_lowercase()).join(", ");
                format!("state: {name:?} is none of {all}")
            })?;
            if !self.states.contains(&state) {
                self.states.push(state);
            }
        }
        Ok(())
    }

    fn narrow_ids(&mut self, value: &str) -> Result<(), String> {
        for number in value.split(',') {
            let id = number
                .parse()
                .map_err(|_| format!("id: {number:?} is no task id; write {}", example("id")))?;
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        Ok(())
    }

    /// Whether it matches every task.
    pub fn is_all(&self) -> bool {
        *self == Query::default()
    }

    /// The queue's filter of this query.
    pub fn filter(&self) -> Filter {
        let Query { states, ids, queue, name, error, tag, text } = self;
        let filter = Conditions { states, queue, name, error, tag, text }.filter();
        if ids.is_empty() { filter } else { filter.ids(ids.iter().copied()) }
    }

    /// The part of it that the counters know: its states and its queue. Every task that it matches is among theirs.
    pub fn counted(&self) -> Query {
        Query { states: self.states.clone(), queue: self.queue.clone(), ..Query::default() }
    }

    /// This query, with these states in place of its own.
    pub fn in_states(&self, states: &[State]) -> Query {
        Query { states: states.to_vec(), ..self.clone() }
    }
}

/// As it would be typed.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(","));
        let states = list(self.states.iter().map(|state| state.as_str().to_lowercase()).collect());
        let ids = list(self.ids.iter().map(TaskId::to_string).collect());
        let parts = [
            ("state", states),
            ("id", ids),
            ("queue", self.queue.as_deref().map(quoted)),
            ("name", self.name.as_deref().map(quoted)),
            ("error", self.error.as_deref().map(quoted)),
            ("tag", self.tag.as_deref().map(quoted)),
        ];
        let mut gap = "";
        for (qualifier, value) in parts {
            if let Some(value) = value {
                write!(f, "{gap}{qualifier}:{value}")?;
                gap = " ";
            }
        }
        match &self.text {
            Some(text) => write!(f, "{gap}{}", quoted(text)),
            None => Ok(()),
        }
    }
}

fn example(qualifier: &str) -> &'static str {
    match qualifier {
        "state" => "state:failed or state:failed,lost",
        "id" => "id:17 or id:17,18",
        "queue" => "queue:default",
        "name" => "name:upload",
        "error" => "error:NotFound",
        "tag" => "tag:nightly",
        _ => QUALIFIERS,
    }
}

/// The text, in quotes if [`tokens`] would not read it back as one token otherwise.
fn quoted(text: &str) -> String {
    let plain = |c: char| !(c.is_whitespace() || matches!(c, ':' | '"' | '\\'));
    // A qualifier's value may hold colons, but a text may not; quotes do no harm.
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The words that were typed, each with the qualifier before its first colon. A backslash within quotes takes the next character as it is.
fn tokens(typed: &str) -> Result<Vec<(Option<String>, String)>, String> {
    let mut tokens = Vec::new();
    let mut chars = typed.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(tokens);
        }
        let (mut qualifier, mut word, mut was_quoted) = (None, String::new(), false);
        while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
            match c {
                ':' if qualifier.is_none() && !was_quoted => qualifier = Some(std::mem::take(&mut word)),
                '"' => {
                    was_quoted = true;
                    loop {
                        match chars.next() {
                            Some('"') => break,
                            Some('\\') => word.extend(chars.next()),
                            Some(c) => word.push(c),
                            None => return Err("a quote is open; end it with \"".to_owned()),
                        }
                    }
                }
                c => word.push(c),
            }
        }
        tokens.push((qualifier, word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_and_qualifiers_are_told_apart() {
        let query =
            Query::parse(r#"disk  state:failed,LOST queue:"night jobs" name:a:b tag:t id:3,4 full"#).unwrap();
        assert_eq!(query.states, [State::Failed, State::Lost]);
        assert_eq!(query.ids, [3, 4].map(TaskId::from_i64));
        assert_eq!(query.queue.as_deref(), Some("night jobs"));
        assert_eq!(query.name.as_deref(), Some("a:b"));
        assert_eq!(query.text.as_deref(), Some("disk full"));
        assert!(Query::parse("\"\"").unwrap_err().contains("empty text"));
        assert_eq!(Query::parse(r#""http://x" "#).unwrap().text.as_deref(), Some("http://x"));
        assert!(Query::parse("  ").unwrap().is_all());
    }

    #[test]
    fn errors_name_the_qualifier_and_what_to_write() {
        for (typed, part) in [
            ("state:fialed", r#"state: "fialed" is none of queued, running"#),
            ("state:", "state: has no value; write state:failed"),
            ("queue:a queue:b", "queue: is there twice (a and b)"),
            ("http://x", "there is no http: (but state: queue:"),
            ("id:1,x", r#"id: "x" is no task id"#),
            ("error:\"abc", "a quote is open"),
        ] {
            let error = Query::parse(typed).unwrap_err();
            assert!(error.contains(part), "{typed}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_means_the_same_when_it_is_typed(
            queue in prop::option::of("[a-z:\" \\\\ü]{1,8}"),
            error in prop::option::of("[A-Za-z:]{1,8}"),
            text in prop::option::of("[a-z:\"\\\\]{1,5}( [a-z:\"\\\\]{1,5}){0,2}"),
            states in prop::collection::btree_set(prop::sample::select(&State::ALL[..]), 0..3),
        ) {
            let query = Query { states: states.into_iter().collect(), queue, error, text, ..Query::default() };
            prop_assert_eq!(Query::parse(&query.to_string()), Ok(query));
        }
    }
}
