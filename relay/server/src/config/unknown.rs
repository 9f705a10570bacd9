//! Finds variables that look like ours and are not: a misspelt limit must not silently be no limit.

/// Beginnings of names that belong to this product.
pub const PREFIXES: [&str; 12] = [
    "ALLOWED_ORIGIN",
    "CONSOLE_",
    "DATABASE_",
    "JWT_",
    "MAX_FILE_",
    "MESSAGE_LIMIT_",
    "PROMETHEUS_",
    "PROXY_NETWORK",
    "RATE_LIMIT_",
    "REDIS_",
    "RELAY_",
    "WEBSOCKET_",
];

/// Largest edit distance at which a declared name is suggested.
const SUGGESTION_DISTANCE_MAX: usize = 3;

/// A variable that looks like ours and that no table declares.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not a variable of this program{}; fix: remove it", self.hint())]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// The declared name that it may be meant to be.
    pub suggestion: Option<String>,
}

impl Unknown {
    fn hint(&self) -> String {
        self.suggestion.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
    }
}

/// The names with one of our prefixes, or one letter off a declared name, that are in no table. `declared`
/// is the union of the names of all tables of the programs that run together; each secret's `_FILE` variant
/// is a name of its own.
pub fn unknown<'a>(names: impl IntoIterator<Item = &'a str>, declared: &[&str]) -> Vec<Unknown> {
    let names: Vec<&str> = names.into_iter().collect();
    let undeclared = names.iter().filter(|name| !declared.contains(name) && !is_service_link(name, &names));
    undeclared
        .filter_map(|name| {
            let is_ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            let suggestion = nearest(name, declared, if is_ours { SUGGESTION_DISTANCE_MAX } else { 1 });
            let suggestion = suggestion.map(str::to_owned);
            (is_ours || suggestion.is_some()).then(|| Unknown { name: (*name).into(), suggestion })
        })
        .collect()
}

/// Kubernetes describes services to each container: `REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP_ADDR` and,
/// only together with these, `REDIS_PORT`. They are nobody's typing error.
fn is_service_link(name: &str, names: &[&str]) -> bool {
    let is_link = |name: &str| {
        name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT_")
    };
    let has_host = |service: &str| names.contains(&format!("{service}_SERVICE_HOST").as_str());
    is_link(name) || name.strip_suffix("_PORT").is_some_and(has_host)
}

/// The declared name that is at most `limit` off, the nearest one.
fn nearest<'a>(name: &str, declared: &[&'a str], limit: usize) -> Option<&'a str> {
    // Names are at least as far apart as their lengths; most of an environment is none of ours.
    let near = declared.iter().filter(|known| known.len().abs_diff(name.len()) <= limit);
    let near = near.map(|known| (distance(name, known), *known)).filter(|(distance, _)| *distance <= limit);
    near.min().map(|(_, known)| known)
}

/// Levenshtein distance in bytes.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
