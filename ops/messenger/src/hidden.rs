//! Reads a password from a terminal that shows nothing of it.

use std::io::{self, Write};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Gives the terminal back as it was, whatever happens while typing.
struct Raw;

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing is left to do when the terminal is gone.
        let _ = disable_raw_mode();
        tell!("");
    }
}

/// One line, without echo; Ctrl-C and Ctrl-D give up.
pub fn ask(prompt: &str) -> io::Result<String> {
    io::stderr().write_all(prompt.as_bytes())?;
    io::stderr().flush()?;
    enable_raw_mode()?;
    let _raw = Raw;
    let mut typed = String::new();
    loop {
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Ok(typed),
            KeyCode::Char('c' | 'd') if is_control => {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "no password given"));
            }
            KeyCode::Char('u') if is_control => typed.clear(),
            KeyCode::Char(letter) if !is_control => typed.push(letter),
            KeyCode::Backspace => drop(typed.pop()),
            _ => {}
        }
    }
}
