//! The proxy: each mode, on open connections and on new ones.

#![allow(clippy::expect_used, reason = "these are tests")]

use std::{net::SocketAddr, time::Duration};
use test_support::{Mode, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

const BOUND: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

/// A server that answers each piece with itself, and tells what it has heard.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let addr = listener.local_addr().expect("bound");
    let (heard, hearing) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    let _ = heard.send(bytes[..count].to_vec());
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, hearing)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("connected");
    // Now the proxy has it too.
    assert_eq!(ask(&mut stream, b"hello").await, b"hello");
    stream
}

async fn ask(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.expect("written");
    timeout(BOUND, answer(stream))
        .await
        .expect("answered in time")
}

/// What comes next; empty if the connection has ended, however.
async fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let count = stream.read(&mut bytes).await.unwrap_or(0);
    bytes.truncate(count);
    bytes
}

async fn next(hearing: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> Vec<u8> {
    let heard = timeout(BOUND, hearing.recv()).await;
    heard.expect("heard in time").expect("the server lives")
}

#[tokio::test]
async fn everything_passes_and_is_counted() {
    let (addr, _hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut stream = connect(&proxy).await;
    assert_eq!(ask(&mut stream, b"abc").await, b"abc");
    let counters = proxy.counters();
    assert_eq!(
        (counters.connections, counters.open, counters.cuts),
        (1, 1, 0)
    );
    assert_eq!((counters.requests, counters.answers), (8, 8));
    assert_eq!(
        proxy.through(&format!("mysql://root@{addr}/x")),
        format!("mysql://root@{}/x", proxy.addr())
    );
}

#[tokio::test]
async fn a_cut_request_is_not_heard_on_an_open_connection() {
    let (addr, mut hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut stream = connect(&proxy).await;
    assert_eq!(next(&mut hearing).await, b"hello");
    proxy.cut_requests();
    assert_eq!(
        ask(&mut stream, b"lost").await,
        b"",
        "closed without an answer"
    );
    proxy.pass();
    let mut again = connect(&proxy).await;
    assert_eq!(ask(&mut again, b"found").await, b"found");
    assert_eq!(
        next(&mut hearing).await,
        b"hello",
        "the lost one was never heard"
    );
    let counters = proxy.counters();
    assert_eq!((counters.requests_dropped, counters.cuts), (4, 1));
}

#[tokio::test]
async fn a_cut_answer_leaves_the_request_done() {
    let (addr, mut hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut stream = connect(&proxy).await;
    assert_eq!(next(&mut hearing).await, b"hello");
    proxy.cut_answers();
    assert_eq!(ask(&mut stream, b"done").await, b"", "nobody is told");
    assert_eq!(next(&mut hearing).await, b"done");
    let counters = proxy.counters();
    assert_eq!(
        (counters.answers_dropped, counters.requests_dropped),
        (4, 0)
    );
}

#[tokio::test]
async fn half_a_request_or_answer_arrives() {
    let (addr, mut hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut stream = connect(&proxy).await;
    assert_eq!(next(&mut hearing).await, b"hello");
    proxy.half_requests();
    stream.write_all(b"12345678").await.expect("written");
    assert_eq!(next(&mut hearing).await, b"1234");
    proxy.pass();
    let mut stream = connect(&proxy).await;
    proxy.half_answers();
    assert_eq!(ask(&mut stream, b"abcdefgh").await, b"abcd");
    assert_eq!(answer(&mut stream).await, b"", "then it is closed");
}

#[tokio::test]
async fn a_stall_holds_open_connections_and_loses_nothing() {
    let (addr, _hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut stream = connect(&proxy).await;
    proxy.stall();
    stream.write_all(b"later").await.expect("written");
    assert!(
        timeout(SHORT, answer(&mut stream)).await.is_err(),
        "neither an answer nor an end"
    );
    let mut other = TcpStream::connect(proxy.addr()).await.expect("still taken");
    other.write_all(b"too").await.expect("written");
    assert!(timeout(SHORT, answer(&mut other)).await.is_err());
    proxy.pass();
    assert_eq!(
        timeout(BOUND, answer(&mut stream)).await.expect("in time"),
        b"later"
    );
    assert_eq!(
        timeout(BOUND, answer(&mut other)).await.expect("in time"),
        b"too"
    );
}

#[tokio::test]
async fn a_delay_is_at_least_as_long_as_asked_and_ends_with_the_mode() {
    let (addr, _hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut stream = connect(&proxy).await;
    proxy.delay(200);
    assert_eq!(proxy.mode(), Mode::Delay(Duration::from_millis(200)));
    let started = Instant::now();
    assert_eq!(ask(&mut stream, b"slow").await, b"slow");
    assert!(started.elapsed() >= Duration::from_millis(200));
    proxy.delay(60_000);
    proxy.pass();
    assert_eq!(ask(&mut stream, b"fast").await, b"fast");
}

#[tokio::test]
async fn cut_now_closes_what_is_open_and_takes_new_connections() {
    let (addr, _hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut first = connect(&proxy).await;
    proxy.stall();
    let mut second = TcpStream::connect(proxy.addr()).await.expect("connected");
    second.write_all(b"waits").await.expect("written");
    proxy.pass();
    assert_eq!(
        timeout(BOUND, answer(&mut second)).await.expect("in time"),
        b"waits"
    );
    proxy.cut_now();
    for stream in [&mut first, &mut second] {
        assert_eq!(timeout(BOUND, answer(stream)).await.expect("ended"), b"");
    }
    let counters = proxy.counters();
    assert_eq!((counters.cuts, counters.open), (2, 0));
    connect(&proxy).await;
    assert_eq!(proxy.counters().connections, 3);
}

#[tokio::test]
async fn a_stalled_connection_can_be_cut_and_ends_with_the_proxy() {
    let (addr, _hearing) = echo().await;
    let proxy = Proxy::start(addr).await.expect("started");
    let mut first = connect(&proxy).await;
    let mut second = connect(&proxy).await;
    proxy.stall();
    first.write_all(b"x").await.expect("written");
    proxy.cut_now();
    assert_eq!(
        timeout(BOUND, answer(&mut first)).await.expect("ended"),
        b""
    );
    assert_eq!(
        timeout(BOUND, answer(&mut second)).await.expect("ended"),
        b""
    );
    proxy.pass();
    let mut third = connect(&proxy).await;
    drop(proxy);
    assert_eq!(
        timeout(BOUND, answer(&mut third)).await.expect("ended"),
        b""
    );
}

#[tokio::test]
async fn the_end_of_either_side_reaches_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let proxy = Proxy::start(listener.local_addr().expect("bound"))
        .await
        .expect("started");
    let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
    client.write_all(b"all").await.expect("written");
    client.shutdown().await.expect("half closed");
    let (mut server, _) = timeout(BOUND, listener.accept())
        .await
        .expect("in time")
        .expect("accepted");
    let mut heard = Vec::new();
    let read = timeout(BOUND, server.read_to_end(&mut heard)).await;
    read.expect("the end is passed on").expect("read");
    assert_eq!(heard, b"all");
    server.write_all(b"answer").await.expect("written");
    drop(server);
    let mut told = Vec::new();
    let read = timeout(BOUND, client.read_to_end(&mut told)).await;
    read.expect("the end is passed on").expect("read");
    assert_eq!(told, b"answer");
}
