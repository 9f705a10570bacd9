//! Canaries at the relay's port: in frames, in what is no frame, in the upgrade, in bare bytes.

use schema_wire::ConversationId;
use schema_wire::v1::{Hello, Ping, Refresh, Ring, Signal, Typing};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire_tests::link::websocket;
use wire_tests::session::key;
use wire_tests::{After, Carrier, Link, Session, within};

use super::flock::Kind::{Mail, Message, Name, Phone, Secret};
use super::journey::{Journey, Person};

impl Journey<'_> {
    /// The conversation of two, its name a canary.
    pub async fn gather(&self, one: &Person, other: &Person) -> ConversationId {
        let group = json!({"kind": "group", "name": self.flock.fly(Name, 5), "members": [other.id]});
        let made = self.ask("POST", "/api/v1/conversations", Some(&one.access), &group).await.json();
        ConversationId::parse(made["id"].as_str().expect("a conversation")).expect("an id")
    }

    async fn greet(&self, carrier: Carrier, person: &Person) -> Session {
        let link = within("a connection", Link::open(&self.world.server, carrier)).await;
        let agent = self.flock.fly(Name, 6).to_owned();
        let hello = Hello { versions: vec![1], token: person.access.clone(), agent, ..Default::default() };
        Session::greet(link, hello).await.ok().expect("Welcome")
    }

    /// Two talk over one carrier.
    pub async fn talk(&self, carrier: Carrier, group: ConversationId, one: &Person, other: &Person) {
        let (mut author, mut reader) = (self.greet(carrier, one).await, self.greet(carrier, other).await);
        reader.subscribe(group, After::Now).await;
        for number in 0..3 {
            let text = self.flock.fly(Message, number);
            author.publish(group, text).await;
            assert_eq!(reader.delivery().await.body, text.as_bytes());
        }
        let conversation = group.to_bytes();
        author.send(Typing { conversation: conversation.clone(), active: true, ..Default::default() }).await;
        let body = self.flock.fly(Phone, 9).as_bytes().to_vec().into();
        author.send(Signal { conversation: conversation.clone(), body, ..Default::default() }).await;
        let body = self.flock.fly(Message, 8).as_bytes().to_vec().into();
        author.ask(Ring { conversation, publish_key: key(), body, ..Default::default() }).await;
        let payload = self.flock.fly(Phone, 1).as_bytes().to_vec().into();
        author.ask(Ping { payload, ..Default::default() }).await;
        let token = self.flock.fly(Secret, 9).to_owned();
        author.refused(Refresh { token, ..Default::default() }).await;
        let no_frame = format!("{{\"publish\": \"{}\"", self.flock.fly(Message, 9));
        author.link.send_frame_bytes(no_frame.into_bytes()).await;
        author.ask(Ping::default()).await;
    }

    /// Strangers with wrong papers, over one carrier.
    pub async fn knock(&self, carrier: Carrier) {
        let mut link = Link::open(&self.world.server, carrier).await;
        link.send_frame_bytes(self.flock.fly(Mail, 3).as_bytes().to_vec()).await;
        let token = self.flock.fly(Secret, 8).to_owned();
        let hello = Hello { versions: vec![1], token, ..Default::default() };
        // Refused twice: the first answer is for what was no frame.
        assert!(Session::greet(link, hello).await.is_err());
    }

    /// What is not even a connection.
    pub async fn shout(&self) {
        let (mail, secret) = (self.flock.fly(Mail, 2), self.flock.fly(Secret, 7));
        let request = format!(
            "GET /ws?token={secret} HTTP/1.1\r\nHost: {mail}\r\nAuthorization: Bearer {secret}\r\n\
             Cookie: session={secret}\r\nOrigin: https://{mail}\r\nUser-Agent: {}\r\nUpgrade: websocket\r\n\r\n",
            self.flock.fly(Phone, 2)
        );
        let mut stream = websocket::connect(&self.world.server).await;
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        // The end of TLS may come without goodbye.
        let _ = within("an answer", stream.read_to_end(&mut answer)).await;
        self.heads.borrow_mut().push_str(&String::from_utf8_lossy(&answer));
        let server = &self.world.server;
        for at in [server.relay(), server.api(), server.internal()] {
            let mut tcp = TcpStream::connect(at).await.expect("it listens");
            let garbage = format!("{secret}\r\n{mail} {}\r\n\r\n", self.flock.fly(Message, 3));
            tcp.write_all(garbage.as_bytes()).await.expect("it reads");
            let _ = tcp.shutdown().await;
            let _ = within("the end", tcp.read_to_end(&mut answer)).await;
        }
        let order = format!("/control/disconnect?user={}", self.flock.fly(Secret, 6));
        let bearer = format!("Bearer {secret}");
        self.send(server.internal(), "POST", &order, &[("Authorization", &bearer)], "").await;
    }
}
