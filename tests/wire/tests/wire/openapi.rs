//! Both OpenAPI documents are held against the running product on PostgreSQL: thousands of requests made from them, good and
//! bad, and no answer that they do not describe. The requests are made by a program that knows the documents and nothing of
//! this code.

use serde_json::{Value, json};
use servers::Postgres;
use tempfile::TempDir;
use wire_tests::python::Documents;
use wire_tests::server::run_to_end;
use wire_tests::{Server, Settings, http};

/// Ends the session that the requests come with.
const LOGOUT: &str = "/api/v1/auth/logout";
/// Paths that name something.
const NAMES: &str = r"\{(conversation|user|device|report)\}";
/// Random requests of each operation, besides those that its limits suggest.
const EXAMPLES: &str = "6";
const PASSWORD: &str = "correct horse battery";
const SERVICE: &str = "5f0c1e2d3b4a69788796a5b4c3d2e1f05f0c1e2d3b4a69788796a5b4c3d2e1f0";

/// The product, and the server it is on.
struct Scene {
    product: Server,
    database: Postgres,
    _folder: TempDir,
}

/// Somebody who is logged in.
struct Person {
    id: String,
    device: String,
    token: String,
}

impl Scene {
    fn start() -> Self {
        let (database, folder) = (Postgres::start(), TempDir::new().expect("a temporary folder"));
        let settings = Settings::default().env("DATABASE_URL", database.url("postgres"));
        let migrated = run_to_end(&settings.clone().arg("migrate"), "");
        assert!(migrated.status.success(), "{migrated:?}");
        let settings = settings.arg("--demo").env("REGISTRATION", "open").env("REGISTRATION_VERIFY", "none");
        let settings = settings.env("RATE_LIMIT_AUTH_MAX", 1_000_000).env("RATE_LIMIT_MAX", 1_000_000);
        let product = Server::start(folder.path(), settings.env("JWT_EXPIRATION", "1d"));
        Self { product, database, _folder: folder }
    }

    async fn done(&self, path: &str, token: Option<&str>, body: Value) -> Value {
        let answer = http::request(self.product.api(), "POST", path, token, Some(&body)).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        answer.json()
    }

    async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@wire.example");
        let new = json!({"email": email, "name": name, "password": PASSWORD});
        self.done("/api/v1/auth/register", None, new).await;
        if name == "root" {
            self.database.sql("UPDATE users SET role = 'ADMIN' WHERE email = 'root@wire.example'");
        }
        let login = json!({"email": email, "password": PASSWORD, "device": "a device"});
        let session = self.done("/api/v1/auth/login", None, login).await;
        let text = |field: &str| session[field].as_str().expect("a session has it").to_owned();
        Person { id: text("user"), device: text("device"), token: text("access_token") }
    }

    fn documents(&self, path: &str, token: &str, about: &Person) -> Documents {
        Documents::new(&self.product, path, token).named("USER", &about.id).named("DEVICE", &about.device)
    }
}

#[test]
fn the_account_api_answers_as_its_document_says() {
    wire_tests::run(async {
        let scene = Scene::start();
        let (admin, other) = (scene.person("root").await, scene.person("other").await);
        let group = json!({"kind": "group", "name": "group", "members": [other.id]});
        let group = scene.done("/api/v1/conversations", Some(&admin.token), group).await;
        let documents = scene.documents("/api/docs/openapi.json", &admin.token, &other);
        let documents = documents.named("CONVERSATION", &group["id"].as_str().expect("an id"));
        documents.hold(&["--exclude-path", LOGOUT, "--max-examples", EXAMPLES]);
        documents.of_what_is_there().hold(&["--include-path-regex", NAMES, "--max-examples", EXAMPLES]);
        documents.hold(&["--include-path", LOGOUT, "--max-examples", EXAMPLES]);
    });
}

#[test]
fn the_administration_interface_answers_as_its_document_says() {
    wire_tests::run(async {
        let scene = Scene::start();
        let (admin, other) = (scene.person("root").await, scene.person("other").await);
        scene.database.sql(&format!(
            "INSERT INTO service_tokens (id, token_hash, name, role, created_by, created_at, expires_at)
             VALUES (gen_random_uuid(), sha256('{SERVICE}'), 'documents', 'ADMIN', '{}', now(), now() + interval '1 day')",
            admin.id
        ));
        let report = json!({"user": other.id, "reason": "SPAM"});
        let report = scene.done("/api/v1/reports", Some(&admin.token), report).await;
        let documents = scene.documents("/admin/openapi.json", SERVICE, &other);
        let documents = documents.named("REPORT", &report["id"].as_str().expect("an id"));
        documents.hold(&["--max-examples", EXAMPLES]);
        documents.of_what_is_there().hold(&["--include-path-regex", NAMES, "--max-examples", EXAMPLES]);
    });
}
