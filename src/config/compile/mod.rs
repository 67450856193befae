//! Compiles Portkey's config object into a [`Policy`]: from the file, where every mistake is told with its place,
//! and from a request's header, where the answer is the one that clients of Portkey's gateway know.

mod callee;
mod check_values;
pub mod checks;
mod conditions;
mod demands;
mod fields;
pub mod guardrails;
mod handed;
mod health;
mod hedge;
mod json_schema;
pub mod keys;
mod leaf;
mod node;
mod params;
mod redactions;

use sha2::{Digest, Sha256};

use crate::base::{ids::VirtualKeyId, limits};

use super::{
    Config, CustomHosts, Ids, VirtualKey,
    guardrail::{GuardrailKind, Guardrails},
    policy::Policy,
    report::{Report, Spot},
    tree::{Tree, Value},
};
use guardrails::{Form, Side};
use node::Compiler;

/// What a config may refer to, and the rules for what it may not.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The virtual keys, by id.
    pub virtual_keys: &'a [VirtualKey],
    /// Names to ids.
    pub virtual_key_ids: &'a Ids<VirtualKeyId>,
    /// Rules for custom hosts of requests.
    pub custom_hosts: &'a CustomHosts,
    /// Trunkline is open and listens on loopback only.
    pub open_on_loopback: bool,
}

impl<'a> Known<'a> {
    /// The virtual key of a name.
    #[must_use]
    pub fn virtual_key(&self, name: &str) -> Option<(VirtualKeyId, &'a VirtualKey)> {
        let id = *self.virtual_key_ids.get(name)?;
        Some((id, self.virtual_keys.get(usize::try_from(id.0).ok()?)?))
    }
}

impl<'a> From<&'a Config> for Known<'a> {
    fn from(config: &'a Config) -> Known<'a> {
        Known {
            virtual_keys: &config.virtual_keys,
            virtual_key_ids: &config.virtual_key_ids,
            custom_hosts: &config.custom_hosts,
            open_on_loopback: config.open_on_loopback(),
        }
    }
}

/// Why an inline config was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InlineError {
    /// Status 400: Portkey's `message` and, unless empty, its `errors`.
    Invalid {
        /// The value of `message`.
        message: &'static str,
        /// The values of `errors`.
        errors: Vec<String>,
    },
    /// Status 403: a credential that Trunkline holds would have gone to a host it was not declared for.
    CredentialRedirected {
        /// What would have redirected it; names no secret.
        message: String,
    },
}

/// Compiles a config that came with a request. `target_named`: another header of the request names a provider or
/// a virtual key, so that the config itself need not.
pub fn compile_inline(
    text: &str,
    known: Known<'_>,
    target_named: bool,
) -> Result<Policy, InlineError> {
    if text.len() > limits::INLINE_CONFIG_BYTES_MAX {
        let most = limits::INLINE_CONFIG_BYTES_MAX;
        return invalid(vec![format!("path: , message: The config is longer than {most} bytes")]);
    }
    let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else { return plain(NOT_JSON) };
    if json.is_null() {
        return plain(NOT_JSON);
    }
    let tree = Tree::from(json);
    let root = Spot::root(&tree);
    let names_target = ["provider", "targets", "virtual_key"].iter().any(|key| truthy(&root, key));
    if !target_named && !names_target && !demands::names_virtual_key_in_model(&root, known) {
        return plain(NO_PROVIDER);
    }
    let mut report = Report::default();
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut compiler = Compiler::new(known, Some(&digest), "", &mut report);
    let node = compiler.root(&root);
    let (watched, total) = (std::mem::take(&mut compiler.watched), compiler.total);
    let (redirected, names_itself) = (compiler.redirected.take(), compiler.forwards_itself);
    match node {
        _ if !report.wire.is_empty() => invalid(report.wire),
        _ if truthy(&root, "options") => plain(LEGACY),
        _ if names_itself => plain(FORWARDS_ITSELF),
        _ if redirected.is_some() => {
            Err(InlineError::CredentialRedirected { message: redirected.unwrap_or_default() })
        }
        None => invalid(vec!["path: , message: Invalid configuration".into()]),
        Some(root) => Ok(Policy { root, inline: true, digest, total, watched }),
    }
}

/// Compiles a config of the file; `None` if it has mistakes.
pub fn compile_named(spot: &Spot<'_>, known: Known<'_>, report: &mut Report) -> Option<Policy> {
    let digest = Sha256::digest(spot.tree.to_json().to_string().as_bytes()).into();
    let before = report.mistakes.len();
    let mut compiler = Compiler::new(known, None, spot.name(), report);
    let root = compiler.root(spot);
    let (watched, total) = (std::mem::take(&mut compiler.watched), compiler.total);
    if compiler.forwards_itself {
        report.mistake(spot, FORWARDS_ITSELF);
    }
    let root = root.filter(|_| report.mistakes.len() == before)?;
    Some(Policy { root, inline: false, digest, total, watched })
}

/// Compiles the guardrails that came with a request, for every target: of requests, and of answers.
pub fn compile_guardrails(
    texts: [Option<&str>; 2],
    known: Known<'_>,
) -> Result<Guardrails, InlineError> {
    let mut report = Report::default();
    let mut lists = [Vec::new(), Vec::new()];
    let sides = [Side::Input, Side::Output];
    let mut compiler = Compiler::new(known, Some(&[0; 32]), "", &mut report);
    for ((list, text), side) in lists.iter_mut().zip(texts).zip(sides) {
        let Some(text) = text else { continue };
        if text.len() > limits::INLINE_CONFIG_BYTES_MAX {
            return invalid(vec!["path: , message: The guardrails are too long".to_owned()]);
        }
        let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else {
            return plain(GUARDRAILS_NOT_JSON);
        };
        let tree = Tree::from(json);
        let form = Form::Short(GuardrailKind::Guardrail);
        *list = compiler.guardrails(&Spot::root(&tree), form, side, 0);
    }
    let [input, output] = lists;
    if report.wire.is_empty() { Ok(Guardrails { input, output }) } else { invalid(report.wire) }
}

fn plain<T>(message: &'static str) -> Result<T, InlineError> {
    Err(InlineError::Invalid { message, errors: Vec::new() })
}

fn invalid<T>(errors: Vec<String>) -> Result<T, InlineError> {
    Err(InlineError::Invalid { message: INVALID, errors })
}

/// Whether a key holds what JavaScript takes for true.
fn truthy(spot: &Spot<'_>, key: &str) -> bool {
    spot.get(key).is_some_and(|found| match &found.tree.value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64().is_some_and(|n| n != 0.0),
        Value::Text(text) => !text.is_empty(),
        Value::List(_) | Value::Map(_) => true,
    })
}

/// The message beside a list of errors.
pub const INVALID: &str = "Invalid config passed";
/// Guardrails in a header are not JSON.
pub const GUARDRAILS_NOT_JSON: &str =
    "Invalid guardrails passed. You need to pass a valid json list";
/// The config is not JSON.
pub const NOT_JSON: &str = "Invalid config passed. You need to pass a valid json";
/// Neither the config nor a header names a provider.
pub const NO_PROVIDER: &str = "Either x-portkey-provider needs to be passed. \
    Or the x-portkey-config header should have a valid config with provider details in it.";
/// The first form that Portkey's configs had.
pub const LEGACY: &str = "This version of config is not supported in this route. \
    Please migrate to the latest version";
/// A list of forwarded headers that names itself.
pub const FORWARDS_ITSELF: &str =
    "forward_headers must not contain the 'x-portkey-forward-headers' header";
