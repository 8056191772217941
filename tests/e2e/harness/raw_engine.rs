//! An engine made of fixed bytes, for what no engine should say.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Serves a model `sim` and answers every POST with the same bytes.
pub struct RawEngine {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl RawEngine {
    /// Answers and closes the connection. Ends when dropped.
    pub async fn answering(answer: &'static str) -> Self {
        Self::start(answer, false).await
    }

    /// Answers and then says nothing more, until the other side closes the connection.
    pub async fn falling_silent_after(answer: &'static str) -> Self {
        Self::start(answer, true).await
    }

    async fn start(answer: &'static str, silent: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // One at a time: tests ask one at a time.
            while let Ok((stream, _)) = listener.accept().await {
                // A client that went away is none of ours.
                let _ = serve(stream, answer, silent).await;
            }
        });
        Self { address, _tasks: tasks }
    }

    /// `--worker` with this engine as w0.
    pub fn worker_flag(&self) -> [String; 2] {
        ["--worker".to_owned(), format!("http://{},engine=generic,name=w0", self.address)]
    }
}

async fn serve(mut stream: TcpStream, answer: &str, silent: bool) -> std::io::Result<()> {
    const MODELS: &str = r#"{"object":"list","data":[{"id":"sim","object":"model"}]}"#;
    let mut request = Vec::new();
    let asks = |request: &[u8]| request.starts_with(b"GET ") && request.ends_with(b"\r\n\r\n");
    while !asks(&request) && !request.ends_with(b"}") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let models = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{MODELS}",
        MODELS.len()
    );
    if asks(&request) {
        stream.write_all(models.as_bytes()).await?;
    } else {
        stream.write_all(answer.as_bytes()).await?;
        while silent && stream.read_buf(&mut request).await? > 0 {}
    }
    stream.shutdown().await
}
