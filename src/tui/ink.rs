//! How things look: in the sixteen colours that every terminal has, or without any. What a colour says, a word or a mark says too.

use ratatui::style::{Color, Modifier, Style};

use crate::State;
use crate::console::times::Zone;

/// Whether there are colours, and how times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    pub colors: bool,
    pub zone: Zone,
}

impl Ink {
    fn color(self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }

    pub fn plain(self) -> Style {
        Style::new()
    }

    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less. (Many terminals show no dimmed text; a grey is seen.)
    pub fn dim(self) -> Style {
        self.color(Color::DarkGray)
    }

    pub fn bad(self) -> Style {
        self.color(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn warn(self) -> Style {
        self.color(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub fn key(self) -> Style {
        self.color(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What the cursor is on.
    pub fn cursor(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The bar at the top.
    pub fn bar(self) -> Style {
        if self.colors {
            Style::new().fg(Color::Black).bg(Color::Cyan)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    pub fn state(self, state: State) -> Style {
        match state {
            State::Queued => self.color(Color::Blue),
            State::Running => self.color(Color::Cyan),
            State::Succeeded => self.color(Color::Green),
            State::Failed => self.color(Color::Red).add_modifier(Modifier::BOLD),
            State::Cancelled => self.color(Color::DarkGray),
            State::Lost => self.color(Color::Magenta).add_modifier(Modifier::BOLD),
        }
    }
}
