//! Which target: precedence, what a request fills into a config, and what else holds at a target.

use std::time::Duration;

use trunkline::{
    base::fault::{Fault, Kind},
    config::policy::Leaf,
    policy::{resolve::ResolvedTarget, target::Choice},
};

use super::{
    asks::*,
    make::{HOUSE, add_config, add_virtual_key, fallback, leaf, origin, policy, target},
};

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
