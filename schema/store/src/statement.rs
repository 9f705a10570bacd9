//! A statement without the values in it: what people typed into a database may be about people.

use crate::rows::condition::STATEMENT_BYTES_MAX;

/// The statement on one line, with `?` for each text and number; cut when it is long.
pub(crate) fn without_values(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len().min(STATEMENT_BYTES_MAX));
    let mut rest = sql;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if text.len() >= STATEMENT_BYTES_MAX {
            return text + "…";
        }
        let is_word = before.is_alphanumeric() || matches!(before, '_' | '$');
        let taken = match c {
            '\'' => quoted(rest, matches!(before, 'e' | 'E')),
            '$' if !is_word => dollar_quoted(rest),
            '0'..='9' if !is_word => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(rest.len())
            }
            _ => 0,
        };
        if taken > 0 {
            text.push('?');
            before = '?';
            rest = &rest[taken..];
            continue;
        }
        let shown = if c.is_whitespace() { ' ' } else { c };
        if shown != ' ' || !text.ends_with(' ') {
            text.push(shown);
        }
        before = c;
        rest = &rest[c.len_utf8()..];
    }
    text.trim().to_owned()
}

/// Length of the quoted text that `sql` begins with.
fn quoted(sql: &str, has_escapes: bool) -> usize {
    let mut chars = sql.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if has_escapes => drop(chars.next()),
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => drop(chars.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    sql.len()
}

/// Length of the text between two equal dollar tags that `sql` begins with; 0: it begins with none.
fn dollar_quoted(sql: &str) -> usize {
    let Some(end) = sql[1..].find('$') else { return 0 };
    let tag = &sql[..end + 2];
    let is_tag = tag[1..=end].chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag[1..].starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return 0;
    }
    sql[tag.len()..].find(tag).map_or(sql.len(), |at| at + 2 * tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out() {
        for (sql, shown) in [
            ("SELECT $1 FROM t1 WHERE a=$12", "SELECT $1 FROM t1 WHERE a=$12"),
            ("SELECT *\n  FROM users\tWHERE email = 'ada@x.org'", "SELECT * FROM users WHERE email = ?"),
            ("SELECT 'it''s ada', \"col'umn\", 4.5e3, x2", "SELECT ?, \"col?"),
            ("SELECT E'it\\'s ada', 17", "SELECT E?, ?"),
            ("DO $$ SELECT 'ada' $$ LANGUAGE x", "DO ? LANGUAGE x"),
            ("DO $a_b$ $$ada$$ $a_b$;", "DO ?;"),
            ("SELECT 'cut in the midd", "SELECT ?"),
            ("SELECT $x", "SELECT $x"),
            ("", ""),
        ] {
            assert_eq!(without_values(sql), shown, "{sql}");
        }
        let long = without_values(&"é ".repeat(1_000));
        assert!(long.len() <= STATEMENT_BYTES_MAX + 6 && long.ends_with('…'));
    }
}
