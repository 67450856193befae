//! The keys of a config object: which are read, which load without effect, which wait for a later version, and
//! which are settings of a provider.

/// Keys that this version honours, beside [`GUARDRAILS`].
const HONOURED: &[&str] = &[
    "strategy",
    "targets",
    "name",
    "weight",
    "provider",
    "api_key",
    "virtual_key",
    "custom_host",
    "forward_headers",
    "request_timeout",
    "override_params",
    "default_params",
    "drop_params",
    "strict_open_ai_compliance",
    "retry",
    "timeouts",
    "cb_config",
    "affinity",
    "rate_limit_aware",
    "hedge",
    "mirror",
];

/// The keys of guardrails, honoured too: a target that has one of them has something to say.
pub const GUARDRAILS: &[&str] = &[
    "before_request_hooks",
    "after_request_hooks",
    "input_guardrails",
    "output_guardrails",
    "input_mutators",
    "output_mutators",
    "default_input_guardrails",
    "default_output_guardrails",
];

/// All keys that this version honours.
pub fn honoured() -> impl Iterator<Item = &'static str> {
    HONOURED.iter().chain(GUARDRAILS).copied()
}

/// Keys that load with a warning: without them a request costs more or takes longer, but means the same.
pub const INERT: &[(&str, &str)] = &[
    ("cache", "every request goes upstream"),
    ("deployments", "deployments are not listed"),
    ("fetch_integrated_models", "models are not listed"),
    ("on_status_codes", "it belongs into strategy or retry"),
];

/// Keys that would change what a request means or who may see it: refused while nothing honours them.
pub const LATER: &[&str] = &["passthrough", "prompt_id", "conditions", "keep_alive"];

/// Keys of `strategy` that this version honours.
pub const STRATEGY: &[&str] =
    &["mode", "on_status_codes", "conditions", "default", "sticky", "cb_config"];

/// What a provider setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A setting that leads nowhere else: a request may bring it along with a virtual key.
    Plain,
    /// It decides on the account or the path, and so belongs to the virtual key.
    Account,
    /// It becomes part of a host name.
    HostPart,
    /// It is a base URL.
    Url,
    /// It is a credential.
    Secret,
}

/// A provider setting: its key in a config, the header it stands for (without `x-portkey-`), and what it is.
pub struct Setting {
    /// The key in a config.
    pub key: &'static str,
    /// The header, without `x-portkey-`.
    pub header: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether a provider of this version reads it.
    pub honoured: bool,
}

/// Looks a provider setting up by its key.
#[must_use]
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

const fn now(key: &'static str, header: &'static str) -> Setting {
    Setting { key, header, kind: Kind::Plain, honoured: true }
}

const fn later(key: &'static str, header: &'static str, kind: Kind) -> Setting {
    Setting { key, header, kind, honoured: false }
}

/// All provider settings.
pub const SETTINGS: &[Setting] = &[
    now("openai_organization", "openai-organization"),
    now("openai_project", "openai-project"),
    now("openai_beta", "openai-beta"),
    now("anthropic_version", "anthropic-version"),
    now("anthropic_beta", "anthropic-beta"),
    later("resource_name", "azure-resource-name", Kind::HostPart),
    later("azure_resource_name", "azure-resource-name", Kind::HostPart),
    later("deployment_id", "azure-deployment-id", Kind::Plain),
    later("azure_deployment_id", "azure-deployment-id", Kind::Plain),
    later("api_version", "azure-api-version", Kind::Plain),
    later("azure_api_version", "azure-api-version", Kind::Plain),
    later("azure_model_name", "azure-model-name", Kind::Plain),
    later("azure_ad_token", "azure-ad-token", Kind::Secret),
    later("azure_auth_mode", "azure-auth-mode", Kind::Account),
    later("azure_managed_client_id", "azure-managed-client-id", Kind::Account),
    later("azure_workload_client_id", "azure-workload-client-id", Kind::Account),
    later("azure_entra_client_id", "azure-entra-client-id", Kind::Account),
    later("azure_entra_client_secret", "azure-entra-client-secret", Kind::Secret),
    later("azure_entra_tenant_id", "azure-entra-tenant-id", Kind::Account),
    later("azure_entra_scope", "azure-entra-scope", Kind::Account),
    later("azure_foundry_url", "azure-foundry-url", Kind::Url),
    later("azure_endpoint_name", "azure-endpoint-name", Kind::HostPart),
    later("azure_extra_params", "azure-extra-params", Kind::Plain),
    later("aws_access_key_id", "aws-access-key-id", Kind::Secret),
    later("aws_secret_access_key", "aws-secret-access-key", Kind::Secret),
    later("aws_session_token", "aws-session-token", Kind::Secret),
    later("aws_region", "aws-region", Kind::HostPart),
    later("aws_role_arn", "aws-role-arn", Kind::Account),
    later("aws_auth_type", "aws-auth-type", Kind::Account),
    later("aws_external_id", "aws-external-id", Kind::Account),
    later("aws_s3_bucket", "aws-s3-bucket", Kind::HostPart),
    later("aws_s3_object_key", "aws-s3-object-key", Kind::Account),
    later("aws_bedrock_model", "aws-bedrock-model", Kind::Account),
    later("vertex_project_id", "vertex-project-id", Kind::Account),
    later("vertex_region", "vertex-region", Kind::HostPart),
    later("vertex_storage_bucket_name", "vertex-storage-bucket-name", Kind::HostPart),
    later("vertex_service_account_json", "vertex-service-account-json", Kind::Secret),
    later("provider_model", "provider-model", Kind::Plain),
    later("workers_ai_account_id", "workers-ai-account-id", Kind::HostPart),
    later("huggingface_base_url", "huggingface-base-url", Kind::Url),
    later("fireworks_account_id", "fireworks-account-id", Kind::HostPart),
    later("snowflake_account", "snowflake-account", Kind::HostPart),
    later("mistral_fim_completion", "mistral-fim-completion", Kind::Plain),
    later("stability_client_id", "stability-client-id", Kind::Plain),
    later("stability_client_user_id", "stability-client-user-id", Kind::Plain),
    later("stability_client_version", "stability-client-version", Kind::Plain),
    later("oracle_api_version", "oracle-api-version", Kind::Account),
    later("oracle_region", "oracle-region", Kind::HostPart),
    later("oracle_compartment_id", "oracle-compartment-id", Kind::Account),
    later("oracle_serving_mode", "oracle-serving-mode", Kind::Account),
    later("oracle_tenancy", "oracle-tenancy", Kind::Account),
    later("oracle_user", "oracle-user", Kind::Account),
    later("oracle_fingerprint", "oracle-fingerprint", Kind::Secret),
    later("oracle_private_key", "oracle-private-key", Kind::Secret),
    later("oracle_key_passphrase", "oracle-key-passphrase", Kind::Secret),
];

/// Whether the header of a provider setting (without `x-portkey-`) carries a credential.
#[must_use]
pub fn is_secret_header(header: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.header == header && setting.kind == Kind::Secret)
}
