//! What an API key allows: configs, virtual keys, providers and models, however a request names them.

use trunkline::{
    base::{fault::Kind, ids::VirtualKeyId},
    config::{Allow, policy::Leaf},
};

use super::{
    asks::*,
    make::{add_config, leaf, policy},
};

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
