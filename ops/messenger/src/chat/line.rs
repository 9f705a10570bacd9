//! The line a person is typing: editing keys, history, and what of it fits on the screen. Pure, no terminal.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longest line, in characters; the relay's limit is in bytes and larger than what anybody types.
const CHARS_MAX: usize = 8_000;

/// Lines kept to be called back with the arrow keys.
const HISTORY_MAX: usize = 100;

/// What a key press means to the conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pressed {
    /// The line changed, or the cursor in it.
    Edited,
    /// A finished line.
    Entered(String),
    /// The person wants to leave.
    Leave,
    Nothing,
}

/// The line, its cursor, and the lines before.
#[derive(Debug, Default)]
pub struct Line {
    chars: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// Which history line is shown; its length: the line being typed.
    shown: usize,
}

impl Line {
    pub fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    pub fn press(&mut self, key: KeyEvent) -> Pressed {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.control(key.code);
        }
        match key.code {
            KeyCode::Char(c) => self.insert(c),
            KeyCode::Enter => return self.enter(),
            KeyCode::Backspace => self.remove_before(1),
            KeyCode::Delete => self.remove_at(),
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.chars.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.chars.len(),
            KeyCode::Up => self.recall(self.shown.saturating_sub(1)),
            KeyCode::Down => self.recall((self.shown + 1).min(self.history.len())),
            _ => return Pressed::Nothing,
        }
        Pressed::Edited
    }

    fn control(&mut self, code: KeyCode) -> Pressed {
        match code {
            KeyCode::Char('c') => return Pressed::Leave,
            KeyCode::Char('d') if self.chars.is_empty() => return Pressed::Leave,
            KeyCode::Char('d') => self.remove_at(),
            KeyCode::Char('a') => self.cursor = 0,
            KeyCode::Char('e') => self.cursor = self.chars.len(),
            KeyCode::Char('u') => self.remove_before(self.cursor),
            KeyCode::Char('k') => self.chars.truncate(self.cursor),
            KeyCode::Char('w') => self.remove_before(self.word_before()),
            KeyCode::Char('h') => self.remove_before(1),
            _ => return Pressed::Nothing,
        }
        Pressed::Edited
    }

    fn insert(&mut self, c: char) {
        if self.chars.len() < CHARS_MAX && !c.is_control() {
            self.chars.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    fn remove_before(&mut self, count: usize) {
        let from = self.cursor.saturating_sub(count);
        self.chars.drain(from..self.cursor);
        self.cursor = from;
    }

    fn remove_at(&mut self) {
        if self.cursor < self.chars.len() {
            self.chars.remove(self.cursor);
        }
    }

    fn word_before(&self) -> usize {
        let before = self.chars[..self.cursor].iter().rev();
        let spaces = before.clone().take_while(|c| c.is_whitespace()).count();
        spaces + before.skip(spaces).take_while(|c| !c.is_whitespace()).count()
    }

    fn enter(&mut self) -> Pressed {
        let text: String = std::mem::take(&mut self.chars).into_iter().collect();
        self.cursor = 0;
        if text.trim().is_empty() {
            return Pressed::Edited;
        }
        if self.history.last() != Some(&text) {
            self.history.push(text.clone());
        }
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
        self.shown = self.history.len();
        Pressed::Entered(text)
    }

    fn recall(&mut self, which: usize) {
        self.shown = which;
        self.chars = self.history.get(which).map_or_else(Vec::new, |line| line.chars().collect());
        self.cursor = self.chars.len();
    }

    /// The part of the line that fits into `columns`, and the cursor's column in it.
    pub fn window(&self, columns: usize) -> (String, usize) {
        let width = |c: &char| c.width().unwrap_or(0);
        let mut from = 0;
        while self.chars[from..self.cursor].iter().map(width).sum::<usize>() + 1 > columns
            && from < self.cursor
        {
            from += 1;
        }
        let mut used = 0;
        let seen = self.chars[from..].iter().take_while(|c| {
            used += width(c);
            used <= columns
        });
        let before: String = self.chars[from..self.cursor].iter().collect();
        (seen.collect(), before.width())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &mut Line, text: &str) {
        for c in text.chars() {
            line.press(KeyEvent::from(KeyCode::Char(c)));
        }
    }

    fn control(line: &mut Line, c: char) -> Pressed {
        line.press(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
    }

    fn text(line: &Line) -> String {
        line.window(1_000).0
    }

    #[test]
    fn editing_keys_do_what_shells_taught() {
        let mut line = Line::default();
        typed(&mut line, "one two three");
        control(&mut line, 'w');
        assert_eq!(text(&line), "one two ");
        control(&mut line, 'a');
        line.press(KeyEvent::from(KeyCode::Delete));
        typed(&mut line, "O");
        assert_eq!(text(&line), "One two ");
        control(&mut line, 'k');
        assert_eq!(text(&line), "O");
        line.press(KeyEvent::from(KeyCode::Backspace));
        line.press(KeyEvent::from(KeyCode::Backspace));
        assert!(line.is_empty());
        assert_eq!(control(&mut line, 'd'), Pressed::Leave);
    }

    #[test]
    fn lines_come_back_with_the_arrows() {
        let mut line = Line::default();
        for said in ["first", "second"] {
            typed(&mut line, said);
            assert_eq!(line.press(KeyEvent::from(KeyCode::Enter)), Pressed::Entered(said.to_owned()));
        }
        line.press(KeyEvent::from(KeyCode::Up));
        line.press(KeyEvent::from(KeyCode::Up));
        assert_eq!(text(&line), "first");
        line.press(KeyEvent::from(KeyCode::Down));
        line.press(KeyEvent::from(KeyCode::Down));
        assert!(line.is_empty());
        assert_eq!(line.press(KeyEvent::from(KeyCode::Enter)), Pressed::Edited, "an empty line is not said");
    }

    #[test]
    fn a_long_line_scrolls_with_the_cursor_and_wide_characters_count_double() {
        let mut line = Line::default();
        typed(&mut line, "abcdefgh");
        assert_eq!(line.window(5), ("efgh".to_owned(), 4));
        control(&mut line, 'a');
        assert_eq!(line.window(5), ("abcde".to_owned(), 0));
        control(&mut line, 'k');
        typed(&mut line, "日本");
        assert_eq!(line.window(10), ("日本".to_owned(), 4));
    }
}
