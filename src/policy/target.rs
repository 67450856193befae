//! Which target: from the headers, the body's model and the API key to one policy, with everything refused that
//! the caller may not have. Held credentials are guarded here, before the first attempt.

use std::{borrow::Cow, fmt, sync::LazyLock};

use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::{ConfigId, VirtualKeyId},
        limits,
    },
    config::{
        ApiKey, Config, Origin, VirtualKey,
        policy::{Leaf, Node, NodeKind, Policy},
    },
    provider::Adapter,
};

use super::{allow::Permit, key::Caller, params, request_headers::RequestOptions, resolve};

/// Chooses the policy of a request. An error ends the exchange: nothing was tried.
pub fn choose<'a>(asked: Asked<'a>, lookups: &Lookups<'_>) -> Result<Choice<'a>, Fault> {
    let config = asked.config;
    let (prefix, model) = split_model(config, asked.model);
    let headers = fill_of_headers(&asked, lookups)?;
    let fill = headers.or(prefix.map(Fill::VirtualKey));
    let default_config = asked.api_key().and_then(|key| key.config);
    if asked.options.config.is_none() && fill.is_none() && default_config.is_none() {
        return Err(refusal(NO_TARGET));
    }
    let custom_host = asked.options.custom_host.map(lookups.host).transpose()?;
    let (policy, config_label) = match asked.options.config {
        Some(text) => policy_of_header(&asked, text, lookups)?,
        None if fill.is_some() => (PolicyRef::Bare, Cow::Borrowed("")),
        None => named(config, default_config.ok_or_else(|| refusal(NO_TARGET))?)?,
    };
    let rewritten_model = prefix.and(model);
    let choice = Choice { policy, model, rewritten_model, config_label, asked, fill, custom_host };
    choice.check()?;
    Ok(choice)
}

/// What is known of a request when its target is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The epoch it runs on.
    pub config: &'a Config,
    /// Who is calling.
    pub caller: &'a Caller<'a>,
    /// What its headers say.
    pub options: &'a RequestOptions<'a>,
    /// The model that its body names.
    pub model: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// The caller's API key.
    #[must_use]
    pub fn api_key(&self) -> Option<&'a ApiKey> {
        self.caller.api_key.and_then(|id| self.config.api_keys.get(id.0 as usize))
    }
}

/// What other layers know and this one asks.
#[derive(Clone, Copy)]
pub struct Lookups<'l> {
    /// A provider by its name.
    pub provider: &'l dyn Fn(&str) -> Option<&'static dyn Adapter>,
    /// Compiles an inline config; checks its custom hosts.
    pub compile: &'l dyn Fn(&str) -> Result<Policy, Fault>,
    /// Parses and checks a custom host from a header.
    pub host: &'l dyn Fn(&str) -> Result<Origin, Fault>,
}

/// The policy of one request, and what is needed to resolve its targets.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The policy.
    pub policy: PolicyRef<'a>,
    /// The model that the body names, without a `@virtual-key/` prefix.
    pub model: Option<&'a str>,
    /// The same, if there was a prefix: the body's field is to be replaced by this.
    pub rewritten_model: Option<&'a str>,
    /// For the log: a config's name, `inline:DIGEST`, or empty.
    pub config_label: Cow<'a, str>,
    pub(super) asked: Asked<'a>,
    pub(super) fill: Option<Fill>,
    pub(super) custom_host: Option<Origin>,
}

impl<'a> Choice<'a> {
    /// The policy to plan from.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        match &self.policy {
            PolicyRef::Bare => &BARE,
            PolicyRef::Named(_, policy) => policy,
            PolicyRef::Inline(policy) => policy,
        }
    }

    /// Where a leaf leads: by its own words, else by the request's virtual key or provider.
    pub(super) fn reach(&self, leaf: &Leaf) -> Option<Reach<'a>> {
        let (id, provider, filled) = match (leaf.virtual_key, leaf.provider, self.fill) {
            (Some(id), _, _) => (Some(id), None, false),
            (None, Some(provider), _) => (None, Some(provider), false),
            (None, None, Some(Fill::VirtualKey(id))) => (Some(id), None, true),
            (None, None, Some(Fill::Provider(provider))) => (None, Some(provider), true),
            (None, None, None) => return None,
        };
        let keys = &self.asked.config.virtual_keys;
        let virtual_key = match id {
            Some(id) => Some((id, keys.get(id.0 as usize)?)),
            None => None,
        };
        let adapter = provider.or(virtual_key.map(|(_, key)| key.provider))?;
        Some(Reach { adapter, virtual_key, filled })
    }

    /// The virtual key and the provider of a leaf, whether or not it can take the request.
    #[must_use]
    pub fn leads_to(&self, leaf: &Leaf) -> Option<(Option<VirtualKeyId>, &'static dyn Adapter)> {
        let reach = self.reach(leaf)?;
        Some((reach.virtual_key.map(|(id, _)| id), reach.adapter))
    }

    /// Whether the credential of a leaf is Trunkline's: its virtual key's, or one in the operator's own config.
    pub(super) fn is_held(&self, leaf: &Leaf, reach: &Reach<'_>) -> bool {
        reach.virtual_key.is_some() || (leaf.api_key.is_some() && !self.policy().inline)
    }

    /// Everything about the chosen policy that is refused before the first attempt.
    fn check(&self) -> Result<(), Fault> {
        let permit = Permit::new(self.asked.config, self.asked.api_key());
        if let Some(model) = self.model {
            permit.model(model)?;
        }
        let vouched = match self.policy {
            PolicyRef::Named(id, _) => permit.vouches_for(id),
            PolicyRef::Bare | PolicyRef::Inline(_) => false,
        };
        each_leaf(&self.policy().root, &mut |leaf| {
            let reach = self.reach(leaf).ok_or_else(|| refusal(NO_PROVIDER))?;
            self.check_redirection(leaf, &reach)?;
            if permit.is_unlimited() {
                return Ok(());
            }
            if reach.filled || !vouched {
                permit.target(reach.virtual_key.map(|(id, _)| id), reach.adapter.name())?;
            }
            self.check_inline_model(leaf, &permit)
        })
    }

    /// The operator's own overrides are trusted; a caller's are not.
    fn check_inline_model(&self, leaf: &Leaf, permit: &Permit<'_>) -> Result<(), Fault> {
        if !self.policy().inline {
            return Ok(());
        }
        if params::drops(leaf, "model") {
            return permit.odd_model();
        }
        for model in [resolve::model_override(leaf), resolve::model_default(leaf)] {
            match model {
                Some(Some(model)) => permit.model(&model)?,
                Some(None) => permit.odd_model()?,
                None => {}
            }
        }
        Ok(())
    }

    /// A credential held by Trunkline goes only where its virtual key declares.
    fn check_redirection(&self, leaf: &Leaf, reach: &Reach<'_>) -> Result<(), Fault> {
        if !self.is_held(leaf, reach) {
            return Ok(());
        }
        let inline = self.policy().inline;
        let inline_host = if inline { leaf.custom_host.as_ref() } else { None };
        for origin in self.custom_host.iter().chain(inline_host) {
            let allowed = reach.virtual_key.is_some_and(|(_, key)| key.may_go_to(origin));
            if !allowed {
                return Err(redirected("a custom host").at("x-portkey-custom-host"));
            }
        }
        if reach.virtual_key.is_none() && reach.filled {
            return Err(redirected("a provider named by the request").at("x-portkey-provider"));
        }
        let from_request = self.asked.options.provider_options.iter().filter(|_| reach.filled);
        let from_config = leaf.options.iter().filter(|_| inline);
        let mut names = from_request
            .map(|(name, _)| name.as_ref())
            .chain(from_config.map(|(name, _)| name.as_str()));
        match names.find(|name| REDIRECTING_OPTIONS.contains(name)) {
            Some(name) => Err(redirected(&format!("the request's `{name}`"))),
            None => Ok(()),
        }
    }
}

/// Where the policy comes from.
#[derive(Debug)]
pub enum PolicyRef<'a> {
    /// One target without a config: the request names a virtual key or a provider.
    Bare,
    /// A config of the file.
    Named(ConfigId, &'a Policy),
    /// A config that came with the request.
    Inline(Box<Policy>),
}

/// What the request gives to leaves that name no provider.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    VirtualKey(VirtualKeyId),
    Provider(&'static dyn Adapter),
}

/// Where a leaf leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    pub adapter: &'static dyn Adapter,
    pub virtual_key: Option<(VirtualKeyId, &'a VirtualKey)>,
    /// By the request, not by the config.
    pub filled: bool,
}

/// Visits every leaf and its mirror, in the order of the config, until one is refused.
pub(super) fn each_leaf(
    node: &Node,
    visit: &mut dyn FnMut(&Leaf) -> Result<(), Fault>,
) -> Result<(), Fault> {
    match &node.kind {
        NodeKind::Leaf(leaf) => {
            visit(leaf)?;
            leaf.mirror.as_ref().map_or(Ok(()), |mirror| visit(&mirror.leaf))
        }
        _ => node.children().iter().try_for_each(|child| each_leaf(child, visit)),
    }
}

/// A leading `@x/` counts only if x is a virtual key.
fn split_model<'a>(
    config: &Config,
    model: Option<&'a str>,
) -> (Option<VirtualKeyId>, Option<&'a str>) {
    let split = model.and_then(|model| model.strip_prefix('@')?.split_once('/'));
    match split.and_then(|(name, rest)| Some((*config.virtual_key_ids.get(name)?, rest))) {
        Some((id, rest)) => (Some(id), Some(rest)),
        None => (None, model),
    }
}

/// The virtual-key header, else the provider header. Both are checked wherever they are.
fn fill_of_headers(asked: &Asked<'_>, lookups: &Lookups<'_>) -> Result<Option<Fill>, Fault> {
    let ids = &asked.config.virtual_key_ids;
    let provider = match asked.options.provider {
        Some(text) => Some(
            match text.strip_prefix('@') {
                Some(name) => ids.get(name).copied().map(Fill::VirtualKey),
                None => (lookups.provider)(text).map(Fill::Provider),
            }
            .ok_or_else(|| refusal("Invalid provider passed").at("x-portkey-provider"))?,
        ),
        None => None,
    };
    let Some(name) = asked.options.virtual_key else { return Ok(provider) };
    let id = ids.get(name).ok_or_else(|| {
        refusal("the header `x-portkey-virtual-key` names no virtual key that is defined here")
            .at("x-portkey-virtual-key")
    })?;
    Ok(Some(Fill::VirtualKey(*id)))
}

/// A name, or JSON.
fn policy_of_header<'a>(
    asked: &Asked<'a>,
    text: &str,
    lookups: &Lookups<'_>,
) -> Result<(PolicyRef<'a>, Cow<'a, str>), Fault> {
    let permit = Permit::new(asked.config, asked.api_key());
    if let Some(id) = asked.config.config_ids.get(text) {
        permit.named_config(*id)?;
        return named(asked.config, *id);
    }
    if !text.starts_with('{') {
        return Err(refusal(NOT_JSON).at("x-portkey-config"));
    }
    permit.inline_config()?;
    if text.len() > limits::INLINE_CONFIG_BYTES_MAX {
        let message = format!(
            "the inline config is longer than {} bytes; define it in the file and name it",
            limits::INLINE_CONFIG_BYTES_MAX
        );
        return Err(refusal(message).at("x-portkey-config"));
    }
    let mut policy = (lookups.compile)(text)?;
    policy.inline = true; // the guards of held credentials hang on it
    let label = format!("inline:{}", hex::encode(policy.digest));
    Ok((PolicyRef::Inline(Box::new(policy)), Cow::Owned(label)))
}

fn named(config: &Config, id: ConfigId) -> Result<(PolicyRef<'_>, Cow<'_, str>), Fault> {
    let named = config.configs.get(id.0 as usize).ok_or_else(|| refusal(NO_TARGET))?;
    Ok((PolicyRef::Named(id, &named.policy), Cow::Borrowed(&named.name)))
}

fn redirected(by: &str) -> Fault {
    let message = format!(
        "{by} would send a credential held by the gateway to a host it was not declared for"
    );
    Fault::new(Stage::Plan, Source::Client, Kind::CredentialRedirected, message)
}

fn refusal(message: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, message)
}

impl fmt::Debug for Lookups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookups")
    }
}

/// One leaf that says nothing: the request fills it.
static BARE: LazyLock<Policy> = LazyLock::new(Policy::bare);

// Portkey's own words.
const NO_TARGET: &str = "Either x-portkey-config or x-portkey-provider header is required";
const NOT_JSON: &str = "Invalid config passed. You need to pass a valid json";
const NO_PROVIDER: &str = "Either x-portkey-provider needs to be passed. Or the x-portkey-config \
                           header should have a valid config with provider details in it.";

/// Options that choose a host, an account or another principal: the credential must not follow them.
const REDIRECTING_OPTIONS: [&str; 19] = [
    "aws-region",
    "aws-role-arn",
    "aws-s3-bucket",
    "azure-ad-token",
    "azure-auth-mode",
    "azure-endpoint-name",
    "azure-entra-scope",
    "azure-entra-tenant-id",
    "azure-foundry-url",
    "azure-resource-name",
    "fireworks-account-id",
    "huggingface-base-url",
    "oracle-region",
    "oracle-tenancy",
    "snowflake-account",
    "vertex-project-id",
    "vertex-region",
    "vertex-storage-bucket-name",
    "workers-ai-account-id",
];
