//! The terminal of a conversation: messages scroll above, the line being typed stays below. Without a terminal,
//! plain lines.

use std::io::{IsTerminal, Stdout, Write, stdout};

use crossterm::cursor::MoveToColumn;
use crossterm::queue;
use crossterm::style::{Attribute, Color, ContentStyle, PrintStyledContent, StyledContent};
use crossterm::terminal::{Clear, ClearType, disable_raw_mode, enable_raw_mode, size};
use unicode_width::UnicodeWidthStr;

use crate::chat::line::Line;

/// A piece of text and how it looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    pub text: String,
    pub look: Look,
}

/// How a piece of text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Plain,
    Dim,
    /// A name; the number chooses the colour, the same for the same person.
    Name(u8),
    Warning,
}

/// Colours that are legible on dark and on light.
const NAME_COLORS: [Color; 6] =
    [Color::Cyan, Color::Green, Color::Magenta, Color::Blue, Color::DarkYellow, Color::Red];

/// The terminal. Dropping it gives the terminal back as it was.
pub struct Screen {
    out: Stdout,
    /// A person sits there: raw mode, a line being typed.
    interactive: bool,
    colored: bool,
}

impl Screen {
    /// Takes the terminal if standard input and output are one.
    pub fn open() -> std::io::Result<Self> {
        let interactive = stdout().is_terminal() && std::io::stdin().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        if interactive {
            enable_raw_mode()?;
        }
        Ok(Self { out: stdout(), interactive, colored: interactive && !refused && !dumb })
    }

    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Prints a line above the one being typed.
    pub fn print(&mut self, spans: &[Span]) -> std::io::Result<()> {
        if self.interactive {
            queue!(self.out, MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        }
        for span in spans {
            self.span(span)?;
        }
        write!(self.out, "{}", if self.interactive { "\r\n" } else { "\n" })?;
        self.out.flush()
    }

    /// Shows the line being typed, after a status.
    pub fn prompt(&mut self, status: &str, line: &Line) -> std::io::Result<()> {
        if !self.interactive {
            return Ok(());
        }
        let columns = size().map_or(80, |(columns, _)| usize::from(columns));
        let columns = if columns < 20 { 80 } else { columns };
        let mut status = status.to_owned();
        while status.width() > columns / 2 {
            status.pop();
        }
        let before = if status.is_empty() { "> ".to_owned() } else { format!("{status} > ") };
        let (shown, cursor) = line.window(columns.saturating_sub(before.width() + 1));
        queue!(self.out, MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        let column = u16::try_from(before.width() + cursor).unwrap_or(u16::MAX);
        self.span(&Span { text: before, look: Look::Dim })?;
        write!(self.out, "{shown}")?;
        queue!(self.out, MoveToColumn(column))?;
        self.out.flush()
    }

    fn span(&mut self, span: &Span) -> std::io::Result<()> {
        if !self.colored || span.look == Look::Plain {
            return write!(self.out, "{}", span.text);
        }
        let mut style = ContentStyle::new();
        match span.look {
            Look::Plain => {}
            Look::Dim => style.attributes.set(Attribute::Dim),
            Look::Name(number) => {
                style.attributes.set(Attribute::Bold);
                style.foreground_color = Some(NAME_COLORS[usize::from(number) % NAME_COLORS.len()]);
            }
            Look::Warning => style.foreground_color = Some(Color::Yellow),
        }
        queue!(self.out, PrintStyledContent(StyledContent::new(style, span.text.as_str())))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.interactive {
            let _ = queue!(self.out, MoveToColumn(0), Clear(ClearType::FromCursorDown));
            let _ = self.out.flush();
            let _ = disable_raw_mode();
        }
    }
}
