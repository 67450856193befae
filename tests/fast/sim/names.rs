//! Targets behind names: ones that do not exist, that nobody answers for, and that have several addresses.

use std::{net::IpAddr, time::Duration};

use super::{Gate, Setup, client, millis, secs};
use crate::world::Lookup;

fn named() -> Gate {
    Setup::new(1).named().file("timeouts: {connect: 5s}").open()
}

/// Nothing listens there.
const DEAF: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 9, 9));

#[test]
fn one_that_resolves_is_reached() {
    let gate = named();
    assert_eq!(gate.ask("hi").served_by(), "a");
    gate.close();
}

#[test]
fn one_that_does_not_exist_is_left_for_the_next_target() {
    let gate = named();
    gate.look_up("a", Lookup::Fails(millis(30)));
    assert_eq!(gate.ask("hi").served_by(), "b");
    let record = gate.record();
    assert_eq!(record.attempts[0].left, "unreachable");
    assert!(record.attempts[0].detail.contains("a.test"), "{record:?}");
    gate.close();
}

#[test]
fn one_without_an_address_is_left_for_the_next_target() {
    let gate = named();
    gate.look_up("a", Lookup::Gives(vec![], Duration::ZERO));
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(gate.record().attempts[0].left, "unreachable");
    gate.close();
}

#[test]
fn one_that_nobody_answers_for_costs_the_connect_deadline() {
    let gate = named();
    gate.look_up("a", Lookup::Stalls);
    let answer = gate.ask("hi");
    assert_eq!(answer.served_by(), "b");
    assert!((secs(5)..millis(5100)).contains(&answer.took), "{:?}", answer.took);
    assert_eq!(gate.record().attempts[0].left, "timeout_connect");
    gate.close();
}

#[test]
fn without_another_target_the_client_is_told() {
    for (lookup, status) in [(Lookup::Fails(Duration::ZERO), 502), (Lookup::Stalls, 504)] {
        let policy = serde_json::json!({"virtual_key": "a"});
        let gate = Setup::new(1).named().policy(policy).open();
        gate.look_up("a", lookup);
        let answer = gate.ask("hi");
        assert_eq!((answer.status, answer.is_error()), (status, true), "{answer:?}");
        assert_eq!(answer.header("x-trunkline-error-source"), Some("network"));
        gate.close();
    }
}

#[test]
fn a_client_that_leaves_during_a_look_up_is_noticed() {
    let gate = named();
    gate.look_up("a", Lookup::Stalls);
    drop(gate.begin(&client::chat("hi", false), secs(1)));
    gate.world.run_for(millis(50));
    assert!(gate.record().client_gone);
    gate.close();
}

#[test]
fn an_address_that_refuses_or_keeps_silent_is_passed_over() {
    for silent in [false, true] {
        let gate = named();
        if silent {
            gate.world.silence((DEAF, 80).into());
        }
        let own = gate.target("a").address.ip();
        gate.look_up("a", Lookup::Gives(vec![DEAF, own], millis(10)));
        let answer = gate.ask("hi");
        assert_eq!(answer.served_by(), "a");
        assert!(answer.took < secs(3), "half of the connect deadline: {:?}", answer.took);
        assert_eq!(gate.record().attempts.len(), 1);
        gate.close();
    }
}

#[test]
fn one_that_moves_is_followed() {
    let gate = named();
    gate.target("a").is("keep_alive=off");
    assert_eq!(gate.ask("hi").served_by(), "a");
    gate.look_up("a", Lookup::Gives(vec![gate.target("b").address.ip()], Duration::ZERO));
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(gate.records()[1].attempts.len(), 1, "as the target a");
    gate.close();
}
