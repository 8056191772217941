//! A TCP connection that can be looked at while something else reads and writes it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The connection as its reader and writer has it; closed when this is dropped.
#[derive(Debug)]
pub(super) struct LineEnd(Rc<RefCell<TcpStream>>);

/// The same connection as seen from beside.
#[derive(Debug)]
pub(super) struct Line(Weak<RefCell<TcpStream>>);

impl LineEnd {
    /// Takes the connection over.
    pub(super) fn new(stream: TcpStream) -> (Self, Line) {
        let stream = Rc::new(RefCell::new(stream));
        let line = Line(Rc::downgrade(&stream));
        (Self(stream), line)
    }

    fn with<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> T) -> T {
        poll(Pin::new(&mut self.0.borrow_mut()))
    }
}

impl Line {
    /// Whether the connection is open and nothing has come that nobody has read. Of an idle connection that is all
    /// there should be; otherwise the other side has closed it, perhaps without our reader having been woken yet.
    ///
    /// One system call, as the runtime only knows what it was last told.
    pub(super) fn is_quiet(&self) -> bool {
        let Some(stream) = self.0.upgrade() else { return false };
        let peeked = SockRef::from(&*stream.borrow()).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl AsyncRead for LineEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for LineEnd {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    use super::*;

    /// Both sides of a connection, in a runtime that is never given the time to notice anything.
    fn connected(then: impl FnOnce(LineEnd, Line, std::net::TcpStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (end, line) = LineEnd::new(ours);
            then(end, line, listener.accept().unwrap().0);
        });
    }

    #[test]
    fn what_the_other_side_did_shows_at_once() {
        connected(|_end, line, other| {
            assert!(line.is_quiet());
            other.shutdown(Shutdown::Write).unwrap();
            assert!(!line.is_quiet(), "half closed");
        });
        connected(|_end, line, mut other| {
            other.write_all(b"HTTP/1.1 408 Request Timeout\r\n").unwrap();
            assert!(!line.is_quiet(), "an answer that nobody asked for");
        });
        connected(|_end, line, other| {
            socket2::SockRef::from(&other).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(other);
            assert!(!line.is_quiet(), "reset");
        });
    }

    #[test]
    fn looking_from_beside_keeps_nothing_open() {
        connected(|end, line, mut other| {
            drop(end);
            assert!(!line.is_quiet());
            assert_eq!(other.read(&mut [0]).unwrap(), 0, "the other side sees the end");
        });
    }
}
