//! Checks the resources of the stack.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use aws_sdk_dynamodb::types::{KeyType, StreamSpecification, TimeToLiveStatus};
use aws_sdk_iam::types::{
    ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType as Decision,
};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput as FunctionConfiguration;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::Value;
use titanx_receiver::{
    config::Config,
    deliveries::{DELIVERY_ID, EXPIRATION},
    jobs::JOB_ID,
    queue::{MAX_MESSAGE_BYTES, is_fifo},
    signature::KeyForm,
};

use super::Finding;
use crate::stack::{MIN_RETENTION, Stack};

/// Accepted timeouts of the function: longer than its budget of 6 s, shorter than TitanX's 10 s.
const TIMEOUTS_S: std::ops::RangeInclusive<i32> = 7..=9;
/// The longest retention that SQS allows.
const FOURTEEN_DAYS_S: i64 = 14 * 24 * 60 * 60;

/// Checks the function's timeout and memory, and parses its environment as the function does.
pub(super) async fn function(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "function";
    let function = stack.function_configuration().await?;
    let timeout = function.timeout().unwrap_or(0);
    let memory = function.memory_size().unwrap_or(0);
    let environment = function.environment().and_then(|it| it.variables());
    let environment = environment.cloned().unwrap_or_default();
    // Lambda sets these itself.
    let reserved = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let config = Config::from_env(|name| {
        let by_lambda = reserved.contains(&name).then(|| "lambda".to_owned());
        environment.get(name).cloned().or(by_lambda)
    });
    let forms = config.as_ref().map_or(&[][..], |config| &config.key_forms);
    let pinned = match forms {
        [form] => Some(form.as_str()),
        _ => None,
    };
    let pinned = pinned
        .map(|form| format!("accepts only signing keys of the form {form} (SIGNING_KEY_FORM)"));
    let form = pinned.unwrap_or_else(|| {
        "accepts signing keys of the forms whole, without-prefix and decoded".to_owned()
    });
    let form = (!forms.is_empty()).then(|| Finding::fine(SUBJECT, form));
    let mistakes = config.err().map(|mistakes| mistakes.to_string());
    let checks = [
        Finding::check(
            TIMEOUTS_S.contains(&timeout),
            SUBJECT,
            format!("has a timeout of {timeout} s"),
            "set the timeout to 8 s: longer than the function's budget of 6 s, shorter than the \
             10 s that TitanX waits",
        ),
        Finding::check(
            memory >= 128,
            SUBJECT,
            format!("has {memory} MB of memory"),
            "set the memory to at least 128 MB, the template's default",
        ),
        Finding::check(
            mistakes.is_none(),
            SUBJECT,
            mistakes.unwrap_or_else(|| "has a complete environment".to_owned()),
            "deploy the template again: the function cannot start with this environment",
        ),
    ];
    let stale = stale_alias(stack, &function).await?;
    Ok(checks.into_iter().chain(form).chain(stale).collect())
}

/// A note if the code that was deployed last is not the code that gets the deliveries.
async fn stale_alias(
    stack: &Stack<'_>,
    live: &FunctionConfiguration,
) -> anyhow::Result<Option<Finding>> {
    let latest = stack.latest_configuration().await?;
    let is_stale = latest.code_sha256() != live.code_sha256();
    Ok(is_stale.then(|| {
        Finding::note(
            "function",
            format!(
                "the deliveries go to version {}, which has other code than was deployed last",
                live.version().unwrap_or("unknown")
            ),
            "if no deployment is in progress and none was rolled back, move the alias: deploy the \
             template again, or use `cargo lambda deploy --alias live`",
        )
    }))
}

/// The forms of keys that the deployed function accepts.
pub(super) async fn key_forms(stack: &Stack<'_>) -> anyhow::Result<Vec<KeyForm>> {
    let environment = stack.function_environment().await;
    let environment = environment.context("cannot tell which forms of keys are accepted")?;
    let form = environment.get("SIGNING_KEY_FORM");
    let pinned = form.and_then(|form| form.trim().parse().ok());
    Ok(pinned.map_or_else(|| KeyForm::ALL.to_vec(), |form| vec![form]))
}

/// Checks that the function's role allows every call that the function makes.
pub(super) async fn permissions(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    let function = stack.function_configuration().await?;
    let role = function.role().context("the function has no role")?;
    let needed = [
        (
            "dynamodb:PutItem",
            table_arn(stack, &stack.deliveries_table().await?).await?,
        ),
        (
            "dynamodb:DeleteItem",
            table_arn(stack, &stack.deliveries_table().await?).await?,
        ),
        (
            "dynamodb:UpdateItem",
            table_arn(stack, &stack.jobs_table().await?).await?,
        ),
        (
            "sqs:SendMessage",
            queue_arn(stack, &stack.contacts_queue_url().await?).await?,
        ),
        (
            "sqs:SendMessage",
            queue_arn(stack, &stack.quarantine_queue_url().await?).await?,
        ),
        ("secretsmanager:GetSecretValue", stack.secret_arn().await?),
    ];
    let client = aws_sdk_iam::Client::new(&stack.sdk);
    let mut findings = Vec::new();
    for (action, resource) in needed {
        findings.push(permission(&client, role, action, &resource, None).await?);
    }
    if let Some(key) = stack.key_arn().await? {
        // A service of AWS uses the key for the function, which may not do so itself.
        let region = stack.sdk.region().map_or("us-east-1", |it| it.as_ref());
        let service = ContextEntry::builder()
            .context_key_name("kms:ViaService")
            .context_key_type(ContextKeyTypeEnum::String)
            .context_key_values(format!("sqs.{region}.amazonaws.com"))
            .build();
        for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
            let service = Some(service.clone());
            findings.push(permission(&client, role, action, &key, service).await?);
        }
    }
    Ok(findings)
}

async fn permission(
    client: &aws_sdk_iam::Client,
    role: &str,
    action: &str,
    resource: &str,
    context: Option<ContextEntry>,
) -> anyhow::Result<Finding> {
    let simulated = client
        .simulate_principal_policy()
        .policy_source_arn(role)
        .action_names(action)
        .resource_arns(resource)
        .set_context_entries(context.map(|entry| vec![entry]))
        .send()
        .await
        .with_context(|| format!("cannot simulate the policies of {role}"))?;
    let allowed = simulated
        .evaluation_results()
        .iter()
        .all(|it| *it.eval_decision() == Decision::Allowed);
    Ok(Finding::check(
        allowed && !simulated.evaluation_results().is_empty(),
        "permissions",
        format!(
            "{action} on {resource}: {}",
            if allowed { "allowed" } else { "denied" }
        ),
        "deploy the template again: its role allows every call that the function makes",
    ))
}

/// Checks the deliveries table: its key, its TTL attribute and the retention.
pub(super) async fn deliveries(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "deliveries table";
    const DAY_S: u64 = 24 * 60 * 60;
    let table = stack.deliveries_table().await?;
    let ttl = stack
        .dynamodb()
        .describe_time_to_live()
        .table_name(&table)
        .send()
        .await;
    let ttl = ttl.with_context(|| format!("cannot read the TTL setting of the table {table}"))?;
    let ttl = ttl.time_to_live_description();
    let attribute = ttl.and_then(|it| it.attribute_name()).unwrap_or_default();
    let enabled = ttl.and_then(|it| it.time_to_live_status()) == Some(&TimeToLiveStatus::Enabled);
    let retention = stack.retention().await?;
    let days = retention.as_secs() / DAY_S;
    Ok(vec![
        key(stack, SUBJECT, &table, DELIVERY_ID).await?,
        Finding::check(
            enabled && attribute == EXPIRATION,
            SUBJECT,
            if enabled {
                format!("has the TTL attribute {attribute}")
            } else {
                "has no TTL attribute".to_owned()
            },
            "enable TTL on the attribute `expiration`: without it, records are never deleted",
        ),
        Finding::check(
            retention >= MIN_RETENTION,
            SUBJECT,
            format!("keeps the record of a delivery for {days} days"),
            "set DeliveryRetentionDays to at least 7: TitanX retries for 3 days, and a replay must not \
             outlive the record",
        ),
    ])
}

/// Checks the jobs table: its key, its stream and point-in-time recovery.
pub(super) async fn jobs(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "jobs table";
    let table = stack.jobs_table().await?;
    let described = described(stack, &table).await?;
    let stream = described
        .stream_specification()
        .is_some_and(StreamSpecification::stream_enabled);
    let mut findings = vec![
        key(stack, SUBJECT, &table, JOB_ID).await?,
        Finding::check(
            stream,
            SUBJECT,
            if stream {
                "has a stream"
            } else {
                "has no stream"
            },
            "enable the stream, so that other systems can follow job completions",
        ),
    ];
    let backups = stack
        .dynamodb()
        .describe_continuous_backups()
        .table_name(&table)
        .send()
        .await;
    let backups = backups.with_context(|| format!("cannot read the backups of the table {table}"));
    findings.push(match backups {
        Ok(backups) => {
            let backups = backups.continuous_backups_description();
            let recovery = backups.and_then(|it| it.point_in_time_recovery_description());
            let status = recovery.and_then(|it| it.point_in_time_recovery_status());
            let enabled = status.is_some_and(|status| status.as_str() == "ENABLED");
            Finding::check(
                enabled,
                SUBJECT,
                format!(
                    "has point-in-time recovery {}",
                    if enabled { "enabled" } else { "disabled" }
                ),
                "enable point-in-time recovery: the jobs table is the only record of the jobs",
            )
        }
        Err(error) => Finding::unknown(SUBJECT, &error),
    });
    Ok(findings)
}

async fn key(
    stack: &Stack<'_>,
    subject: &'static str,
    table: &str,
    expected: &str,
) -> anyhow::Result<Finding> {
    let table = described(stack, table).await?;
    let key: Vec<_> = table
        .key_schema()
        .iter()
        .map(|it| (it.attribute_name(), it.key_type()))
        .collect();
    let names: Vec<_> = key.iter().map(|(name, _)| *name).collect();
    Ok(Finding::check(
        key == [(expected, &KeyType::Hash)],
        subject,
        format!("has the key {}", names.join(", ")),
        "correct the table name, or deploy the template again: this is another table",
    ))
}

async fn described(
    stack: &Stack<'_>,
    table: &str,
) -> anyhow::Result<aws_sdk_dynamodb::types::TableDescription> {
    let described = stack
        .dynamodb()
        .describe_table()
        .table_name(table)
        .send()
        .await;
    let described = described.with_context(|| format!("cannot describe the table {table}"))?;
    described
        .table
        .ok_or_else(|| anyhow!("there is no table {table}"))
}

async fn table_arn(stack: &Stack<'_>, table: &str) -> anyhow::Result<String> {
    let described = described(stack, table).await?;
    described
        .table_arn
        .with_context(|| format!("the table {table} has no ARN"))
}

type Attributes = HashMap<Attribute, String>;

async fn attributes(stack: &Stack<'_>, url: &str) -> anyhow::Result<Attributes> {
    let read = stack.sqs().get_queue_attributes().queue_url(url);
    let read = read.attribute_names(Attribute::All).send().await;
    let read = read.with_context(|| format!("cannot read the queue {url}"))?;
    Ok(read.attributes.unwrap_or_default())
}

async fn queue_arn(stack: &Stack<'_>, url: &str) -> anyhow::Result<String> {
    let mut attributes = attributes(stack, url).await?;
    let arn = attributes.remove(&Attribute::QueueArn);
    arn.with_context(|| format!("the queue {url} has no ARN"))
}

/// Checks the contacts queue: its type, retention, message size and dead-letter queue.
pub(super) async fn contacts(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "contacts queue";
    let url = stack.contacts_queue_url().await?;
    let attributes = attributes(stack, &url).await?;
    let fifo = is_fifo(&url);
    let kind = if fifo { "FIFO" } else { "standard" };
    let is_fifo_queue = attributes
        .get(&Attribute::FifoQueue)
        .is_some_and(|it| it == "true");
    let by_content = attributes.get(&Attribute::ContentBasedDeduplication);
    let mut findings = vec![Finding::check(
        fifo == is_fifo_queue,
        SUBJECT,
        format!("is named as a {kind} queue"),
        "deploy the template again: the queue's name and type do not match",
    )];
    if fifo {
        let by_content = by_content.is_some_and(|it| it == "true");
        findings.push(Finding::check(
            !by_content,
            SUBJECT,
            format!(
                "deduplicates by {}",
                if by_content { "content" } else { "delivery id" }
            ),
            "disable content-based deduplication: a retry may have another timestamp",
        ));
    }
    findings.extend(queue_findings(SUBJECT, &attributes));
    Ok(findings)
}

/// Checks the quarantine queue: as the contacts queue, and that it is empty.
pub(super) async fn quarantine(stack: &Stack<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "quarantine queue";
    let url = stack.quarantine_queue_url().await?;
    let attributes = attributes(stack, &url).await?;
    let waiting = number(&attributes, &Attribute::ApproximateNumberOfMessages).unwrap_or(0);
    let mut findings = vec![
        Finding::check(
            !is_fifo(&url),
            SUBJECT,
            if is_fifo(&url) {
                "is a FIFO queue"
            } else {
                "is a standard queue"
            },
            "use a standard queue: the receiver sends no group id to it",
        ),
        Finding::check(
            waiting == 0,
            SUBJECT,
            format!("holds about {waiting} messages"),
            "list them with `operator quarantine list`",
        ),
    ];
    findings.extend(queue_findings(SUBJECT, &attributes));
    Ok(findings)
}

/// The checks that apply to both queues.
fn queue_findings(subject: &'static str, attributes: &Attributes) -> Vec<Finding> {
    let retention_s = number(attributes, &Attribute::MessageRetentionPeriod).unwrap_or(0);
    let max_size = number(attributes, &Attribute::MaximumMessageSize).unwrap_or(0);
    let redrive = attributes.get(&Attribute::RedrivePolicy);
    let redrive: Value = redrive
        .and_then(|policy| serde_json::from_str(policy).ok())
        .unwrap_or_default();
    let target = redrive["deadLetterTargetArn"].as_str();
    vec![
        Finding::check(
            retention_s >= FOURTEEN_DAYS_S,
            subject,
            format!("keeps messages for {} days", retention_s / (24 * 60 * 60)),
            "set the retention to 14 days: TitanX will not send these events again",
        ),
        Finding::check(
            usize::try_from(max_size).is_ok_and(|size| size >= MAX_MESSAGE_BYTES),
            subject,
            format!("accepts messages of up to {max_size} bytes"),
            "set the maximum message size to 1 MiB: what is too large is quarantined, or lost",
        ),
        Finding::check(
            target.is_some(),
            subject,
            format!("dead-letter queue: {}", target.unwrap_or("none")),
            "add a dead-letter queue: without one, a message that always fails is retried until \
             it expires",
        ),
    ]
}

fn number(attributes: &Attributes, name: &Attribute) -> Option<i64> {
    attributes.get(name)?.parse().ok()
}
