//! Which target: precedence, allow-lists, credentials and the guard against their redirection.

use std::{borrow::Cow, time::Duration};

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
    ANTHROPIC, HOUSE, OPENAI, add_api_key, add_config, add_virtual_key, balance, config, fallback,
    leaf, origin, policy, provider, target,
};

/// One request: what it says, and who sends it.
#[derive(Clone, Default)]
struct Ask {
    options: RequestOptions<'static>,
    model: Option<&'static str>,
    api_key: Option<ApiKeyId>,
    own: Option<&'static str>,
}

impl Ask {
    fn new() -> Ask {
        Ask { api_key: Some(ApiKeyId(0)), ..Ask::default() }
    }
    fn config(mut self, text: &'static str) -> Ask {
        self.options.config = Some(text);
        self
    }
    fn virtual_key(mut self, name: &'static str) -> Ask {
        self.options.virtual_key = Some(name);
        self
    }
    fn provider(mut self, name: &'static str) -> Ask {
        self.options.provider = Some(name);
        self
    }
    fn host(mut self, host: &'static str) -> Ask {
        self.options.custom_host = Some(host);
        self
    }
    fn option(mut self, name: &'static str, value: &'static str) -> Ask {
        self.options.provider_options.push((Cow::Borrowed(name), value));
        self
    }
    fn model(mut self, model: &'static str) -> Ask {
        self.model = Some(model);
        self
    }
    fn own(mut self, credential: &'static str) -> Ask {
        self.own = Some(credential);
        self
    }

    /// Chooses, and hands the choice to `read`.
    fn choose<T>(&self, config: &Config, read: impl FnOnce(&Choice<'_>) -> T) -> Result<T, Fault> {
        let mut caller = Caller::default();
        caller.api_key = self.api_key;
        caller.own_credential = self.own.map(Credential::new);
        let asked = Asked { config, caller: &caller, options: &self.options, model: self.model };
        let lookups = Lookups { provider: &provider, compile: &compile, host: &host };
        choose(asked, &lookups).map(|choice| read(&choice))
    }

    /// All targets of the choice, resolved, in the order of the plan.
    fn targets<T>(
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
    fn first(&self, config: &Config) -> String {
        self.targets(config, |target| {
            target.map_or_else(|fault| fault.message.into(), |it| line(&it))
        })
        .remove(0)
    }

    fn refused(&self, config: &Config) -> Fault {
        self.choose(config, |_| ()).unwrap_err()
    }
}

fn line(target: &ResolvedTarget<'_>) -> String {
    format!(
        "{}|{}|{}|{}",
        target.adapter.name(),
        target.virtual_key.map_or("-".into(), |VirtualKeyId(id)| id.to_string()),
        target.credential.map_or("-", Credential::reveal),
        target.origin.authority,
    )
}

/// Stands in for the compiler of inline configs: a few texts it knows.
fn compile(text: &str) -> Result<Policy, Fault> {
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

fn host(text: &str) -> Result<Origin, Fault> {
    match text {
        "bad" => {
            Err(Fault::new(Stage::Plan, Source::Client, Kind::HostRefused, "Invalid custom host"))
        }
        text => Ok(origin(text, 8443)),
    }
}

fn on(adapter: &'static dyn Adapter) -> Leaf {
    Leaf { provider: Some(adapter), ..Leaf::default() }
}

fn with_key(id: u32) -> Leaf {
    Leaf { virtual_key: Some(VirtualKeyId(id)), ..Leaf::default() }
}

fn keyed(adapter: Option<&'static dyn Adapter>, key: &str) -> Leaf {
    Leaf { provider: adapter, api_key: Some(Secret::new(key.into())), ..Leaf::default() }
}

/// Virtual keys 0 `openai-prod` and 1 `claude`; configs 0 `support` (both keys) and 1 `bare` (no provider);
/// one API key that may do anything.
fn setup() -> Config {
    let mut config = config();
    add_virtual_key(&mut config, "openai-prod", &OPENAI, origin("openai.example", 443));
    add_virtual_key(&mut config, "claude", &ANTHROPIC, origin("claude.example", 443));
    let support = fallback(vec![leaf(with_key(0)), leaf(with_key(1))]);
    add_config(&mut config, "support", policy(support));
    add_config(&mut config, "bare", policy(target()));
    add_api_key(&mut config, "tl-a");
    config
}

fn allowing(allow: Allow) -> Config {
    let mut config = setup();
    config.api_keys[0].allow = allow;
    config
}

const PROD: &str = "openai|0|secret-of-openai-prod|openai.example:443";
const CLAUDE: &str = "anthropic|1|secret-of-claude|claude.example:443";
const NO_TARGET: &str = "Either x-portkey-config or x-portkey-provider header is required";

// -- precedence --

#[test]
fn the_config_header_comes_first() {
    let mut config = setup();
    config.api_keys[0].config = config.config_ids.get("bare").copied();
    let ask = Ask::new()
        .config("support")
        .virtual_key("claude")
        .provider("anthropic")
        .model("@claude/claude-sonnet-4-5");
    assert_eq!(ask.first(&config), PROD);
    let label = ask.choose(&config, |choice| choice.config_label.to_string());
    assert_eq!(label.unwrap(), "support");
}

#[test]
fn then_the_virtual_key_header_then_the_provider_header_then_the_model() {
    let mut config = setup();
    config.api_keys[0].config = config.config_ids.get("support").copied();
    let model = Ask::new().own("sk-own").model("@openai-prod/gpt-4o");
    assert_eq!(model.first(&config), PROD);
    let provider = model.clone().provider("anthropic");
    assert_eq!(provider.first(&config), "anthropic|-|sk-own|api.anthropic.com:8443");
    let virtual_key = provider.clone().virtual_key("claude");
    assert_eq!(virtual_key.first(&config), CLAUDE);
    let label = virtual_key.choose(&config, |choice| choice.config_label.to_string());
    assert_eq!(label.unwrap(), "");
}

#[test]
fn last_the_api_keys_own_config() {
    let mut config = setup();
    config.api_keys[0].config = config.config_ids.get("support").copied();
    let ask = Ask::new().model("gpt-4o");
    let all = ask.targets(&config, |target| line(&target.unwrap()));
    assert_eq!(all, [PROD, CLAUDE]);
}

#[test]
fn without_any_of_them_it_is_a_400_in_portkeys_words() {
    let fault = Ask::new().model("gpt-4o").host("bad").refused(&setup());
    assert_eq!((fault.kind, fault.message.as_ref()), (Kind::BadConfig, NO_TARGET));
}

#[test]
fn the_provider_header_may_name_a_virtual_key() {
    assert_eq!(Ask::new().provider("@claude").first(&setup()), CLAUDE);
}

#[test]
fn an_unknown_provider_is_a_400_in_portkeys_words() {
    for name in ["nobody", "@nobody", "OpenAI", "@"] {
        for ask in [Ask::new(), Ask::new().config("support")] {
            let fault = ask.provider(name).refused(&setup());
            assert_eq!(
                (fault.kind, fault.message.as_ref()),
                (Kind::BadConfig, "Invalid provider passed")
            );
        }
    }
}

#[test]
fn an_unknown_virtual_key_is_a_400() {
    let fault = Ask::new().virtual_key("nobody").refused(&setup());
    assert_eq!(fault.kind, Kind::BadConfig);
    assert_eq!(fault.param.as_deref(), Some("x-portkey-virtual-key"));
}

#[test]
fn a_model_prefix_counts_only_if_it_is_a_virtual_key() {
    let config = setup();
    let models = |ask: Ask| {
        let read = |choice: &Choice<'_>| {
            (choice.model.map(str::to_owned), choice.rewritten_model.map(str::to_owned))
        };
        ask.choose(&config, read).unwrap()
    };
    let own = |text: &str| Some(text.to_owned());
    let provider = || Ask::new().provider("ollama");
    let cf = "@cf/meta/llama-3";
    assert_eq!(models(provider().model(cf)), (own(cf), None));
    assert_eq!(models(provider().model("gpt-4o")), (own("gpt-4o"), None));
    assert_eq!(models(provider()), (None, None));
    let prefixed = models(Ask::new().model("@claude/org/model"));
    assert_eq!(prefixed, (own("org/model"), own("org/model")));
    assert_eq!(Ask::new().model(cf).refused(&config).message, NO_TARGET);
    assert_eq!(Ask::new().model("@claude").refused(&config).message, NO_TARGET);
}

// -- configs --

#[test]
fn a_header_fills_only_leaves_that_name_no_provider() {
    let mut config = setup();
    let mixed = fallback(vec![target(), leaf(with_key(1))]);
    add_config(&mut config, "mixed", policy(mixed));
    let lines = |ask: Ask| ask.targets(&config, |target| line(&target.unwrap()));
    let mixed = || Ask::new().config("mixed");
    assert_eq!(lines(mixed().virtual_key("openai-prod")), [PROD, CLAUDE]);
    assert_eq!(lines(mixed().provider("@openai-prod")), [PROD, CLAUDE]);
    assert_eq!(lines(mixed().model("@openai-prod/gpt-4o")), [PROD, CLAUDE]);
    assert_eq!(
        lines(mixed().provider("openai").own("sk-own")),
        ["openai|-|sk-own|api.openai.com", CLAUDE]
    );
}

#[test]
fn a_leaf_without_a_provider_is_a_400_in_portkeys_words() {
    for ask in [Ask::new().config("bare"), Ask::new().config("{}")] {
        assert_eq!(
            ask.refused(&setup()).message,
            "Either x-portkey-provider needs to be passed. Or the x-portkey-config header should \
             have a valid config with provider details in it."
        );
    }
}

#[test]
fn a_config_that_is_neither_a_name_nor_json_is_a_400_in_portkeys_words() {
    let fault = Ask::new().config("pc-unknown").refused(&setup());
    assert_eq!(fault.message, "Invalid config passed. You need to pass a valid json");
}

#[test]
fn an_inline_config_is_labelled_by_its_digest() {
    let read = |choice: &Choice<'_>| (choice.config_label.to_string(), choice.policy().inline);
    let (label, inline) = Ask::new().config("{own key}").choose(&setup(), read).unwrap();
    assert_eq!((label, inline), (format!("inline:{}", "07".repeat(32)), true));
}

#[test]
fn an_inline_config_is_bounded() {
    let long = |length: usize| &*format!("{{{}", " ".repeat(length - 1)).leak();
    assert_eq!(Ask::new().config(long(32 * 1024)).refused(&setup()).message, "no such text");
    let fault = Ask::new().config(long(32 * 1024 + 1)).refused(&setup());
    assert!(fault.message.starts_with("the inline config is longer"), "{}", fault.message);
}

// -- allow-lists --

#[test]
fn listed_configs_are_the_only_ones_and_turn_inline_off() {
    let support = setup().config_ids["support"];
    let only =
        |inline| allowing(Allow { configs: Some(vec![support]), inline, ..Allow::default() });
    assert_eq!(Ask::new().config("support").first(&only(None)), PROD);
    let bare = Ask::new().config("bare").provider("ollama");
    assert_eq!(bare.refused(&only(None)).kind, Kind::Forbidden);
    let inline = Ask::new().config("{own key}");
    assert_eq!(inline.refused(&only(None)).kind, Kind::Forbidden);
    assert!(inline.choose(&only(Some(true)), |_| ()).is_ok());
    let never = allowing(Allow { inline: Some(false), ..Allow::default() });
    assert_eq!(inline.refused(&never).kind, Kind::Forbidden);
    assert!(inline.choose(&setup(), |_| ()).is_ok());
}

#[test]
fn the_api_keys_own_config_needs_no_listing() {
    let mut config = allowing(Allow {
        configs: Some(vec![]),
        virtual_keys: Some(vec![]),
        providers: Some(vec![]),
        ..Allow::default()
    });
    config.api_keys[0].config = config.config_ids.get("support").copied();
    assert_eq!(Ask::new().first(&config), PROD);
}

#[test]
fn what_a_request_fills_into_a_listed_config_is_still_checked() {
    let bare = setup().config_ids["bare"];
    let config = allowing(Allow {
        configs: Some(vec![bare]),
        virtual_keys: Some(vec![VirtualKeyId(1)]),
        ..Allow::default()
    });
    let ask = Ask::new().config("bare");
    assert_eq!(ask.clone().virtual_key("claude").first(&config), CLAUDE);
    assert_eq!(ask.virtual_key("openai-prod").refused(&config).kind, Kind::Forbidden);
}

#[test]
fn listed_virtual_keys_are_the_only_ones_however_they_are_named() {
    let config = allowing(Allow { virtual_keys: Some(vec![VirtualKeyId(1)]), ..Allow::default() });
    assert_eq!(Ask::new().virtual_key("claude").first(&config), CLAUDE);
    for ask in [
        Ask::new().virtual_key("openai-prod"),
        Ask::new().provider("@openai-prod"),
        Ask::new().model("@openai-prod/gpt-4o"),
        Ask::new().config("{vk 0}"),
        Ask::new().config("support"),
        Ask::new().config("bare").virtual_key("openai-prod"),
    ] {
        let fault = ask.refused(&config);
        assert_eq!(fault.message, "this API key may not use the virtual key `openai-prod`");
        assert_eq!(fault.kind, Kind::Forbidden);
    }
}

#[test]
fn listed_providers_are_the_only_ones() {
    let config = allowing(Allow { providers: Some(vec!["anthropic".into()]), ..Allow::default() });
    assert_eq!(Ask::new().virtual_key("claude").first(&config), CLAUDE);
    for ask in [
        Ask::new().provider("openai").own("sk"),
        Ask::new().virtual_key("openai-prod"),
        Ask::new().config("{own key}"),
    ] {
        let fault = ask.refused(&config);
        assert_eq!(fault.message, "this API key may not use the provider `openai`");
    }
}

#[test]
fn listed_models_hold_for_the_requested_model() {
    let config = allowing(Allow { models: Some(vec!["gpt-4o*".into()]), ..Allow::default() });
    for ask in [Ask::new().virtual_key("openai-prod"), Ask::new().config("support")] {
        assert!(ask.clone().model("gpt-4o-mini").choose(&config, |_| ()).is_ok());
        assert!(ask.choose(&config, |_| ()).is_ok(), "no model asked for");
        let fault = ask.model("gpt-5").refused(&config);
        assert_eq!((fault.kind, fault.param.as_deref()), (Kind::Forbidden, Some("model")));
    }
    assert!(Ask::new().model("@openai-prod/gpt-4o").choose(&config, |_| ()).is_ok());
    assert!(Ask::new().model("@openai-prod/o3").choose(&config, |_| ()).is_err());
}

#[test]
fn listed_models_hold_for_what_an_inline_config_sets_and_the_operators_own_is_trusted() {
    let mut config = allowing(Allow { models: Some(vec!["o3".into()]), ..Allow::default() });
    let fault = Ask::new().config("{model}").model("o3").refused(&config);
    assert_eq!(fault.message, "this API key may not use the model `gpt-4o`");
    assert_eq!(Ask::new().config("{odd model}").refused(&config).kind, Kind::Forbidden);
    let overridden =
        Leaf { override_params: vec![("model".into(), "\"gpt-4o\"".into())], ..with_key(0) };
    add_config(&mut config, "trusted", policy(leaf(overridden)));
    let ask = Ask::new().config("trusted").model("o3");
    let models = ask.targets(&config, |target| target.unwrap().model.unwrap().into_owned());
    assert_eq!(models, ["gpt-4o"]);
}

#[test]
fn a_long_model_name_is_cut_in_messages() {
    let config = allowing(Allow { models: Some(vec![]), ..Allow::default() });
    let ask = Ask::new().virtual_key("claude").model("m".repeat(100_000).leak());
    assert!(ask.refused(&config).message.len() < 200);
}

// -- credentials --

#[test]
fn bring_your_own_key_goes_to_the_provider_named() {
    let ask = Ask::new().provider("openai").own("sk-own");
    assert_eq!(ask.first(&setup()), "openai|-|sk-own|api.openai.com");
    let prefix = |target: Result<ResolvedTarget<'_>, Fault>| {
        let origin = target.unwrap().origin.into_owned();
        (origin.tls, origin.host, origin.port, origin.path)
    };
    let openai = (true, "api.openai.com".to_owned(), 443, "/v1".to_owned());
    assert_eq!(ask.targets(&setup(), prefix), [openai]);
    let ask = Ask::new().provider("ollama");
    let ollama = (false, "localhost".to_owned(), 11434, String::new());
    assert_eq!(ask.targets(&setup(), prefix), [ollama]);
}

#[test]
fn no_provider_credential_is_a_401() {
    let kinds = Ask::new().provider("openai").targets(&setup(), |target| {
        let fault = target.unwrap_err();
        (fault.stage, fault.kind, fault.message.starts_with("no provider credential"))
    });
    assert_eq!(kinds, [(Stage::Auth, Kind::NoCredential, true)]);
    assert_eq!(Ask::new().provider("ollama").first(&setup()), "ollama|-|-|localhost:11434");
}

#[test]
fn a_virtual_key_never_uses_the_callers_credential() {
    assert_eq!(Ask::new().virtual_key("claude").own("sk-own").first(&setup()), CLAUDE);
    let mut config = setup();
    config.virtual_keys[0].credential = None;
    let ask = Ask::new().virtual_key("openai-prod").own("sk-own");
    assert_eq!(ask.first(&config), "openai|0|-|openai.example:443");
}

#[test]
fn the_callers_credential_never_goes_to_two_providers() {
    let ask = Ask::new().config("{two providers}").own("sk-own");
    let kinds = ask.targets(&setup(), |target| target.unwrap_err().kind);
    assert_eq!(kinds, [Kind::NoCredential, Kind::NoCredential]);
    let mut config = setup();
    let one = balance(vec![(1.0, leaf(on(&OPENAI))), (0.0, leaf(on(&OPENAI)))]);
    add_config(&mut config, "one", policy(one));
    let ask = Ask::new().config("one").own("sk-own");
    assert_eq!(ask.first(&config), "openai|-|sk-own|api.openai.com");
}

#[test]
fn a_configs_own_key_is_used_before_the_callers() {
    let ask = Ask::new().config("{own key}").own("sk-own");
    assert_eq!(ask.first(&setup()), "openai|-|sk-inline|api.openai.com");
}

#[test]
fn debug_print_hides_credentials() {
    let ask = Ask::new().config("support").own("sk-own");
    let print = ask.choose(&setup(), |choice| {
        let plan = plan(choice.policy(), 1, &Facts::default());
        format!("{choice:?} {:?}", choice.resolve(plan.leaves().next().unwrap().leaf))
    });
    let print = print.unwrap();
    assert!(!print.contains("secret-of") && !print.contains("sk-own"), "{print}");
}

// -- redirection of held credentials --

fn assert_redirected(ask: &Ask, config: &Config) {
    assert_eq!(ask.refused(config).kind, Kind::CredentialRedirected);
}

#[test]
fn a_custom_host_of_a_request_never_gets_a_virtual_keys_credential() {
    for ask in [
        Ask::new().virtual_key("openai-prod"),
        Ask::new().provider("@openai-prod"),
        Ask::new().model("@openai-prod/gpt-4o"),
        Ask::new().config("support"),
        Ask::new().config("bare").virtual_key("claude"),
        Ask::new().config("{vk 0}"),
    ] {
        assert_redirected(&ask.host("evil.example"), &setup());
    }
    assert_redirected(&Ask::new().config("{vk 0 host}"), &setup());
}

#[test]
fn a_virtual_key_may_list_custom_hosts() {
    let allowing = |entry: &str| {
        let mut config = setup();
        config.virtual_keys[0].allow_custom_host = vec![entry.into()];
        config
    };
    let ask = Ask::new().virtual_key("openai-prod");
    for (entry, host, authority) in [
        ("proxy.example:8443", "proxy.example", "proxy.example:8443"),
        ("Proxy.Example:8443", "proxy.example", "proxy.example:8443"),
        ("[::1]:8443", "::1", "[::1]:8443"),
    ] {
        let line = ask.clone().host(host).first(&allowing(entry));
        assert_eq!(line, format!("openai|0|secret-of-openai-prod|{authority}"), "{entry}");
    }
    for (entry, host) in [
        ("proxy.example:443", "proxy.example"),
        // A bare host means its https port alone.
        ("proxy.example", "proxy.example"),
        ("::1", "::1"),
        ("proxy.example", "proxy.example.evil.org"),
        ("proxy.example", "xproxy.example"),
        ("*", "proxy.example"),
        ("", "proxy.example"),
        ("::1:8443", "::1"),
    ] {
        assert_redirected(&ask.clone().host(host), &allowing(entry));
    }
    assert_redirected(
        &Ask::new().config("support").host("proxy.example"),
        &allowing("proxy.example"),
    );
}

#[test]
fn a_key_in_the_operators_config_is_not_redirected_either() {
    let mut config = setup();
    add_config(&mut config, "keyed", policy(leaf(keyed(Some(&OPENAI), "sk-operator"))));
    add_config(&mut config, "half", policy(leaf(keyed(None, "sk-operator"))));
    let keyed = Ask::new().config("keyed");
    assert_eq!(keyed.first(&config), "openai|-|sk-operator|api.openai.com");
    assert_redirected(&keyed.host("evil.example"), &config);
    assert_redirected(&Ask::new().config("half").provider("anthropic"), &config);
    assert_eq!(Ask::new().config("half").virtual_key("claude").first(&config), CLAUDE);
}

#[test]
fn options_that_choose_a_host_or_account_do_not_move_a_virtual_key() {
    for name in [
        "aws-region",
        "azure-resource-name",
        "azure-foundry-url",
        "huggingface-base-url",
        "vertex-project-id",
        "vertex-region",
        "workers-ai-account-id",
        "fireworks-account-id",
        "snowflake-account",
        "oracle-region",
    ] {
        let ask = Ask::new().option(name, "evil");
        assert_redirected(&ask.clone().virtual_key("openai-prod"), &setup());
        assert_redirected(&ask.clone().config("bare").virtual_key("claude"), &setup());
        assert!(ask.clone().config("support").choose(&setup(), |_| ()).is_ok(), "not read there");
        assert!(ask.provider("ollama").choose(&setup(), |_| ()).is_ok(), "nothing is held");
    }
    assert_redirected(&Ask::new().config("{vk 0 region}"), &setup());
}

#[test]
fn the_operators_own_custom_host_is_trusted() {
    let mut config = setup();
    let moved = Leaf { custom_host: Some(origin("proxy.example", 443)), ..with_key(0) };
    add_config(&mut config, "moved", policy(leaf(moved)));
    let ask = Ask::new().config("moved");
    assert_eq!(ask.first(&config), "openai|0|secret-of-openai-prod|proxy.example:443");
    assert_eq!(ask.targets(&config, |target| target.unwrap().origin_untrusted), [false]);
}

#[test]
fn a_custom_host_of_a_request_takes_the_callers_own_credential_and_is_not_trusted() {
    let ask = Ask::new().provider("openai").own("sk-own").host("proxy.example");
    assert_eq!(ask.first(&setup()), "openai|-|sk-own|proxy.example:8443");
    assert_eq!(ask.targets(&setup(), |target| target.unwrap().origin_untrusted), [true]);
    assert_eq!(ask.clone().host("bad").refused(&setup()).message, "Invalid custom host");
}

// -- what else holds at a target --

#[test]
fn a_virtual_key_that_does_not_serve_the_model_is_unfit() {
    let mut config = setup();
    config.virtual_keys[0].models = vec!["gpt-*".into()];
    let ask = Ask::new().config("support").model("claude-sonnet-4-5");
    let seen = ask.targets(&config, |target| target.map(|it| line(&it)).map_err(|it| it.kind));
    assert_eq!(seen, [Err(Kind::Inexpressible), Ok(CLAUDE.to_owned())]);
    assert_eq!(
        ask.first(&config),
        "the virtual key `openai-prod` does not serve the model `claude-sonnet-4-5`"
    );
    assert_eq!(Ask::new().config("support").model("gpt-4o").first(&config), PROD);
    assert_eq!(Ask::new().config("support").first(&config), PROD, "no model asked for");
}

#[test]
fn a_provider_without_a_host_of_its_own_needs_one() {
    let ask = Ask::new().provider("openai-compatible");
    let kinds = ask.targets(&setup(), |target| target.unwrap_err().kind);
    assert_eq!(kinds, [Kind::BadConfig]);
    let mut config = setup();
    add_virtual_key(&mut config, "house", &HOUSE, origin("house.example", 8000));
    assert_eq!(
        Ask::new().virtual_key("house").first(&config),
        "openai-compatible|2|secret-of-house|house.example:8000"
    );
}

#[test]
fn headers_and_config_meet_at_the_target() {
    let mut config = setup();
    let settings = Leaf {
        request_timeout: Some(Duration::from_secs(2)),
        strict: Some(true),
        forward_headers: vec!["x-config".into()],
        options: vec![("anthropic-version".into(), "config".into())],
        ..Leaf::default()
    };
    add_config(&mut config, "settings", policy(leaf(settings)));
    let mut ask = Ask::new().config("settings").provider("ollama");
    let read = |ask: &Ask| {
        ask.targets(&config, |target| {
            let it = target.unwrap();
            let version = it.option("anthropic-version").map(str::to_owned);
            (it.request_timeout, it.strict, it.forward_headers.to_vec(), version)
        })
        .remove(0)
    };
    let seconds = |count| Some(Duration::from_secs(count));
    let own = |text: &str| text.to_owned();
    assert_eq!(read(&ask), (seconds(2), true, vec![own("x-config")], Some(own("config"))));
    ask.options.request_timeout = seconds(1);
    ask.options.lenient = true;
    ask.options.forward_headers = Some(vec![own("x-request")]);
    ask = ask.option("anthropic-version", "request");
    assert_eq!(read(&ask), (seconds(1), false, vec![own("x-request")], Some(own("request"))));
    ask.options.request_timeout = seconds(9);
    assert_eq!(read(&ask).0, seconds(2), "the tighter wins");
}

#[test]
fn provider_options_of_a_request_hold_only_where_it_names_the_provider() {
    let ask = Ask::new().option("openai-organization", "org");
    let read = |ask: Ask| {
        let read = |target: Result<ResolvedTarget<'_>, Fault>| {
            target.unwrap().option("openai-organization").map(str::to_owned)
        };
        ask.targets(&setup(), read).remove(0)
    };
    assert_eq!(read(ask.clone().virtual_key("openai-prod")).as_deref(), Some("org"));
    assert_eq!(read(ask.config("support")), None);
}

#[test]
fn open_callers_have_no_lists() {
    let mut config = setup();
    config.open = true;
    let ask = Ask { api_key: None, ..Ask::new().provider("openai").own("sk").model("any") };
    assert_eq!(ask.first(&config), "openai|-|sk|api.openai.com");
    assert_eq!(Ask { api_key: None, ..Ask::new() }.refused(&config).message, NO_TARGET);
}
