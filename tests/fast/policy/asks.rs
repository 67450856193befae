//! Requests that ask for a target, and the configuration that they are asked of.

use std::borrow::Cow;

use trunkline::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::{ApiKeyId, VirtualKeyId},
        secret::Secret,
    },
    config::{
        Allow, Config, Origin,
        policy::{Leaf, Policy},
    },
    policy::{
        condition::Facts,
        key::{Caller, Credential},
        plan::plan,
        request_headers::RequestOptions,
        resolve::ResolvedTarget,
        target::{Asked, Choice, Lookups, choose},
    },
    provider::Adapter,
};

use super::make::{
    ANTHROPIC, OPENAI, add_api_key, add_config, add_virtual_key, config, fallback, leaf, origin,
    policy, provider, target,
};

/// One request: what it says, and who sends it.
#[derive(Clone, Default)]
pub struct Ask {
    pub options: RequestOptions<'static>,
    pub model: Option<&'static str>,
    pub api_key: Option<ApiKeyId>,
    pub own: Option<&'static str>,
}

impl Ask {
    pub fn new() -> Ask {
        Ask { api_key: Some(ApiKeyId(0)), ..Ask::default() }
    }
    pub fn config(mut self, text: &'static str) -> Ask {
        self.options.config = Some(text);
        self
    }
    pub fn virtual_key(mut self, name: &'static str) -> Ask {
        self.options.virtual_key = Some(name);
        self
    }
    pub fn provider(mut self, name: &'static str) -> Ask {
        self.options.provider = Some(name);
        self
    }
    pub fn host(mut self, host: &'static str) -> Ask {
        self.options.custom_host = Some(host);
        self
    }
    pub fn option(mut self, name: &'static str, value: &'static str) -> Ask {
        self.options.provider_options.push((Cow::Borrowed(name), value));
        self
    }
    pub fn model(mut self, model: &'static str) -> Ask {
        self.model = Some(model);
        self
    }
    pub fn own(mut self, credential: &'static str) -> Ask {
        self.own = Some(credential);
        self
    }

    /// Chooses, and hands the choice to `read`.
    pub fn choose<T>(
        &self,
        config: &Config,
        read: impl FnOnce(&Choice<'_>) -> T,
    ) -> Result<T, Fault> {
        let mut caller = Caller::default();
        caller.api_key = self.api_key;
        caller.own_credential = self.own.map(Credential::new);
        let asked = Asked { config, caller: &caller, options: &self.options, model: self.model };
        let lookups = Lookups { provider: &provider, compile: &compile, host: &host };
        choose(asked, &lookups).map(|choice| read(&choice))
    }

    /// All targets of the choice, resolved, in the order of the plan.
    pub fn targets<T>(
        &self,
        config: &Config,
        read: impl Fn(Result<ResolvedTarget<'_>, Fault>) -> T,
    ) -> Vec<T> {
        let result = self.choose(config, |choice| {
            let plan = plan(choice.policy(), 1, &Facts::default());
            plan.leaves().map(|leaf| read(choice.resolve(leaf.leaf))).collect()
        });
        result.unwrap()
    }

    /// `provider|virtual key|credential|host` of the first target.
    pub fn first(&self, config: &Config) -> String {
        self.targets(config, |target| {
            target.map_or_else(|fault| fault.message.into(), |it| line(&it))
        })
        .remove(0)
    }

    pub fn refused(&self, config: &Config) -> Fault {
        self.choose(config, |_| ()).unwrap_err()
    }
}

pub fn line(target: &ResolvedTarget<'_>) -> String {
    format!(
        "{}|{}|{}|{}",
        target.adapter.name(),
        target.virtual_key.map_or("-".into(), |VirtualKeyId(id)| id.to_string()),
        target.credential.map_or("-", Credential::reveal),
        target.origin.authority,
    )
}

/// Stands in for the compiler of inline configs: a few texts it knows.
pub fn compile(text: &str) -> Result<Policy, Fault> {
    let model = |model: &str| vec![("model".to_owned(), model.to_owned())];
    let root = match text {
        "{}" => target(),
        "{model}" => leaf(Leaf { override_params: model("\"gpt-\\u0034o\""), ..on(&OPENAI) }),
        "{odd model}" => leaf(Leaf { override_params: model("7"), ..on(&OPENAI) }),
        "{vk 0}" => leaf(with_key(0)),
        "{vk 0 host}" => {
            leaf(Leaf { custom_host: Some(origin("evil.example", 443)), ..with_key(0) })
        }
        "{vk 0 region}" => {
            leaf(Leaf { options: vec![("aws-region".into(), "eu-west-1".into())], ..with_key(0) })
        }
        "{own key}" => leaf(keyed(Some(&OPENAI), "sk-inline")),
        "{two providers}" => fallback(vec![leaf(on(&OPENAI)), leaf(on(&ANTHROPIC))]),
        _ => return Err(Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, "no such text")),
    };
    Ok(policy(root))
}

pub fn host(text: &str) -> Result<Origin, Fault> {
    match text {
        "bad" => {
            Err(Fault::new(Stage::Plan, Source::Client, Kind::HostRefused, "Invalid custom host"))
        }
        text => Ok(origin(text, 8443)),
    }
}

pub fn on(adapter: &'static dyn Adapter) -> Leaf {
    Leaf { provider: Some(adapter), ..Leaf::default() }
}

pub fn with_key(id: u32) -> Leaf {
    Leaf { virtual_key: Some(VirtualKeyId(id)), ..Leaf::default() }
}

pub fn keyed(adapter: Option<&'static dyn Adapter>, key: &str) -> Leaf {
    Leaf { provider: adapter, api_key: Some(Secret::new(key.into())), ..Leaf::default() }
}

/// Virtual keys 0 `openai-prod` and 1 `claude`; configs 0 `support` (both keys) and 1 `bare` (no provider);
/// one API key that may do anything.
pub fn setup() -> Config {
    let mut config = config();
    add_virtual_key(&mut config, "openai-prod", &OPENAI, origin("openai.example", 443));
    add_virtual_key(&mut config, "claude", &ANTHROPIC, origin("claude.example", 443));
    let support = fallback(vec![leaf(with_key(0)), leaf(with_key(1))]);
    add_config(&mut config, "support", policy(support));
    add_config(&mut config, "bare", policy(target()));
    add_api_key(&mut config, "tl-a");
    config
}

pub fn allowing(allow: Allow) -> Config {
    let mut config = setup();
    config.api_keys[0].allow = allow;
    config
}

pub const PROD: &str = "openai|0|secret-of-openai-prod|openai.example:443";
pub const CLAUDE: &str = "anthropic|1|secret-of-claude|claude.example:443";
pub const NO_TARGET: &str = "Either x-portkey-config or x-portkey-provider header is required";
