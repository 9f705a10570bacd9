//! `--demo`: alice, bob and their conversation, and staff for the console; made once and kept, with passwords in files only
//! their owner reads.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use console::access::password;
use console::app::Backing;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts};
use schema_wire::{ConversationId, UserId};

use super::furnish::{Staff, furnish};
use super::practice;
use crate::failure::{Code, Failure};

/// Letters of a password made here.
const PASSWORD_LETTERS: usize = 16;

/// One of the two.
pub struct Person {
    pub name: &'static str,
    pub email: String,
    pub password: String,
    pub password_file: PathBuf,
}

/// Both, and where they talk.
pub struct Demo {
    pub conversation: ConversationId,
    pub people: Vec<Person>,
    /// Who may use the console: a moderator, another one, and an administrator.
    pub staff: [Person; 3],
}

/// Makes what is missing.
pub async fn people<S: Backing>(store: &S, data: &Path) -> Result<Demo, Failure> {
    let folder = data.join("demo");
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| Failure::new(Code::Folder, format!("{}: {error}", folder.display())))?;
    let mut people = Vec::new();
    let mut users = Vec::new();
    for name in ["alice", "bob"] {
        let person = person(name, &folder)?;
        users.push(account(store, &person).await?);
        people.push(person);
    }
    practice::cases(store, &users).await?;
    let [moderator, colleague, administrator] =
        ["moderator", "colleague", "administrator"].map(|name| person(name, &folder));
    let staff = [moderator?, colleague?, administrator?];
    employ(store, &staff[0], AccountRole::Moderator).await?;
    let made = Staff {
        colleague: employ(store, &staff[1], AccountRole::Moderator).await?,
        administrator: employ(store, &staff[2], AccountRole::Admin).await?,
    };
    furnish(store, &made, users[0]).await?;
    let (conversation, _) = store.create_direct(users[0], users[1]).await.map_err(Failure::other)?;
    // The other one asks as well, so that nothing waits between them.
    store.create_direct(users[1], users[0]).await.map_err(Failure::other)?;
    Ok(Demo { conversation, people, staff })
}

/// Gives somebody an account with a role in the console, once.
async fn employ<S: Accounts>(store: &S, person: &Person, role: AccountRole) -> Result<UserId, Failure> {
    if let Some(known) = known(store, person).await? {
        return Ok(known);
    }
    let hash = password::hash_password(&person.password).map_err(Failure::other)?;
    let made = store.create_admin(person.email.clone(), person.name.to_owned(), hash, role).await;
    made.map_err(Failure::other)
}

async fn known<S: Accounts>(store: &S, person: &Person) -> Result<Option<UserId>, Failure> {
    match store.find_user(person.email.clone()).await {
        Ok(profile) => Ok(Some(profile.user)),
        Err(AccountError::NotFound) => Ok(None),
        Err(error) => Err(Failure::other(error)),
    }
}

fn person(name: &'static str, folder: &Path) -> Result<Person, Failure> {
    let password_file = folder.join(format!("{name}.password"));
    let fail = |error| Failure::new(Code::Folder, format!("{}: {error}", password_file.display()));
    let password = match std::fs::read_to_string(&password_file) {
        Ok(kept) => kept.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let password = crate::random_password(PASSWORD_LETTERS);
            let file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&password_file);
            file.and_then(|mut file| file.write_all(format!("{password}\n").as_bytes())).map_err(fail)?;
            password
        }
        Err(error) => return Err(fail(error)),
    };
    Ok(Person { name, email: format!("{name}@demo.example"), password, password_file })
}

async fn account<S: Accounts>(store: &S, person: &Person) -> Result<UserId, Failure> {
    if let Some(known) = known(store, person).await? {
        return Ok(known);
    }
    let password_hash = password::hash_password(&person.password).map_err(Failure::other)?;
    let new = Registration {
        email: person.email.clone(),
        name: person.name.to_owned(),
        password_hash,
        invite: None,
        activation: Activation::Immediate,
    };
    store.register(new, Origin::system()).await.map_err(Failure::other)
}
