//! The calls to the head of a Ray cluster.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use super::token::Token;
use crate::engine::EngineError;
use crate::{Error, ErrorKind};

/// The longest answer in JSON, in bytes: a list of many jobs, each with its environment.
const MAX_BODY: u64 = 256 << 20;

/// How many bytes of an answer that is a text are read at most: a traceback.
const MAX_TEXT: u64 = 1 << 20;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the standard library says of a host that is not found; it has no kind for that.
const NO_SUCH_HOST: &str = "failed to lookup address information";

/// How many times as long as other calls one may take that sends a folder.
const UPLOAD_FACTOR: u32 = 20;

/// The head of a cluster.
#[derive(Clone)]
pub(super) struct Head {
    agent: Agent,
    address: String,
    pub token: Token,
    timeout: Duration,
}

/// A request to the head.
#[derive(Clone, Copy)]
pub(super) enum HeadRequest<'b> {
    Get,
    Delete,
    Post(&'b [u8]),
    Upload(&'b [u8]),
}

impl Head {
    /// # Errors
    /// `InvalidConfig`: it is no address of a head.
    pub(super) fn new(address: &str, timeout: Duration) -> Result<Head, Error> {
        let wrong = |problem: &str| {
            let message = format!(
                "the address of Ray {problem}; it looks like http://127.0.0.1:8265 (the dashboard's address)"
            );
            Error::new(ErrorKind::InvalidConfig, message)
        };
        let address = address.trim().trim_end_matches('/');
        let uri: Uri = address.parse().map_err(|_| wrong("is none"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("does not begin with http:// or https://"));
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user name or a password, or no host; give a token instead"));
        }
        if uri.query().is_some() || address.contains('#') {
            return Err(wrong("has a `?` or a `#`"));
        }
        let agent = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout / 2)))
            .proxy(None) // the proxy of the environment is for the web
            .max_redirects(0) // a token goes to nobody else
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("perdura/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        Ok(Head { agent, address: address.to_owned(), token: Token::AsRay, timeout })
    }

    pub(super) fn with_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends a request. Any status is an answer, except that a refused token (401, 403) and a redirect (3xx) are errors.
    ///
    /// # Errors
    /// [`EngineError::not_now`] if it has not heard the question for certain, else [`EngineError::unreachable`].
    pub(super) fn ask(&self, path: &str, request: HeadRequest<'_>) -> Result<HeadAnswer, EngineError> {
        let (url, token) = (format!("{}{path}", self.address), self.token.read()?);
        let bearer = token.map(|token| format!("Bearer {token}"));
        let sent = match request {
            HeadRequest::Get => {
                let request = self.agent.get(&url).config().timeout_global(Some(self.timeout)).build();
                authorized(request, bearer.as_deref()).call()
            }
            HeadRequest::Delete => {
                let request = self.agent.delete(&url).config().timeout_global(Some(self.timeout)).build();
                authorized(request, bearer.as_deref()).call()
            }
            HeadRequest::Post(body) => {
                let request = self.agent.post(&url).config().timeout_global(Some(self.timeout)).build();
                authorized(request.content_type("application/json"), bearer.as_deref()).send(body)
            }
            HeadRequest::Upload(body) => {
                let patience = self.timeout.saturating_mul(UPLOAD_FACTOR);
                let request = self.agent.put(&url).config().timeout_global(Some(patience)).build();
                authorized(request.content_type("application/zip"), bearer.as_deref()).send(body)
            }
        };
        let response = sent.map_err(|e| self.not_answered(&e))?;
        let status = response.status().as_u16();
        match status {
            401 | 403 => {
                let known = if bearer.is_some() { "does not take the token" } else { "asks for a token" };
                Err(EngineError::not_now(format!(
                    "Ray at {} {known} (HTTP {status}); it comes from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, unless another place is named",
                    self.address
                )))
            }
            300..=399 => Err(EngineError::not_now(format!(
                "what is at {} sends elsewhere (HTTP {status}); name the address of Ray's dashboard itself",
                self.address
            ))),
            _ => Ok(HeadAnswer { status, response, address: self.address.clone() }),
        }
    }

    /// No answer has come.
    fn not_answered(&self, e: &ureq::Error) -> EngineError {
        let what = match e {
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            e => e.to_string(),
        };
        let message = format!("Ray at {}: {what}", self.address);
        let is_unheard = match e {
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::BadUri(_) => true,
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Http(_) => true,
            ureq::Error::Io(e) => {
                use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
                matches!(e.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
                    || e.to_string().starts_with(NO_SUCH_HOST)
            }
            _ => false,
        };
        if is_unheard { EngineError::not_now(message) } else { EngineError::unreachable(message) }
    }
}

/// Adds the token, if there is one.
fn authorized<B>(request: ureq::RequestBuilder<B>, bearer: Option<&str>) -> ureq::RequestBuilder<B> {
    match bearer {
        Some(bearer) => request.header("Authorization", bearer),
        None => request,
    }
}

/// What the head has answered.
pub(super) struct HeadAnswer {
    pub status: u16,
    response: Response<Body>,
    address: String,
}

impl HeadAnswer {
    pub(super) fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// The date of the answer, by the head's clock.
    pub(super) fn date(&self) -> Option<String> {
        Some(self.response.headers().get("date")?.to_str().ok()?.to_owned())
    }

    /// Its text.
    ///
    /// # Errors
    /// It is cut, late or too long.
    pub(super) fn text(&mut self) -> Result<String, EngineError> {
        let mut text = Vec::new();
        let body = self.response.body_mut().with_config().limit(MAX_TEXT).reader();
        let read = body.take(MAX_TEXT).read_to_end(&mut text);
        read.map_err(|e| self.cut(&e))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Its body, decoded from JSON.
    ///
    /// # Errors
    /// It is cut, late, too long, or says something else.
    pub(super) fn json<A: DeserializeOwned>(&mut self) -> Result<A, EngineError> {
        let body = self.response.body_mut().with_config().limit(MAX_BODY).reader();
        serde_json::from_reader(BufReader::with_capacity(64 * 1024, body)).map_err(|e| {
            if let Some(kind) = e.io_error_kind() {
                return self.cut(&io::Error::from(kind));
            }
            EngineError::unreachable(format!(
                "what is at {} does not answer as Ray's Jobs API does (no JSON, or of another shape)",
                self.address
            ))
        })
    }

    /// Its body, to be read piece by piece.
    pub(super) fn body(&mut self) -> impl Read {
        self.response.body_mut().with_config().limit(u64::MAX).reader()
    }

    /// The error of an answer that was begun and not ended.
    pub(super) fn cut(&self, e: &io::Error) -> EngineError {
        EngineError::unreachable(format!("the answer of Ray at {} is cut: {e}", self.address))
    }

    /// The error of an answer with an unexpected status.
    pub(super) fn strange(&mut self) -> EngineError {
        let status = self.status;
        EngineError::unreachable(format!("what is at {} answers HTTP {status}", self.address))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("address", &self.address)
            .field("token", &self.token)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
