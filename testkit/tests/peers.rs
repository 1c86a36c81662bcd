//! The starters against each other: if these fail, no test that uses them can be believed.

#![cfg(feature = "tls")]

use resumption_testkit::certificates::{Authority, PemFiles};
use resumption_testkit::peers::{Curl, PeerError, SClient, SServer, parse_handshakes};

fn files() -> PemFiles {
    files_of("peers authority")
}

fn files_of(authority: &str) -> PemFiles {
    let authority = Authority::new(authority).expect("a valid name");
    let server = authority.server(&["localhost", "127.0.0.1"]).expect("valid names");
    server.write_pem(&authority).expect("a writable temporary directory")
}

/// The server answers backwards, so what the client sent cannot be mistaken for the answer.
fn client(server: &SServer) -> SClient {
    SClient::new(server.address()).exchange("resumption", "noitpmuser")
}

#[test]
fn s_client_reconnects_over_tls12_and_resumes_five_times() {
    let files = files();
    let server = SServer::start(&files, ["-tls1_2"]).unwrap();
    let report = client(&server).tls12().trust(files.authority()).reconnect().run().unwrap();
    assert_eq!(report.handshakes.len(), 6, "{}", report.output);
    assert_eq!(report.resumed(), 5, "{}", report.output);
    assert!(!report.handshakes[0].reused);
    assert!(report.handshakes.iter().all(|handshake| handshake.version == "TLSv1.2"));
}

#[test]
fn s_client_keeps_a_tls13_session_in_a_file() {
    let files = files();
    let server = SServer::start(&files, ["-num_tickets", "3"]).unwrap();
    let session = files.path("session.pem");
    let first = client(&server).tls13().session_out(&session).run().unwrap();
    assert_eq!((first.resumed(), first.tickets), (0, 3), "{}", first.output);
    let second = client(&server).tls13().session_in(&session).run().unwrap();
    assert_eq!((second.handshakes.len(), second.resumed()), (1, 1), "{}", second.output);
    assert_eq!(second.handshakes[0].version, "TLSv1.3");
}

#[test]
fn a_failed_handshake_is_an_error_with_the_output() {
    let server = SServer::start(&files(), ["-tls1_3"]).unwrap();
    let error = client(&server).tls12().run().unwrap_err();
    assert!(matches!(error, PeerError::NoAnswer { .. }), "{error}");
    assert!(error.to_string().contains("alert protocol version"), "{error}");
}

#[test]
fn an_untrusted_server_is_refused() {
    let (files, others) = (files(), files_of("another authority"));
    let server = SServer::start(&files, [""; 0]).unwrap();
    client(&server).trust(files.authority()).run().unwrap();
    let error = client(&server).trust(others.authority()).run().unwrap_err();
    assert!(error.to_string().contains("verify"), "{error}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let files = files();
    std::fs::write(files.key(), "no key").unwrap();
    let error = SServer::start(&files, [""; 0]).unwrap_err();
    assert!(error.to_string().contains("Could not"), "{error}");
}

#[test]
fn a_server_ends_when_it_is_dropped() {
    let server = SServer::start(&files(), [""; 0]).unwrap();
    let address = server.address();
    std::net::TcpStream::connect(address).unwrap();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn curl_resumes_within_one_process() {
    let files = files();
    let server = SServer::start_web(&files, ["-tls1_2"]).unwrap();
    let url = format!("https://localhost:{}/", server.address().port());
    let report =
        Curl::new(files.authority()).resolve("localhost", server.address()).get(&[&url, &url]).unwrap();
    assert_eq!(report.statuses, [200, 200], "{}", report.output);
    assert_eq!(report.offered, 1, "{}", report.output);
    let reused: Vec<bool> =
        parse_handshakes(&report.output).iter().map(|handshake| handshake.reused).collect();
    assert_eq!(reused, [false, true], "{}", report.output);
}

#[test]
fn curl_refuses_an_untrusted_server() {
    let (files, others) = (files(), files_of("another authority"));
    let server = SServer::start_web(&files, [""; 0]).unwrap();
    let url = format!("https://localhost:{}/", server.address().port());
    let error =
        Curl::new(others.authority()).resolve("localhost", server.address()).get(&[&url]).unwrap_err();
    assert!(matches!(error, PeerError::Failed { status: Some(60), .. }), "{error}");
}
