//! A line that is being typed.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What may be typed at most: more than any filter needs.
const MAX_INPUT_CHARS: usize = 500;

/// The line, and where the next character goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Input {
    before: Vec<char>,
    /// In reverse order.
    after: Vec<char>,
}

impl Input {
    pub fn new(text: &str) -> Input {
        Input { before: text.chars().collect(), after: Vec::new() }
    }

    pub fn text(&self) -> String {
        self.before.iter().chain(self.after.iter().rev()).collect()
    }

    /// The text before the cursor, and the text from there on.
    pub fn halves(&self) -> (String, String) {
        (self.before.iter().collect(), self.after.iter().rev().collect())
    }

    /// Takes a key that edits; others it leaves.
    pub fn on_key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('u') if control => self.before.clear(),
            KeyCode::Char('k') if control => self.after.clear(),
            KeyCode::Char('a') if control => self.home(),
            KeyCode::Char('e') if control => self.end(),
            KeyCode::Char('w') if control => {
                while self.before.pop_if(|c| c.is_whitespace()).is_some() {}
                while self.before.pop_if(|c| !c.is_whitespace()).is_some() {}
            }
            KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => {}
            KeyCode::Char(c) => self.insert(c),
            KeyCode::Backspace => drop(self.before.pop()),
            KeyCode::Delete => drop(self.after.pop()),
            KeyCode::Left => self.after.extend(self.before.pop()),
            KeyCode::Right => self.before.extend(self.after.pop()),
            KeyCode::Home => self.home(),
            KeyCode::End => self.end(),
            _ => {}
        }
    }

    /// Takes text from the clipboard: as one line.
    pub fn paste(&mut self, text: &str) {
        text.chars().for_each(|c| self.insert(if c.is_control() { ' ' } else { c }));
    }

    fn insert(&mut self, c: char) {
        if !c.is_control() && self.before.len() + self.after.len() < MAX_INPUT_CHARS {
            self.before.push(c);
        }
    }

    fn home(&mut self) {
        self.after.extend(self.before.drain(..).rev());
    }

    fn end(&mut self) {
        self.before.extend(self.after.drain(..).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_where_the_cursor_is() {
        let mut input = Input::new("käse brot");
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        input.on_key(control('w'));
        assert_eq!(input.text(), "käse ");
        input.on_key(key(KeyCode::Home));
        input.on_key(key(KeyCode::Right));
        input.on_key(key(KeyCode::Delete));
        input.on_key(key(KeyCode::Char('ü')));
        assert_eq!(input.halves(), ("kü".to_owned(), "se ".to_owned()));
        input.on_key(control('u'));
        input.on_key(key(KeyCode::End));
        input.paste("a\nb\u{1b}");
        assert_eq!(input.text(), "se a b ");
        input.paste(&"x".repeat(9999));
        assert_eq!(input.text().chars().count(), MAX_INPUT_CHARS);
    }
}
