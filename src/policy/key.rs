//! Who is calling: which header carries the API key, whether it is good, and which other header carries the
//! provider's own credential.
//!
//! A key costs one SHA-256. Who remembers what a head said ([`Caller::without_credential`]) is to ask with each request
//! whether the key still holds ([`Caller::check_expiry`]), and to forget it with the epoch.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::ApiKeyId,
        units::UnixTime,
    },
    config::Config,
    provider::HeaderLookup,
};

/// Decides who is calling. The first carrier present decides; a wrong key there is a 401, whatever the others say.
pub fn identify<'r>(
    headers: HeaderLookup<'_, 'r>,
    config: &Config,
    now: UnixTime,
) -> Result<Caller<'r>, Fault> {
    let mut caller = Caller::default();
    for carrier in Carrier::ALL {
        let Some(text) = carrier.read(headers) else { continue };
        match known(config, text) {
            Some(id) => {
                caller.withheld.insert(carrier);
                if caller.api_key.is_none() {
                    (caller.api_key, caller.carrier) = (Some(id), Some(carrier));
                    caller.check_expiry(config, now)?;
                }
            }
            None if !config.open && caller.api_key.is_none() => return Err(unknown_key(carrier)),
            None if carrier == Carrier::PortkeyApiKey => {} // ignored: SDKs always send one
            None => {
                caller.own_credential.get_or_insert(Credential(text));
            }
        }
    }
    if caller.api_key.is_none() && !config.open {
        return Err(no_key());
    }
    Ok(caller)
}

/// The same where it is said who is calling, and the key itself is not shown: as if it came in the first carrier.
pub fn identify_as<'r>(headers: HeaderLookup<'_, 'r>, config: &Config, id: ApiKeyId) -> Caller<'r> {
    let mut caller = Caller { api_key: Some(id), ..Caller::default() };
    caller.carrier = Some(Carrier::PortkeyApiKey);
    caller.withheld.insert(Carrier::PortkeyApiKey);
    for carrier in Carrier::ALL.into_iter().skip(1) {
        let Some(text) = carrier.read(headers) else { continue };
        match known(config, text) {
            Some(_) => caller.withheld.insert(carrier),
            None => {
                caller.own_credential.get_or_insert(Credential(text));
            }
        }
    }
    caller
}

/// Who is calling.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'r> {
    /// The API key; `None` only while Trunkline is open.
    pub api_key: Option<ApiKeyId>,
    /// The header that authenticated the caller.
    pub carrier: Option<Carrier>,
    /// The caller's own credential for a provider.
    pub own_credential: Option<Credential<'r>>,
    withheld: Carriers,
}

impl Caller<'_> {
    /// Whether this client header (any case) must never go upstream: it carries an API key of Trunkline's. Also
    /// true of `x-portkey-api-key` in any case: a key for another gateway is nobody's business upstream.
    #[must_use]
    pub fn withholds(&self, header: &str) -> bool {
        Carrier::of(header).is_some_and(|carrier| {
            carrier == Carrier::PortkeyApiKey || self.withheld.contains(carrier)
        })
    }

    /// The same caller on its own; `None` if it brings a credential, which is the head's.
    #[must_use]
    pub fn without_credential(&self) -> Option<Caller<'static>> {
        let Caller { api_key, carrier, own_credential, withheld } = *self;
        own_credential.is_none().then_some(Caller {
            api_key,
            carrier,
            own_credential: None,
            withheld,
        })
    }

    /// Refuses a caller whose API key has expired.
    pub fn check_expiry(&self, config: &Config, now: UnixTime) -> Result<(), Fault> {
        let key = self.api_key.and_then(|id| config.api_keys.get(id.0 as usize));
        match key.and_then(|key| key.expires) {
            Some(expires) if expires <= now => {
                let carrier = self.carrier.unwrap_or(Carrier::Authorization);
                Err(unauthenticated("this API key has expired").at(carrier.header()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a request's `forward_headers` (lower case) that name what authenticated the caller.
    pub fn check_forwarding(&self, names: &[String]) -> Result<(), Fault> {
        let Some(name) = names.iter().find(|name| self.withholds(name)) else { return Ok(()) };
        let message = format!("forward_headers must not contain `{name}`: it carries an API key");
        Err(Fault::new(Stage::Head, Source::Client, Kind::BadConfig, message)
            .at("x-portkey-forward-headers"))
    }
}

/// A provider's credential on its way from the request or the configuration to the provider.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a>(&'a str);

impl<'a> Credential<'a> {
    /// Borrows the text.
    #[must_use]
    pub fn new(text: &'a str) -> Credential<'a> {
        Credential(text)
    }

    /// The text itself, for the one place that writes it to a provider.
    #[must_use]
    pub fn reveal(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// A header that may carry an API key or a credential, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Carrier {
    /// `x-portkey-api-key`, or `x-trunkline-api-key`.
    PortkeyApiKey,
    /// `authorization` with the scheme `Bearer`.
    Authorization,
    /// `x-api-key`
    XApiKey,
    /// `api-key`
    ApiKey,
    /// `x-goog-api-key`
    XGoogApiKey,
}

impl Carrier {
    /// All, in order.
    pub const ALL: [Carrier; 5] = [
        Carrier::PortkeyApiKey,
        Carrier::Authorization,
        Carrier::XApiKey,
        Carrier::ApiKey,
        Carrier::XGoogApiKey,
    ];

    /// The header's name.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Carrier::PortkeyApiKey => "x-portkey-api-key",
            Carrier::Authorization => "authorization",
            Carrier::XApiKey => "x-api-key",
            Carrier::ApiKey => "api-key",
            Carrier::XGoogApiKey => "x-goog-api-key",
        }
    }

    /// Which carrier a client header (any case) is. Routes that copy all headers upstream leave every carrier out: the
    /// target's own credential is the only one that may arrive there.
    #[must_use]
    pub fn of(header: &str) -> Option<Carrier> {
        if header.eq_ignore_ascii_case("x-trunkline-api-key") {
            return Some(Carrier::PortkeyApiKey);
        }
        Carrier::ALL.into_iter().find(|carrier| header.eq_ignore_ascii_case(carrier.header()))
    }

    /// Its text. Empty counts as absent, and so does an `authorization` of another scheme.
    fn read<'r>(self, headers: HeaderLookup<'_, 'r>) -> Option<&'r str> {
        let text = match self {
            Carrier::PortkeyApiKey => {
                headers(self.header()).or_else(|| headers("x-trunkline-api-key"))?
            }
            Carrier::Authorization => bearer(headers(self.header())?)?,
            _ => headers(self.header())?,
        };
        Some(text.trim()).filter(|text| !text.is_empty())
    }
}

/// A set of carriers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Carriers(u8);

impl Carriers {
    fn insert(&mut self, carrier: Carrier) {
        self.0 |= 1 << carrier as u8;
    }

    fn contains(self, carrier: Carrier) -> bool {
        self.0 & (1 << carrier as u8) != 0
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Looked up by digest: how long that takes says nothing about any key's text.
fn known(config: &Config, text: &str) -> Option<ApiKeyId> {
    if config.api_key_ids.is_empty() {
        return None;
    }
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    config.api_key_ids.get(&digest).copied()
}

fn no_key() -> Fault {
    unauthenticated("no API key: send one as `x-portkey-api-key` or as `Authorization: Bearer`")
}

fn unknown_key(carrier: Carrier) -> Fault {
    let message = match carrier {
        Carrier::PortkeyApiKey => "unknown API key in `x-portkey-api-key`",
        Carrier::Authorization => "unknown API key in `authorization`",
        Carrier::XApiKey => "unknown API key in `x-api-key`",
        Carrier::ApiKey => "unknown API key in `api-key`",
        Carrier::XGoogApiKey => "unknown API key in `x-goog-api-key`",
    };
    unauthenticated(message).at(carrier.header())
}

fn unauthenticated(message: &'static str) -> Fault {
    Fault::new(Stage::Auth, Source::Client, Kind::Unauthenticated, message)
}
