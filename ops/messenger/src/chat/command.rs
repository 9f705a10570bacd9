//! What a finished line means: a message, or a command that begins with a slash. Pure.

use std::time::Duration;

use relay_client::{Offset, PublishRequest};

/// What a person said.
#[derive(Debug)]
pub enum Said {
    Publish(PublishRequest),
    /// Answer a first contact: `accept`, `delete` or `block`.
    Answer(&'static str),
    Who,
    Help,
    Leave,
    /// Not understood; why.
    Unknown(String),
}

/// One line per command.
pub const HELP: [&str; 7] = [
    "/delete N       delete your message #N for everyone",
    "/expire S TEXT  a message that nobody can read after S seconds",
    "/who            who is in this conversation",
    "/accept         accept somebody new; or /decline, or /block",
    "/quit           leave (also Ctrl-D)",
    "//TEXT          a message that begins with a slash",
    "Anything else is a message.",
];

/// Reads a line.
pub fn read(line: &str) -> Said {
    let Some(command) = line.strip_prefix('/') else { return message(line) };
    if command.starts_with('/') {
        return message(command);
    }
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    match word {
        "quit" | "exit" | "q" => Said::Leave,
        "help" | "?" => Said::Help,
        "who" => Said::Who,
        "accept" => Said::Answer("accept"),
        "decline" => Said::Answer("delete"),
        "block" => Said::Answer("block"),
        "delete" => delete(rest),
        "expire" => expire(rest),
        _ => Said::Unknown(format!("/{} is not a command; /help lists them", crate::text::printable(word))),
    }
}

fn message(text: &str) -> Said {
    Said::Publish(PublishRequest::message(text.to_owned()))
}

fn delete(rest: &str) -> Said {
    match rest.trim().trim_start_matches('#').parse() {
        Ok(offset) => Said::Publish(PublishRequest::delete(Offset(offset))),
        Err(_) => Said::Unknown("/delete needs the number of a message, such as /delete 12".to_owned()),
    }
}

fn expire(rest: &str) -> Said {
    match rest.trim_start().split_once(' ').map(|(seconds, text)| (seconds.parse(), text.trim())) {
        Some((Ok(seconds @ 1u64..), text)) if !text.is_empty() => {
            Said::Publish(PublishRequest::message(text.to_owned()).expires_in(Duration::from_secs(seconds)))
        }
        _ => Said::Unknown("/expire needs seconds and a text, such as /expire 60 burn this".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_make_commands_and_two_make_a_slash() {
        assert!(matches!(read("hello /quit"), Said::Publish(_)));
        assert!(matches!(read("//shrug"), Said::Publish(_)));
        assert!(matches!(read("/quit"), Said::Leave));
        assert!(matches!(read("/decline"), Said::Answer("delete")));
        assert!(matches!(read("/delete #12"), Said::Publish(_)));
        assert!(matches!(read("/expire 60 burn this"), Said::Publish(_)));
        for wrong in ["/delete", "/delete x", "/expire 60", "/expire 0 x", "/expire x y", "/nonsense"] {
            assert!(matches!(read(wrong), Said::Unknown(_)), "{wrong}");
        }
    }
}
