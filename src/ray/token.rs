//! The token for calls to Ray.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::EngineError;

/// Where the token comes from. Files are read for each call, so that a new one is taken up. It is never shown.
#[derive(Clone)]
pub(super) enum Token {
    /// As Ray's own client finds it: none, a variable, a file.
    AsRay,
    Given(String),
    Variable(String),
    File(PathBuf),
}

impl Token {
    /// The token, if there is one.
    ///
    /// # Errors
    /// The place that was named has none.
    pub(super) fn read(&self) -> Result<Option<String>, EngineError> {
        match self {
            Token::Given(token) => Ok(Some(token.clone())),
            Token::Variable(name) => match variable(name) {
                Some(token) => Ok(Some(token)),
                None => Err(EngineError::not_now(format!("the environment variable {name} has no token"))),
            },
            Token::File(path) => from_file(path).map(Some),
            Token::AsRay => Token::found(),
        }
    }

    /// <https://docs.ray.io/en/latest/ray-security/token-auth.html>: `RAY_AUTH_TOKEN`, then the file that `RAY_AUTH_TOKEN_PATH` names, then
    /// `~/.ray/auth_token`.
    fn found() -> Result<Option<String>, EngineError> {
        if variable("RAY_AUTH_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("disabled")) {
            return Ok(None);
        }
        if let Some(token) = variable("RAY_AUTH_TOKEN") {
            return Ok(Some(token));
        }
        if let Some(path) = variable("RAY_AUTH_TOKEN_PATH") {
            return from_file(Path::new(&path)).map(Some);
        }
        let usual = std::env::home_dir().map(|home| home.join(".ray/auth_token"));
        Ok(usual.and_then(|path| from_file(&path).ok()))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn from_file(path: &Path) -> Result<String, EngineError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| EngineError::not_now(format!("the token cannot be read from {shown}: {e}")))?;
    match text.trim() {
        "" => Err(EngineError::not_now(format!("there is no token in {shown}"))),
        token => Ok(token.to_owned()),
    }
}

/// Shows where the token comes from, and never the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::AsRay => f.write_str("as Ray's client finds it"),
            Token::Given(_) => f.write_str("given"),
            Token::Variable(name) => write!(f, "variable {name}"),
            Token::File(path) => write!(f, "file {}", path.display()),
        }
    }
}
