//! A connection that can break in the ways that faults ask for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const RESET: u8 = 1;
const HALF_CLOSED: u8 = 2;

/// Breaks a connection from outside; takes effect at its next write or flush.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker(Arc<AtomicU8>);

impl Breaker {
    pub(crate) fn reset(&self) {
        self.0.store(RESET, Relaxed);
    }

    pub(crate) fn half_close(&self) {
        self.0.store(HALF_CLOSED, Relaxed);
    }
}

/// A connection with its breaker.
pub(crate) struct Connection {
    stream: TcpStream,
    breaker: Breaker,
    sending_closed: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, breaker: Breaker) -> Self {
        Self { stream, breaker, sending_closed: false }
    }

    /// Carries out what the breaker says. `Ready(true)`: what is written goes nowhere.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.breaker.0.load(Relaxed) {
            RESET => {
                self.stream.set_zero_linger()?;
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            HALF_CLOSED => {
                if !self.sending_closed {
                    ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                    ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                    self.sending_closed = true;
                }
                Poll::Ready(Ok(true))
            }
            _ => Poll::Ready(Ok(false)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if ready!(self.poll_broken(cx))? {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_broken(cx))? {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sending_closed {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
