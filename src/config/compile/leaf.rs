//! Compiles one target: who answers it, with which credential, at which host, so that the leaf stands on its own
//! and no request can lead a held credential astray.

use crate::{
    base::{ids::VirtualKeyId, limits, secret::Secret},
    config::{
        VirtualKey,
        hosts::{self, INVALID_CUSTOM_HOST},
        policy::{Leaf, NodeKind},
        providers::{provider_by_name, provider_names},
        report::{Spot, did_you_mean, wrong},
        tree::{Tree, Value},
    },
    provider::Adapter,
};

use super::{
    Known,
    handed::{Handed, Host},
    keys::{self, Kind, Setting},
    node::Compiler,
};

impl<'k> Compiler<'k, '_> {
    /// Compiles a target with everything that its ancestors handed down.
    pub fn leaf(&mut self, spot: &Spot<'_>, path: &str, handed: &Handed) -> Option<NodeKind> {
        self.count(spot, handed)?;
        self.refuse_affinity(spot);
        if !handed.chosen {
            self.warn_of_idle_health(spot, "there is no other target to take instead");
        }
        let before = self.report.mistakes.len();
        let provider_spot = self.field(spot, "provider");
        let provider_text = provider_spot.as_ref().and_then(|s| self.string(s, "a provider"));
        let key = self.virtual_key(spot, handed, provider_spot.as_ref(), provider_text);
        let named = provider_text.filter(|name| !name.starts_with('@')).zip(provider_spot.as_ref());
        let named = named.and_then(|(name, at)| self.provider(at, name));
        if let (Some((_, key)), Some(named), Some(at)) = (key, named, provider_spot.as_ref())
            && key.provider.name() != named.name()
        {
            self.report.mistake(
                at,
                format!("the virtual key {:?} is for {}", key.name, key.provider.name()),
            );
        }
        let api_key = self.api_key(spot, key.is_some());
        let provider = key.map(|(_, key)| key.provider).or(named);
        let options = self.options(spot, key.map(|(_, key)| key));
        let (custom_host, host_trusted) =
            self.host(spot, handed, key.map(|(_, key)| key), provider);
        (self.report.mistakes.len() == before).then_some(())?;
        let mut leaf = Leaf {
            virtual_key: key.map(|(id, _)| id),
            provider,
            api_key,
            custom_host,
            host_trusted,
            override_params: handed.override_params.clone(),
            default_params: handed.default_params.clone(),
            drop_params: handed.drop_params.clone(),
            forward_headers: handed.forward_headers.clone().unwrap_or_default(),
            retry: handed.retry.clone().unwrap_or_default(),
            request_timeout: handed.request_timeout,
            timeouts: handed.timeouts,
            strict: handed.strict,
            options,
            parts: handed.parts.clone(),
            watch: None,
            mirror: handed.mirror.clone(),
            guardrails: handed.guardrails.of_leaf(),
        };
        leaf.watch = self.watch(&leaf, key.map(|(_, key)| key), path, handed);
        Some(NodeKind::Leaf(Box::new(leaf)))
    }

    /// Bounds the number of targets, and what they hold.
    fn count(&mut self, spot: &Spot<'_>, handed: &Handed) -> Option<()> {
        self.leaves += 1;
        let params = handed.override_params.iter().chain(&handed.default_params);
        let params: usize = params.map(|(name, raw)| name.len() + raw.len()).sum();
        let dropped: usize = handed.drop_params.iter().map(|path| path.field.len()).sum();
        let before = self.override_bytes;
        self.override_bytes += params + dropped;
        let most = limits::INLINE_OVERRIDE_BYTES_MAX;
        if self.inline && before <= most && self.override_bytes > most {
            self.report.mistake(spot, "override_params of all targets together are too large");
        }
        match self.leaves {
            ..=limits::POLICY_LEAVES_MAX => {}
            n if n == limits::POLICY_LEAVES_MAX + 1 => {
                let most = limits::POLICY_LEAVES_MAX;
                self.report.mistake(spot, format!("a config has at most {most} targets"));
                return None;
            }
            _ => return None,
        }
        (!self.inline || self.override_bytes <= most).then_some(())
    }

    /// The virtual key: named by `virtual_key`, by `provider: "@name"`, or by `override_params.model`.
    fn virtual_key(
        &mut self,
        spot: &Spot<'_>,
        handed: &Handed,
        provider_spot: Option<&Spot<'_>>,
        provider: Option<&str>,
    ) -> Option<(VirtualKeyId, &'k VirtualKey)> {
        let by_field = self.field(spot, "virtual_key");
        let field_name = by_field.as_ref().and_then(|at| self.string(at, "a virtual key's name"));
        let field_key = by_field
            .as_ref()
            .zip(field_name)
            .and_then(|(at, name)| self.known_key(at, name.strip_prefix('@').unwrap_or(name)));
        let provider_key = provider_spot
            .zip(provider.and_then(|name| name.strip_prefix('@')))
            .and_then(|(at, name)| self.known_key(at, name));
        let model_key = handed.model_key.as_deref().and_then(|name| self.known.virtual_key(name));
        let chosen = field_key.or(provider_key).or(model_key)?;
        if [field_key, provider_key, model_key].into_iter().flatten().any(|k| k.0 != chosen.0) {
            let message = "virtual_key, provider and override_params.model name different virtual \
                           keys; name one";
            self.report.mistake(spot, message);
        }
        Some(chosen)
    }

    fn known_key(&mut self, at: &Spot<'_>, name: &str) -> Option<(VirtualKeyId, &'k VirtualKey)> {
        let found = self.known.virtual_key(name);
        if found.is_none() {
            // A request is not told which names there are.
            let hint = match self.inline {
                true => String::new(),
                false => did_you_mean(name, self.known.virtual_key_ids.keys().map(String::as_str)),
            };
            let message = format!("there is no virtual key {}{hint}", at.tree.shown());
            self.report.mistake(at, message);
        }
        found
    }

    fn provider(&mut self, at: &Spot<'_>, name: &str) -> Option<&'static dyn Adapter> {
        let found = provider_by_name(name);
        if found.is_none() {
            let all = provider_names().collect::<Vec<_>>().join(", ");
            let wire = format!("Invalid 'provider' value. Must be one of: {all}");
            let hint = did_you_mean(name, provider_names());
            self.report.both(at, &wire, format!("there is no provider {}{hint}", at.tree.shown()));
        }
        found
    }

    fn api_key(&mut self, spot: &Spot<'_>, beside_virtual_key: bool) -> Option<Secret> {
        let at = self.field(spot, "api_key")?;
        let text = self.secret(&at)?;
        if beside_virtual_key {
            self.report.mistake(&at, "stands beside a virtual key, which has its own; keep one");
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            self.report.mistake(&at, "is empty or holds what no header may carry");
            return None;
        }
        Some(Secret::new(text.to_owned()))
    }

    /// Where the target goes, and whether addresses there are exempt from the guard.
    fn host(
        &mut self,
        spot: &Spot<'_>,
        handed: &Handed,
        key: Option<&VirtualKey>,
        provider: Option<&'static dyn Adapter>,
    ) -> (Option<crate::config::Origin>, bool) {
        let Some(Host { origin, checked, trusted }) = handed.custom_host.clone() else {
            self.own_base(spot, key, provider);
            return (None, !self.inline);
        };
        match key {
            Some(key) if self.inline && !key.may_go_to(&origin) => {
                self.redirect(spot, "custom_host");
                (None, false)
            }
            Some(_) => (Some(origin), true),
            None if !checked => {
                self.report.both(spot, INVALID_CUSTOM_HOST, INVALID_CUSTOM_HOST.to_owned());
                (None, false)
            }
            None => (Some(origin), trusted),
        }
    }

    /// Without a custom host the provider's own base URL must be there, and a request may not reach a server in
    /// the operator's house by its provider's name either.
    fn own_base(
        &mut self,
        spot: &Spot<'_>,
        key: Option<&VirtualKey>,
        provider: Option<&'static dyn Adapter>,
    ) {
        let (None, Some(provider)) = (key, provider) else { return };
        match provider.base_url() {
            None if !self.inline => {
                let advice = "this provider has no address of its own; write e.g. https://host/v1";
                self.report.missing(spot, "custom_host", advice);
            }
            Some(base) if self.inline && base.starts_with("http://") => {
                let (rules, open) = (self.known.custom_hosts, self.known.open_on_loopback);
                if hosts::check_custom_host(base, rules, open).is_err() {
                    self.report.both(spot, INVALID_CUSTOM_HOST, INVALID_CUSTOM_HOST.to_owned());
                }
            }
            None | Some(_) => {}
        }
    }

    fn redirect(&mut self, spot: &Spot<'_>, key: &str) {
        let path = spot.wire_path();
        self.redirected.get_or_insert_with(|| {
            format!(
                "a virtual key's credential goes only to the host that the virtual key declares: \
                 {key} of target [{path}] is not allowed"
            )
        });
    }

    /// Settings of the provider, as the headers they stand for.
    fn options(&mut self, spot: &Spot<'_>, key: Option<&VirtualKey>) -> Vec<(String, String)> {
        let mut options = Vec::new();
        for entry in spot.entries() {
            let Some(setting) = keys::setting(entry.name()) else { continue };
            if matches!(entry.tree.value, Value::Null) && !self.inline {
                continue;
            }
            if self.inline && key.is_some() && setting.kind != Kind::Plain {
                self.redirect(spot, setting.key);
                continue;
            }
            if !setting.honoured && !self.inline {
                self.report.warning(&entry, "no effect in this version: no provider reads it");
            }
            if let Some(value) = self.option(&entry, setting) {
                options.push((setting.header.to_owned(), value));
            }
        }
        options
    }

    fn option(&mut self, entry: &Spot<'_>, setting: &Setting) -> Option<String> {
        let value = match &entry.tree.value {
            Value::Map(_) if setting.key == "vertex_service_account_json" => {
                entry.tree.to_json().to_string()
            }
            _ if setting.kind == Kind::Secret => self.secret(entry)?.to_owned(),
            _ => self.string(entry, "text; put it in quotes")?.to_owned(),
        };
        match self.wrong_option(setting.kind, &value, entry.tree) {
            Some(message) => {
                self.report.mistake(entry, message);
                None
            }
            None => Some(value),
        }
    }

    fn wrong_option(&self, kind: Kind, value: &str, tree: &Tree) -> Option<String> {
        let host_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match kind {
            _ if value.chars().any(char::is_control) => {
                Some("holds a control character; no header may carry it".to_owned())
            }
            Kind::HostPart if value.is_empty() || !value.bytes().all(host_part) => Some(wrong(
                "a part of a host name: lower-case letters, digits and hyphens",
                &tree.shown(),
            )),
            Kind::Url => {
                let (rules, open) = (self.known.custom_hosts, self.known.open_on_loopback);
                let result = match self.inline {
                    true => hosts::check_custom_host(value, rules, open).map_err(|e| e.reason),
                    false => hosts::parse_origin(value),
                };
                result.err().map(str::to_owned)
            }
            Kind::Plain | Kind::Account | Kind::HostPart | Kind::Secret => None,
        }
    }
}

/// Splits `@name/model` if `name` is a virtual key: otherwise it is some provider's own way to name models.
pub fn virtual_key_of_model<'t>(model: &Spot<'t>, known: Known<'_>) -> Option<(&'t str, &'t str)> {
    let Value::Text(text) = &model.tree.value else { return None };
    let (name, rest) = text.strip_prefix('@')?.split_once('/')?;
    known.virtual_key(name).map(|_| (name, rest))
}
