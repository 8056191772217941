//! Who drains which worker: of two that take events which are told once, neither hears all.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Of a process, whatever pool a worker is in, whoever named it and however often.
#[derive(Debug, Default)]
pub struct DrainClaims {
    /// By address, whose it is. As many as there are workers.
    owners: Mutex<BTreeMap<String, String>>,
    freed: Notify,
}

/// The right to drain one address, until it is dropped.
#[derive(Debug)]
pub struct DrainClaim {
    claims: Arc<DrainClaims>,
    address: String,
}

impl DrainClaims {
    /// Waits for the right to drain `address`; says once whose it is, if it is somebody's.
    pub async fn wait(self: &Arc<Self>, address: &str, owner: &str, tell: impl FnOnce(&str)) -> DrainClaim {
        let mut tell = Some(tell);
        loop {
            // Before the look, so that none that is freed after it is missed.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            match self.claim(address, owner) {
                Ok(claim) => return claim,
                Err(other) => {
                    if let Some(tell) = tell.take() {
                        tell(&other);
                    }
                }
            }
            freed.await;
        }
    }

    /// The right, or whose it is.
    fn claim(self: &Arc<Self>, address: &str, owner: &str) -> Result<DrainClaim, String> {
        let mut owners = self.owners.lock();
        if let Some(other) = owners.get(address) {
            return Err(other.clone());
        }
        owners.insert(address.to_owned(), owner.to_owned());
        Ok(DrainClaim { claims: Arc::clone(self), address: address.to_owned() })
    }
}

impl Drop for DrainClaim {
    fn drop(&mut self) {
        self.claims.owners.lock().remove(&self.address);
        self.claims.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn one_drains_an_address_and_the_next_when_it_has_left() {
        let claims = Arc::<DrainClaims>::default();
        let unheard = |_: &str| panic!("nobody has it");
        let first = claims.wait("10.0.0.1:8000", "pool a worker x", unheard).await;
        let _other = claims.wait("10.0.0.2:8000", "pool a worker y", unheard).await;
        let mut said = Vec::new();
        let mut second =
            Box::pin(claims.wait("10.0.0.1:8000", "pool b worker x", |owner| said.push(owner.to_owned())));
        for _ in 0..2 {
            let waits = poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending())).await;
            assert!(waits);
        }
        drop(first);
        let second = second.await;
        assert_eq!(said, ["pool a worker x"]);
        // It is the second's now.
        assert_eq!(claims.claim("10.0.0.1:8000", "pool c worker z").unwrap_err(), "pool b worker x");
        drop(second);
        assert!(claims.claim("10.0.0.1:8000", "pool c worker z").is_ok());
    }
}
