//! Trunkline, the gateway: its layers, each of which names only those above it.

#![doc = include_str!("ARCHITECTURE.md")]

// The layers, in the order in which they may name one another: each only those above it.
pub mod base;

pub mod wire;

pub mod chat;

pub mod provider;

pub mod dialect;

pub mod config;

pub mod policy;

pub mod journal;

pub mod io;

pub mod serve;

pub mod control;

pub mod sandbox;

pub mod dump;
