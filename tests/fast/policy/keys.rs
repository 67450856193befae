//! Who is calling: every rule of the carriers has a test of its name.

use trunkline::{
    base::{
        fault::{Fault, Kind, Stage},
        ids::ApiKeyId,
        units::UnixTime,
    },
    config::Config,
    policy::key::{Caller, Carrier, identify},
};

use super::make::{NOW, add_api_key, config};

/// Two API keys: `tl-a` and `tl-b`.
fn closed() -> Config {
    let mut config = config();
    add_api_key(&mut config, "tl-a");
    add_api_key(&mut config, "tl-b");
    config
}

fn open() -> Config {
    Config { open: true, ..config() }
}

/// What the tests look at: API key, carrier, own credential.
type Seen = (Option<u32>, Option<Carrier>, Option<&'static str>);

fn ask(config: &Config, headers: &[(&'static str, &'static str)]) -> Result<Seen, Fault> {
    with_caller(config, headers, |caller| {
        (
            caller.api_key.map(|ApiKeyId(id)| id),
            caller.carrier,
            caller.own_credential.map(|credential| credential.reveal().to_owned().leak() as &str),
        )
    })
}

fn with_caller<T>(
    config: &Config,
    headers: &[(&'static str, &'static str)],
    read: impl FnOnce(&Caller<'_>) -> T,
) -> Result<T, Fault> {
    let lookup = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, v)| *v);
    identify(&lookup, config, NOW).map(|caller| read(&caller))
}

fn refused(config: &Config, headers: &[(&'static str, &'static str)]) -> Fault {
    let fault = ask(config, headers).unwrap_err();
    assert_eq!((fault.stage, fault.kind), (Stage::Auth, Kind::Unauthenticated));
    fault
}

#[test]
fn each_carrier_authenticates() {
    for (name, value, carrier) in [
        ("x-portkey-api-key", "tl-a", Carrier::PortkeyApiKey),
        ("x-trunkline-api-key", "tl-a", Carrier::PortkeyApiKey),
        ("authorization", "Bearer tl-a", Carrier::Authorization),
        ("authorization", "bearer  tl-a ", Carrier::Authorization),
        ("x-api-key", "tl-a", Carrier::XApiKey),
        ("api-key", "tl-a", Carrier::ApiKey),
        ("x-goog-api-key", "tl-a", Carrier::XGoogApiKey),
    ] {
        let seen = ask(&closed(), &[(name, value)]).unwrap();
        assert_eq!(seen, (Some(0), Some(carrier), None), "{name}: {value}");
    }
}

#[test]
fn the_first_carrier_present_decides() {
    let order = ["x-portkey-api-key", "authorization", "x-api-key", "api-key", "x-goog-api-key"];
    for (at, first) in order.iter().enumerate() {
        for second in &order[at + 1..] {
            let value =
                |name: &str, key, bearer| if name == "authorization" { bearer } else { key };
            let headers = [
                (*second, value(second, "sk-own", "Bearer sk-own")),
                (*first, value(first, "tl-b", "Bearer tl-b")),
            ];
            let (key, carrier, own) = ask(&closed(), &headers).unwrap();
            assert_eq!(key, Some(1), "{first} before {second}");
            assert_eq!(carrier.map(Carrier::header), Some(*first));
            assert_eq!(own, Some("sk-own"));
        }
    }
}

#[test]
fn a_wrong_first_carrier_is_a_401_whatever_the_others_say() {
    let fault = refused(&closed(), &[("x-portkey-api-key", "wrong"), ("x-api-key", "tl-a")]);
    assert_eq!(fault.message, "unknown API key in `x-portkey-api-key`");
    assert_eq!(fault.param.as_deref(), Some("x-portkey-api-key"));
    for (name, wrong) in
        [("authorization", "Bearer wrong"), ("x-api-key", "wrong"), ("api-key", "wrong")]
    {
        let fault = refused(&closed(), &[(name, wrong), ("x-goog-api-key", "tl-a")]);
        assert_eq!(fault.param.as_deref(), Some(name));
    }
    refused(&closed(), &[("x-goog-api-key", "wrong")]);
}

#[test]
fn no_carrier_is_a_401_that_says_how() {
    let fault = refused(&closed(), &[("cookie", "tl-a")]);
    assert!(fault.message.starts_with("no API key: "), "{}", fault.message);
}

#[test]
fn an_authorization_of_another_scheme_is_no_carrier() {
    refused(&closed(), &[("authorization", "Basic dGwtYQ==")]);
    refused(&closed(), &[("authorization", "tl-a")]);
    let headers = [("authorization", "Basic dGwtYQ=="), ("x-api-key", "tl-a")];
    assert_eq!(ask(&closed(), &headers).unwrap().1, Some(Carrier::XApiKey));
}

#[test]
fn an_empty_carrier_is_absent() {
    let headers = [("x-portkey-api-key", ""), ("authorization", "Bearer "), ("api-key", "tl-a")];
    assert_eq!(ask(&closed(), &headers).unwrap().1, Some(Carrier::ApiKey));
}

#[test]
fn the_own_credential_is_the_first_of_the_other_carriers() {
    let headers = [
        ("x-portkey-api-key", "tl-a"),
        ("x-goog-api-key", "third"),
        ("api-key", "second"),
        ("x-api-key", "first"),
    ];
    assert_eq!(ask(&closed(), &headers).unwrap().2, Some("first"));
}

#[test]
fn an_api_key_is_never_taken_for_a_providers_credential() {
    // SDKs send the one key they were given in two headers.
    let headers = [("x-portkey-api-key", "tl-a"), ("authorization", "Bearer tl-a")];
    assert_eq!(ask(&closed(), &headers).unwrap(), (Some(0), Some(Carrier::PortkeyApiKey), None));
    let headers =
        [("x-portkey-api-key", "tl-a"), ("authorization", "Bearer tl-b"), ("x-api-key", "sk-own")];
    let (key, _, own) = ask(&closed(), &headers).unwrap();
    assert_eq!((key, own), (Some(0), Some("sk-own")));
}

#[test]
fn an_expired_key_is_a_401_that_says_so() {
    let mut config = closed();
    for (expires, good) in [(NOW.nanos - 1, false), (NOW.nanos, false), (NOW.nanos + 1, true)] {
        config.api_keys[0].expires = Some(UnixTime { nanos: expires });
        let result = ask(&config, &[("x-api-key", "tl-a")]);
        assert_eq!(result.is_ok(), good, "{expires}");
    }
    config.api_keys[0].expires = Some(UnixTime { nanos: 0 });
    assert_eq!(refused(&config, &[("x-api-key", "tl-a")]).message, "this API key has expired");
}

#[test]
fn open_ignores_the_portkey_key_and_takes_the_rest_as_the_credential() {
    let headers = [("x-portkey-api-key", "pk-account"), ("authorization", "Bearer sk-own")];
    assert_eq!(ask(&open(), &headers).unwrap(), (None, None, Some("sk-own")));
    assert_eq!(ask(&open(), &[("x-portkey-api-key", "pk")]).unwrap(), (None, None, None));
    assert_eq!(ask(&open(), &[("x-api-key", "sk")]).unwrap(), (None, None, Some("sk")));
    assert_eq!(ask(&open(), &[]).unwrap(), (None, None, None));
}

#[test]
fn open_with_keys_still_knows_them_and_keeps_them_from_providers() {
    let config = Config { open: true, ..closed() };
    let headers = [("x-portkey-api-key", "pk"), ("authorization", "Bearer tl-b")];
    assert_eq!(ask(&config, &headers).unwrap(), (Some(1), Some(Carrier::Authorization), None));
    assert_eq!(ask(&config, &[("x-api-key", "sk")]).unwrap(), (None, None, Some("sk")));
}

#[test]
fn what_authenticated_never_goes_upstream() {
    let headers = [("authorization", "Bearer tl-a"), ("x-api-key", "sk-own")];
    with_caller(&closed(), &headers, |caller| {
        for (name, withheld) in [
            ("authorization", true),
            ("Authorization", true),
            ("x-portkey-api-key", true),
            ("X-Trunkline-Api-Key", true),
            ("x-api-key", false),
            ("cookie", false),
        ] {
            assert_eq!(caller.withholds(name), withheld, "{name}");
        }
        let refused = caller.check_forwarding(&["cookie".into(), "authorization".into()]);
        let fault = refused.unwrap_err();
        assert_eq!(fault.kind, Kind::BadConfig);
        assert!(!fault.message.contains("tl-a"));
        assert!(caller.check_forwarding(&["cookie".into(), "x-api-key".into()]).is_ok());
    })
    .unwrap();
}

#[test]
fn an_api_key_in_a_second_carrier_is_withheld_too() {
    let headers = [("x-portkey-api-key", "tl-a"), ("authorization", "Bearer tl-a")];
    let withheld = with_caller(&closed(), &headers, |caller| caller.withholds("authorization"));
    assert!(withheld.unwrap());
}

#[test]
fn debug_print_hides_the_credential() {
    let headers = [("x-portkey-api-key", "tl-a"), ("authorization", "Bearer sk-own")];
    let print = with_caller(&closed(), &headers, |caller| format!("{caller:?}")).unwrap();
    assert!(!print.contains("sk-own") && !print.contains("tl-a"), "{print}");
}
