//! Plain numbers of a shard: one table each for counters and gauges, from which fields, merging and
//! rendering follow.

macro_rules! scalars {
    ($(#[$doc:meta])* $table:ident { $($field:ident $metric:literal $help:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $table { $(#[doc = $help] pub $field: u64,)+ }

        impl $table {
            pub(super) fn merge(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }

            /// Metric name, help text and value of each, in the order of the table.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($metric, $help, self.$field),)+].into_iter()
            }
        }
    };
}

scalars! {
    /// Numbers that only grow.
    Counters {
        messages_sent "messages_sent_total" "Messages accepted from clients: durable and acknowledged.";
        messages_encrypted "messages_encrypted_total" "Accepted messages whose body the clients encrypted end to end.";
        messages_delivered "relay_messages_delivered_total" "Messages handed to connections, once per receiving device.";
        messages_forwarded "relay_messages_forwarded_total" "Messages sent to other nodes.";
        ephemeral_dropped "relay_ephemeral_dropped_total" "Typing, presence and other ephemeral events dropped under pressure.";
        websocket_accepted "relay_websocket_connections_accepted_total" "WebSocket connections that finished their handshakes.";
        quic_accepted "relay_quic_connections_accepted_total" "QUIC connections that finished their handshakes.";
        websocket_received_bytes "relay_websocket_received_bytes_total" "Bytes received from WebSocket clients, before decryption.";
        websocket_sent_bytes "relay_websocket_sent_bytes_total" "Bytes sent to WebSocket clients, after encryption.";
        quic_received_bytes "relay_quic_received_bytes_total" "Bytes received in QUIC datagrams.";
        quic_sent_bytes "relay_quic_sent_bytes_total" "Bytes sent in QUIC datagrams.";
        sends "relay_sends_total" "Send operations given to the kernel; fewer than frames shows coalescing.";
        buffers_exhausted "relay_receive_buffers_exhausted_total" "Receives that found the provided buffer ring empty.";
        store_faults "relay_store_faults_total" "Store requests that ended in a fault.";
        gaps_repaired "relay_gaps_repaired_total" "Missing offsets that were read from the store again.";
    }
}

scalars! {
    /// Numbers that go up and down.
    Gauges {
        websocket_connections "websocket_connections_active" "WebSocket connections now open.";
        quic_connections "quic_connections_active" "QUIC connections now open.";
        handshakes "relay_handshakes_active" "Connections that have not finished their handshakes.";
        sessions "relay_sessions_active" "Authenticated sessions.";
        subscriptions "relay_subscriptions_active" "Subscriptions to conversations.";
        outbox_bytes "relay_outbox_bytes" "Bytes waiting for receivers.";
        outbox_frames "relay_outbox_frames" "Frames waiting for receivers.";
        appends "relay_appends_pending" "Appends that wait for their commit.";
    }
}
