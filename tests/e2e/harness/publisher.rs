//! A rank's event socket whose batches the test writes itself, for what the simulated engines do not tell.

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;
use zeromq::{PubSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

/// A socket that tells what others tell, as it comes.
pub struct Merger {
    endpoint: String,
    _tasks: JoinSet<()>,
}

impl Merger {
    /// On a free port, of these.
    pub async fn of(endpoints: &[String]) -> Self {
        let mut publisher = PubSocket::new();
        let endpoint = publisher.bind("tcp://127.0.0.1:0").await.expect("a free port").to_string();
        let mut subscriber = SubSocket::new();
        subscriber.subscribe("").await.expect("an open socket");
        for endpoint in endpoints {
            subscriber.connect(endpoint).await.expect("an event port");
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok(message) = subscriber.recv().await {
                publisher.send(message).await.expect("an open socket");
            }
        });
        Self { endpoint, _tasks: tasks }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// The PUB socket, and the number of its next batch.
pub struct Publisher {
    socket: PubSocket,
    endpoint: String,
    next: u64,
}

impl Publisher {
    /// On a free port.
    pub async fn open() -> Self {
        let mut socket = PubSocket::new();
        let endpoint = socket.bind("tcp://127.0.0.1:0").await.expect("a free port").to_string();
        Self { socket, endpoint, next: 0 }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Batches sent so far: the number of the next.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// Sends a batch of these events, as maps, to whoever has subscribed by now.
    pub async fn send(&mut self, events: &Value) {
        let mut payload = vec![0x92, 0xcb];
        payload.extend(1.5_f64.to_be_bytes());
        write(events, &mut payload);
        let number = Bytes::copy_from_slice(&self.next.to_be_bytes());
        let mut message = ZmqMessage::from(Bytes::new());
        message.push_back(number);
        message.push_back(payload.into());
        self.socket.send(message).await.expect("an open socket");
        self.next += 1;
    }
}

/// As msgpack, with the widest heads: readers take any.
fn write(value: &Value, out: &mut Vec<u8>) {
    let head = |marker: u8, length: usize, out: &mut Vec<u8>| {
        out.push(marker);
        out.extend(u32::try_from(length).expect("short").to_be_bytes());
    };
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(value) => out.push(0xc2 + u8::from(*value)),
        Value::Number(number) => {
            out.push(0xcf);
            out.extend(number.as_u64().expect("no sign").to_be_bytes());
        }
        Value::String(text) => {
            head(0xdb, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Array(values) => {
            head(0xdd, values.len(), out);
            values.iter().for_each(|value| write(value, out));
        }
        Value::Object(fields) => {
            head(0xdf, fields.len(), out);
            for (name, value) in fields {
                write(&name.as_str().into(), out);
                write(value, out);
            }
        }
    }
}
