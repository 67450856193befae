//! What choosing a target must ask of other layers: providers by name, inline configs, and which hosts a request may
//! name.

use std::net::{IpAddr, SocketAddr};

use super::Core;
use crate::{
    base::fault::{Fault, Kind, Source, Stage},
    config::{
        Config, Origin,
        compile::{InlineError, Known, compile_inline},
        hosts::{self, HostRefused},
    },
    io::{machine, net::Net},
    policy::{
        request_headers::RequestOptions,
        target::{self, Asked, Choice, Lookups},
    },
    provider,
};

/// The rules for what a request may name.
pub struct TargetRules<'c> {
    config: &'c Config,
    listeners: &'c [SocketAddr],
    /// Whether the request's headers name a provider or a virtual key.
    target_named: bool,
}

impl<'c> TargetRules<'c> {
    /// The rules of this core and epoch for a request with these headers.
    pub fn new<N: Net>(
        core: &'c Core<N>,
        config: &'c Config,
        options: &RequestOptions<'_>,
    ) -> TargetRules<'c> {
        TargetRules::of(&core.listeners, config, options)
    }

    /// The same where no core is: of a gateway with these listeners.
    pub fn of(
        listeners: &'c [SocketAddr],
        config: &'c Config,
        options: &RequestOptions<'_>,
    ) -> TargetRules<'c> {
        let target_named = options.provider.is_some() || options.virtual_key.is_some();
        TargetRules { config, listeners, target_named }
    }

    /// Chooses the policy of a request by these rules.
    pub fn choose<'a>(&self, asked: Asked<'a>) -> Result<Choice<'a>, Fault> {
        let config = self.config;
        let compile = |text: &str| {
            compile_inline(text, Known::from(config), self.target_named).map_err(invalid_config)
        };
        let host = |url: &str| {
            hosts::check_custom_host(url, &config.custom_hosts, config.open_on_loopback())
                .map_err(|_| refused_name())
        };
        let lookups = Lookups { provider: &provider::by_name, compile: &compile, host: &host };
        target::choose(asked, &lookups)
    }

    /// Whether a request may make Trunkline connect to this address of `origin`.
    pub fn check_address(&self, origin: &Origin, address: IpAddr) -> Result<(), Fault> {
        check_address(self.config, self.listeners, origin, address)
    }
}

/// Whether a request may make Trunkline, which listens at these addresses, connect to this address of `origin`.
pub fn check_address(
    config: &Config,
    listeners: &[SocketAddr],
    origin: &Origin,
    address: IpAddr,
) -> Result<(), Fault> {
    let trusted = hosts::is_trusted(&origin.host, &config.custom_hosts, config.open_on_loopback());
    hosts::check_address(address, &config.custom_hosts, trusted).map_err(refused_address)?;
    let to = SocketAddr::new(address, origin.port);
    // A listener on all addresses of the machine is reached by each of them: asked only where the port is its own.
    let own_port = listeners.iter().any(|listener| listener.port() == to.port());
    let local = [address];
    let local = if own_port && machine::has_address(address) { &local[..] } else { &[] };
    hosts::check_own_port(to, listeners, local).map_err(refused_address)
}

pub(super) fn invalid_config(error: InlineError) -> Fault {
    match error {
        InlineError::Invalid { message, errors } => {
            let fault = Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, message);
            Fault { details: errors, ..fault }
        }
        InlineError::CredentialRedirected { message } => {
            Fault::new(Stage::Plan, Source::Client, Kind::CredentialRedirected, message)
        }
    }
}

/// Portkey's own words, without a reason: what a probe learns from it is only that it was refused.
fn refused_name() -> Fault {
    let message = hosts::INVALID_CUSTOM_HOST;
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, message).at("x-portkey-custom-host")
}

fn refused_address(refused: HostRefused) -> Fault {
    let message = refused.to_string();
    Fault::new(Stage::Connect, Source::Client, Kind::HostRefused, message)
        .at("x-portkey-custom-host")
}
