//! The channel to a server, made of settings, and the wire of one request.

use crate::{
    departure::Departure,
    settings::{Settings, SetupError},
    tls,
};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tonic::{
    body::Body,
    codegen::{Service, http},
    transport::{Channel, Endpoint},
};

/// The channel for one request: what it carries is watched by one [`Departure`].
#[derive(Clone, Debug)]
pub struct Wire {
    channel: Channel,
    departure: Departure,
}

impl Wire {
    pub(crate) fn new(channel: Channel, departure: Departure) -> Self {
        Self { channel, departure }
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Body>;
    type Error = <Channel as Service<http::Request<Body>>>::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let watched = request.map(|body| self.departure.watch(body));
        self.channel.call(watched)
    }
}

/// A channel that connects at its first call, and again whenever its connection is gone.
pub(crate) fn open(settings: &Settings) -> Result<Channel, SetupError> {
    let url = Endpoint::from_shared(settings.url.clone())
        .map_err(|_| settings.wrong("url", "must be http://host:port or https://host:port"))?;
    let deadline = Duration::from_millis(settings.deadline_ms);
    let mut endpoint = url
        .connect_timeout(Duration::from_millis(settings.connect_ms))
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(20)))
        // A connection on which nothing comes back is given up, so that the next call makes a new
        // one. No ping is sent before every call on it has passed its deadline: servers that
        // count pings see none of a healthy client.
        .http2_keep_alive_interval(deadline)
        .keep_alive_timeout(deadline)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    if let Some(tls) = tls::of_client(settings)? {
        endpoint = endpoint.tls_config(tls).map_err(|source| SetupError::Tls {
            section: settings.section,
            source: source.into(),
        })?;
    }
    Ok(endpoint.connect_lazy())
}
