//! `--demo`: alice, bob and their conversation, made once and kept, with passwords in files only their owner reads.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use console::access::password;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::{AccountError, Accounts, Moderation};
use schema_wire::{ConversationId, UserId};

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
    /// Who may use the console.
    pub moderator: Person,
}

/// Makes what is missing.
pub async fn people<S: Accounts + Moderation>(store: &S, data: &Path) -> Result<Demo, Failure> {
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
    let moderator = person("moderator", &folder)?;
    let hash = password::hash_password(&moderator.password).map_err(Failure::other)?;
    practice::cases(store, &users).await?;
    practice::staff(store, &moderator.email, moderator.name, hash).await?;
    let (conversation, _) = store.create_direct(users[0], users[1]).await.map_err(Failure::other)?;
    // The other one asks as well, so that nothing waits between them.
    store.create_direct(users[1], users[0]).await.map_err(Failure::other)?;
    Ok(Demo { conversation, people, moderator })
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
    match store.find_user(person.email.clone()).await {
        Ok(profile) => return Ok(profile.user),
        Err(AccountError::NotFound) => {}
        Err(error) => return Err(Failure::other(error)),
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
