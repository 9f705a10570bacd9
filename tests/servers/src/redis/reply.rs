//! One Redis command and its answer on a connection of its own, in version 2 of its protocol.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);

/// What Redis answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Text(String),
    Error(String),
    Number(i64),
    Nothing,
    List(Vec<Reply>),
}

impl Reply {
    /// The text of a text, and of a number; nothing of all else.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            _ => String::new(),
        }
    }
}

/// Connects, shows the password, asks.
pub fn ask(address: SocketAddr, password: Option<&str>, words: &[&str]) -> Result<Reply> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(stream);
    if let Some(secret) = password {
        send(reader.get_mut(), &["AUTH", secret])?;
        read(&mut reader)?;
    }
    send(reader.get_mut(), words)?;
    read(&mut reader)
}

fn send(stream: &mut TcpStream, words: &[&str]) -> Result<()> {
    let mut text = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| text.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    stream.write_all(text.as_bytes())
}

fn read(reader: &mut impl BufRead) -> Result<Reply> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| Error::other("no answer"))?;
    let number = || rest.parse::<i64>().map_err(Error::other);
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Reply::Nothing,
            Ok(bytes) => {
                let mut text = vec![0; bytes + 2];
                reader.read_exact(&mut text)?;
                text.truncate(bytes);
                Reply::Text(String::from_utf8_lossy(&text).into_owned())
            }
        },
        "*" => match usize::try_from(number()?) {
            Err(_) => Reply::Nothing,
            Ok(items) => Reply::List((0..items).map(|_| read(reader)).collect::<Result<_>>()?),
        },
        _ => return Err(Error::other(format!("not an answer: {line}"))),
    })
}
