//! Sockets of the doors: a taken port and an address that others can reach are errors that name the flag.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use crate::error::{Error, Kind, Result};

/// Binds `address` (`host:port`, or `:port` for all interfaces), which stood in `flag`.
///
/// # Errors
/// `Config` when it cannot be resolved, is taken, or is no loopback address and `insecure` is not set.
pub(super) async fn bind(flag: &'static str, address: &str, insecure: bool) -> Result<TcpListener> {
    let wrong = |message: String| Error::new(Kind::Config, message);
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    let found: Vec<SocketAddr> = lookup_host(&full)
        .await
        .map_err(|e| wrong(format!("--{flag}={address} is not an address of this machine")).caused_by(e))?
        .collect();
    if let Some(open) = found.iter().find(|found| !found.ip().is_loopback())
        && !insecure
    {
        return Err(wrong(format!(
            "--{flag}={address} lets others in ({open} is not a loopback address) and there is no \
             authentication: give a loopback address, or --insecure to accept that"
        )));
    }
    TcpListener::bind(found.as_slice()).await.map_err(|e| {
        let what = match e.kind() {
            ErrorKind::AddrInUse => "is taken by another process: give a free one with",
            _ => "cannot be listened on: give another one with",
        };
        wrong(format!("{address} {what} --{flag}=HOST:PORT")).caused_by(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_the_flag() {
        let first = bind("web.listen-address", "localhost:0", false).await.expect("a free port");
        let taken = first.local_addr().expect("bound").to_string();
        let error = bind("web.listen-address", &taken, false).await.expect_err("taken");
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("--web.listen-address=HOST:PORT"), "{error}");
    }

    #[tokio::test]
    async fn others_are_let_in_only_when_that_is_said() {
        for open in [":0", "0.0.0.0:0", "[::]:0"] {
            let error = bind("pg.listen-address", open, false).await.expect_err("not loopback");
            assert!(error.to_string().contains("--insecure"), "{error}");
        }
        assert!(bind("pg.listen-address", ":0", true).await.is_ok());
        assert!(bind("pg.listen-address", "nonsense", true).await.is_err());
    }
}
