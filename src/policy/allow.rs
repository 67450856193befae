//! What an API key may use: its allow-lists over configs, virtual keys, providers and models.

use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::{ConfigId, VirtualKeyId},
    },
    config::{ApiKey, Config},
};

use super::glob;

/// The allow-lists of the caller; without an API key everything is allowed. Each list that is there must agree.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    config: &'a Config,
    api_key: Option<&'a ApiKey>,
}

impl<'a> Permit<'a> {
    /// What `api_key` may do.
    #[must_use]
    pub fn new(config: &'a Config, api_key: Option<&'a ApiKey>) -> Permit<'a> {
        Permit { config, api_key }
    }

    /// A config that the request names.
    pub fn named_config(&self, id: ConfigId) -> Result<(), Fault> {
        match self.api_key.and_then(|key| key.allow.configs.as_ref()) {
            Some(configs) if !configs.contains(&id) => Err(forbidden(format!(
                "this API key may not use the config `{}`",
                self.config.configs.get(id.0 as usize).map_or("", |named| named.name.as_str())
            ))),
            _ => Ok(()),
        }
    }

    /// A config that comes with the request: allowed unless named configs are listed, or as `inline` says.
    pub fn inline_config(&self) -> Result<(), Fault> {
        let allow = self.api_key.map(|key| &key.allow);
        if allow.is_none_or(|allow| allow.inline.unwrap_or(allow.configs.is_none())) {
            return Ok(());
        }
        Err(forbidden("this API key may not use inline configs; name one of its configs"))
    }

    /// Whether the operator vouched for what is inside this config: it is the key's own, or listed for it.
    #[must_use]
    pub fn vouches_for(&self, id: ConfigId) -> bool {
        self.api_key.is_some_and(|key| {
            key.config == Some(id)
                || key.allow.configs.as_ref().is_some_and(|configs| configs.contains(&id))
        })
    }

    /// A target: its virtual key, if it has one, and its provider.
    pub fn target(&self, virtual_key: Option<VirtualKeyId>, provider: &str) -> Result<(), Fault> {
        let Some(allow) = self.api_key.map(|key| &key.allow) else { return Ok(()) };
        if let (Some(allowed), Some(id)) = (&allow.virtual_keys, virtual_key)
            && !allowed.contains(&id)
        {
            let key = self.config.virtual_keys.get(id.0 as usize);
            let name = key.map_or("", |key| key.name.as_str());
            return Err(forbidden(format!("this API key may not use the virtual key `{name}`")));
        }
        if let Some(allowed) = &allow.providers
            && !allowed.iter().any(|name| name == provider)
        {
            return Err(forbidden(format!("this API key may not use the provider `{provider}`")));
        }
        Ok(())
    }

    /// A model that the caller chose.
    pub fn model(&self, model: &str) -> Result<(), Fault> {
        match self.api_key.and_then(|key| key.allow.models.as_ref()) {
            Some(globs) if !glob::any_matches(globs, model) => {
                let message = format!("this API key may not use the model `{}`", excerpt(model));
                Err(forbidden(message).at("model"))
            }
            _ => Ok(()),
        }
    }

    /// A model that an inline config drops or sets to what is no string, so that no list can be asked.
    pub fn odd_model(&self) -> Result<(), Fault> {
        if self.api_key.is_none_or(|key| key.allow.models.is_none()) {
            return Ok(());
        }
        Err(forbidden("the config drops `model` or sets it to what is no string").at("model"))
    }

    /// Whether there is nothing to check inside a config.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.api_key.is_none_or(|key| {
            let allow = &key.allow;
            allow.virtual_keys.is_none() && allow.providers.is_none() && allow.models.is_none()
        })
    }
}

/// At most 128 characters of a caller's text, for a message.
pub(super) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

fn forbidden(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::Forbidden, message)
}
