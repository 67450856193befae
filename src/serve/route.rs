//! Which of the gateway's routes a method and path name.

use crate::{dialect::Dialect, provider::Endpoint, wire::head::Method};

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /` and `/healthz`: who we are, and that we live.
    Alive,
    /// `GET /readyz`: whether new work is welcome.
    Ready,
    /// Below `/v1`.
    Api(Call<'a>),
    /// Known, but not with this method.
    WrongMethod {
        /// What it takes.
        allow: &'static str,
    },
    /// Unknown.
    Unknown,
}

/// A call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// The path after `/v1`, without the query.
    pub rest: &'a str,
    /// The client's dialect, which its errors are written in.
    pub dialect: Dialect,
    /// A JSON route whose request headers Trunkline chooses; otherwise everything is passed through.
    pub typed: bool,
}

/// Routes by method and path.
#[must_use]
pub fn route<'a>(method: Method, path: &'a str) -> Route<'a> {
    match path {
        "/" | "/healthz" | "/readyz" if !matches!(method, Method::Get | Method::Head) => {
            Route::WrongMethod { allow: "GET, HEAD" }
        }
        "/" | "/healthz" => Route::Alive,
        "/readyz" => Route::Ready,
        _ => match path.strip_prefix("/v1") {
            Some(rest) if rest.len() > 1 && rest.starts_with('/') => api(method, rest),
            _ => Route::Unknown,
        },
    }
}

fn api(method: Method, rest: &str) -> Route<'_> {
    // Portkey's deprecated spelling of a plain pass-through.
    let rest = rest.strip_prefix("/proxy").filter(|rest| rest.starts_with('/')).unwrap_or(rest);
    if matches!(method, Method::Other | Method::Options) {
        return Route::WrongMethod { allow: "GET, HEAD, POST, PUT, PATCH, DELETE" };
    }
    let (endpoint, typed) = match (method, rest) {
        (Method::Post, "/chat/completions") => (Endpoint::ChatCompletions, true),
        (Method::Post, "/completions") => (Endpoint::Completions, true),
        (Method::Post, "/embeddings") => (Endpoint::Embeddings, true),
        (Method::Post, "/messages") => (Endpoint::Messages, true),
        (Method::Post, "/messages/count_tokens") => (Endpoint::CountTokens, true),
        (_, "/messages" | "/messages/count_tokens") => {
            return Route::WrongMethod { allow: "POST" };
        }
        (Method::Post, "/responses") => (Endpoint::Responses, true),
        (Method::Post, "/moderations" | "/rerank" | "/images/generations" | "/audio/speech") => {
            (Endpoint::Other, true)
        }
        (Method::Get, "/models") => (Endpoint::Models, false),
        _ if rest.starts_with("/responses/") => (Endpoint::Responses, false),
        _ => (Endpoint::Other, false),
    };
    Route::Api(Call { endpoint, rest, dialect: dialect_of(rest), typed })
}

/// The dialect of a path, also of one that is not served.
#[must_use]
pub fn dialect_of(rest: &str) -> Dialect {
    if rest == "/messages" || rest.starts_with("/messages/") {
        Dialect::Anthropic
    } else if rest == "/responses" || rest.starts_with("/responses/") {
        Dialect::Responses
    } else {
        Dialect::OpenAi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, path: &str) -> Call<'_> {
        match route(method, path) {
            Route::Api(call) => call,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn typed_routes_are_posts_to_known_paths() {
        assert_eq!(call(Method::Post, "/v1/chat/completions").endpoint, Endpoint::ChatCompletions);
        assert_eq!(call(Method::Post, "/v1/messages").dialect, Dialect::Anthropic);
        assert!(!call(Method::Get, "/v1/chat/completions").typed);
        assert_eq!(call(Method::Post, "/v1/files").rest, "/files");
        assert_eq!(call(Method::Post, "/v1/proxy/files").rest, "/files");
    }

    #[test]
    fn what_is_not_below_v1_is_unknown() {
        for path in ["/v1", "/v1/", "/v2/chat/completions", "/v1x/files", "/admin"] {
            assert_eq!(route(Method::Post, path), Route::Unknown, "{path}");
        }
    }

    #[test]
    fn health_routes_take_no_post() {
        assert_eq!(route(Method::Post, "/healthz"), Route::WrongMethod { allow: "GET, HEAD" });
        assert_eq!(route(Method::Get, "/readyz"), Route::Ready);
    }
}
