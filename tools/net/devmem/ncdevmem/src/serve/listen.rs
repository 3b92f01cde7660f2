// SPDX-License-Identifier: GPL-2.0
//! The listening socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use devmem::Error;
use socket2::{Domain, Protocol, Socket, Type};

/// Listens on an address, or on all of both families. Where there is no IPv6,
/// on all of IPv4.
pub fn listen(addr: Option<IpAddr>, port: u16, flows: u32) -> Result<TcpListener, Error> {
    let any6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let listener = match addr {
        Some(addr) => open(SocketAddr::new(addr, port), flows),
        None => open(SocketAddr::new(any6, port), flows).or_else(|err| match err.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), flows)
            }
            _ => Err(err),
        }),
    };
    listener.map_err(|source| Error::Os {
        operation: "listen",
        source,
    })
}

fn open(addr: SocketAddr, flows: u32) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(flows).unwrap_or(i32::MAX).max(16))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn takes_both_families_without_an_address() {
        let listener = listen(None, 0, 1).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        if listener.local_addr().unwrap().is_ipv6() {
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok());
        }
    }

    #[test]
    fn a_taken_port_is_an_error_with_an_errno() {
        let first = listen(Some(Ipv4Addr::LOCALHOST.into()), 0, 1).unwrap();
        let port = first.local_addr().unwrap().port();
        let err = listen(Some(Ipv4Addr::LOCALHOST.into()), port, 1).unwrap_err();
        assert_eq!(err.errno(), Some(libc::EADDRINUSE));
    }
}
