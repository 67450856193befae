//! From a leaf of the plan to where its request goes: provider, credential, host, and the settings that hold there.

use std::{borrow::Cow, time::Duration};

use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::VirtualKeyId,
    },
    config::{Origin, VirtualKey, policy::Leaf},
    provider::Adapter,
};

use super::{
    allow::excerpt,
    glob,
    key::Credential,
    params,
    target::{Choice, Reach, each_leaf},
};

/// One target, ready to be tried.
#[derive(Clone, Debug)]
pub struct ResolvedTarget<'a> {
    /// The provider.
    pub adapter: &'static dyn Adapter,
    /// Its virtual key, if it has one.
    pub virtual_key: Option<VirtualKeyId>,
    /// What authenticates Trunkline there.
    pub credential: Option<Credential<'a>>,
    /// Where it is.
    pub origin: Cow<'a, Origin>,
    /// The host came with the request: every resolved address must pass the checks, at each connect.
    pub origin_untrusted: bool,
    /// The model that goes there: the override's, else the request's without its prefix.
    pub model: Option<Cow<'a, str>>,
    /// Bound on the time to the answer's head: the tighter of the header's and the config's.
    pub request_timeout: Option<Duration>,
    /// Whether answers keep to OpenAI's format: off if the header says so, else as the config says.
    pub strict: bool,
    /// Client headers to pass on, lower case: the header's list, else the config's.
    /// [`super::key::Caller::withholds`] still has the last word.
    pub forward_headers: &'a [String],
    request_options: &'a [(Cow<'a, str>, &'a str)],
    config_options: &'a [(String, String)],
    key_options: &'a [(String, String)],
}

impl ResolvedTarget<'_> {
    /// A provider-specific setting by its lower-case name without `x-portkey-`. The request's headers count only
    /// where the request itself names the provider.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let of_request = self.request_options.iter().find(|(known, _)| known == name);
        let of_config = || self.config_options.iter().find(|(known, _)| known == name);
        let of_key = || self.key_options.iter().find(|(known, _)| known == name);
        of_request
            .map(|(_, value)| *value)
            .or_else(|| of_config().or_else(of_key).map(|(_, value)| value.as_str()))
    }
}

impl<'a> Choice<'a> {
    /// Resolves one leaf of [`Choice::policy`]. An error makes this target unfit: the chain goes on to the next, and
    /// if no target is left, the fault is the answer.
    pub fn resolve<'s>(&'s self, leaf: &'s Leaf) -> Result<ResolvedTarget<'s>, Fault> {
        let Some(reach) = self.reach(leaf) else { return Err(no_provider()) };
        let options = self.asked.options;
        let model = match model_override(leaf) {
            _ if params::drops(leaf, "model") => None,
            Some(model) => model,
            None => self.model.map(Cow::Borrowed).or_else(|| model_default(leaf).flatten()),
        };
        check_served(&reach, model.as_deref())?;
        let (origin, origin_untrusted) = self.origin(leaf, &reach)?;
        Ok(ResolvedTarget {
            adapter: reach.adapter,
            virtual_key: reach.virtual_key.map(|(id, _)| id),
            credential: self.credential(leaf, &reach)?,
            origin,
            origin_untrusted,
            model,
            request_timeout: tighter(options.request_timeout, leaf.request_timeout),
            strict: !options.lenient && leaf.strict.unwrap_or(true),
            forward_headers: options.forward_headers.as_deref().unwrap_or(&leaf.forward_headers),
            request_options: if reach.filled { &options.provider_options } else { &[] },
            config_options: &leaf.options,
            key_options: reach.virtual_key.map_or(&[], |(_, key)| &key.options),
        })
    }

    /// The virtual key's, else the config's own, else the caller's own.
    fn credential<'s>(
        &'s self,
        leaf: &'s Leaf,
        reach: &Reach<'s>,
    ) -> Result<Option<Credential<'s>>, Fault> {
        let held = match reach.virtual_key {
            Some((_, VirtualKey { credential: None, .. })) => return Ok(None),
            Some((_, VirtualKey { credential, .. })) => credential.as_ref(),
            None => leaf.api_key.as_ref(),
        };
        if let Some(secret) = held {
            return Ok(Some(Credential::new(secret.reveal())));
        }
        let own = self.asked.caller.own_credential.filter(|_| self.names_one_provider());
        if own.is_none() && !reach.adapter.credential_optional() {
            return Err(no_credential(reach.adapter));
        }
        Ok(own)
    }

    /// Whether all targets without a credential of their own are of one provider. The caller's credential is meant
    /// for one: with two it would reach a company that it was not issued by.
    fn names_one_provider(&self) -> bool {
        let mut first = None;
        let mut one = true;
        let walked = each_leaf(&self.policy().root, &mut |leaf| {
            if let Some(reach) = self.reach(leaf)
                && reach.virtual_key.is_none()
                && leaf.api_key.is_none()
            {
                one &= *first.get_or_insert(reach.adapter.name()) == reach.adapter.name();
            }
            Ok(())
        });
        one && walked.is_ok()
    }

    /// The header's custom host for every target, else the config's, the virtual key's, the provider's.
    fn origin<'s>(
        &'s self,
        leaf: &'s Leaf,
        reach: &Reach<'s>,
    ) -> Result<(Cow<'s, Origin>, bool), Fault> {
        if let Some(origin) = &self.custom_host {
            return Ok((Cow::Borrowed(origin), true));
        }
        if let Some(origin) = &leaf.custom_host {
            return Ok((Cow::Borrowed(origin), self.policy().inline && !leaf.host_trusted));
        }
        if let Some((_, key)) = reach.virtual_key {
            return Ok((Cow::Borrowed(&key.base), false));
        }
        match reach.adapter.base_url().and_then(origin_of) {
            // Servers of one's own house have loopback addresses for defaults: a request that names such a provider
            // names a host of this machine.
            Some(origin) => {
                let untrusted = reach.filled && !origin.tls;
                Ok((Cow::Owned(origin), untrusted))
            }
            None => Err(no_base(reach.adapter)),
        }
    }
}

/// The model that a leaf's overrides set: `Some(None)` if it is no string.
pub(super) fn model_override(leaf: &Leaf) -> Option<Option<Cow<'_, str>>> {
    model_of(&leaf.override_params)
}

/// The model that a leaf sets where the request names none, likewise.
pub(super) fn model_default(leaf: &Leaf) -> Option<Option<Cow<'_, str>>> {
    model_of(&leaf.default_params)
}

fn model_of(params: &[(String, String)]) -> Option<Option<Cow<'_, str>>> {
    let (_, json) = params.iter().rev().find(|(name, _)| name == "model")?;
    let plain = serde_json::from_str::<&str>(json).map(Cow::Borrowed);
    Some(plain.or_else(|_| serde_json::from_str::<String>(json).map(Cow::Owned)).ok())
}

/// A virtual key that lists its models serves no others. The target is unfit then, so that a chain can put a small
/// server in front of a large one.
fn check_served(reach: &Reach<'_>, model: Option<&str>) -> Result<(), Fault> {
    let (Some((_, key)), Some(model)) = (reach.virtual_key, model) else { return Ok(()) };
    if key.models.is_empty() || glob::any_matches(&key.models, model) {
        return Ok(());
    }
    let message =
        format!("the virtual key `{}` does not serve the model `{}`", key.name, excerpt(model));
    Err(Fault::new(Stage::Plan, Source::Client, Kind::Inexpressible, message).at("model"))
}

fn tighter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Reads a provider's own base URL: `scheme://host[:port][/path]`, a constant of the program.
fn origin_of(base_url: &str) -> Option<Origin> {
    let (scheme, rest) = base_url.split_once("://")?;
    let tls = scheme == "https";
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, if tls { 443 } else { 80 }),
    };
    Some(Origin {
        tls,
        host: host.to_owned(),
        port,
        path: path.trim_end_matches('/').to_owned(),
        authority: authority.to_owned(),
    })
}

fn no_credential(adapter: &dyn Adapter) -> Fault {
    let message = format!(
        "no provider credential for `{}`: name a virtual key, or send the provider's key in a \
         header of its own beside the API key",
        adapter.name()
    );
    Fault::new(Stage::Auth, Source::Client, Kind::NoCredential, message)
}

fn no_base(adapter: &dyn Adapter) -> Fault {
    let message = format!(
        "the provider `{}` has no host of its own: give `x-portkey-custom-host` or a virtual key",
        adapter.name()
    );
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, message).at("x-portkey-custom-host")
}

fn no_provider() -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, "this target names no provider")
}
