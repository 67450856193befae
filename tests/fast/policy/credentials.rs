//! Which credential goes where, and the guard against redirecting one that is held.

use trunkline::{
    base::fault::{Fault, Kind, Stage},
    config::{Config, policy::Leaf},
    policy::{condition::Facts, plan::plan, resolve::ResolvedTarget},
};

use super::{
    asks::*,
    make::{OPENAI, add_config, balance, leaf, origin, policy},
};

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
