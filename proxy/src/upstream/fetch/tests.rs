use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers two questions on each connection with the connection's number, and closes it.
async fn serve(listener: TcpListener) {
    for connection in 1.. {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap() == 0 {
                    break;
                }
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{connection}");
            // Who asked may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}

/// Who answers; one that finds the connection closed asks again.
async fn ask(origin: &mut KeptOrigin) -> Bytes {
    loop {
        match origin.post("/", Bytes::new(), 1, PATIENCE).await {
            Ok(answer) => return answer.body,
            Err(FetchError::Http(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_kept_origin_connects_again_only_when_it_has_to() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asking = async {
        let mut origin = KeptOrigin::new(Origin {
            address,
            headers: HeaderMap::new(),
            connect_timeout: Duration::from_secs(60),
        });
        for connection in ["1", "1", "2"] {
            assert_eq!(ask(&mut origin).await, connection);
        }
        // Of an answer that was not read to its end nothing is left in the connection.
        let too_long = origin.post("/", Bytes::new(), 0, PATIENCE).await;
        assert!(matches!(too_long, Err(FetchError::Body(_))), "{too_long:?}");
        assert_eq!(ask(&mut origin).await, "3");
    };
    tokio::select! {
        () = asking => {}
        () = serve(listener) => unreachable!("it serves without end"),
    }
}
