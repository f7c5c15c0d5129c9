//! The deployed pieces.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_dynamodb::types::{KeyType, StreamSpecification, TimeToLiveStatus};
use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::Value;
use titanx_receiver::{
    config::Config,
    deliveries::{DELIVERY_ID, EXPIRATION},
    jobs::JOB_ID,
    queue::{MAX_MESSAGE_BYTES, is_fifo},
};

use super::Finding;
use crate::deployment::Cloud;

/// The function's time-out: after its own budget of six seconds, before TitanX's ten.
const TIMEOUTS_S: std::ops::RangeInclusive<i32> = 7..=9;
/// What SQS keeps messages at most.
const FOURTEEN_DAYS_S: i64 = 14 * 24 * 60 * 60;

/// The function's time-out, and its environment as the function itself reads it.
pub(super) async fn function(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "function";
    let function = configuration(cloud).await?;
    let timeout = function.timeout().unwrap_or(0);
    let memory = function.memory_size().unwrap_or(0);
    let environment = function.environment().and_then(|it| it.variables());
    let environment = environment.cloned().unwrap_or_default();
    // What Lambda itself adds.
    let lambdas_own = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let config = Config::from_env(|name| {
        let own = lambdas_own.contains(&name).then(|| "lambda".to_owned());
        environment.get(name).cloned().or(own)
    });
    let mistakes = config.err().map(|mistakes| mistakes.to_string());
    Ok(vec![
        Finding::check(
            TIMEOUTS_S.contains(&timeout),
            SUBJECT,
            format!("is cut off after {timeout} s"),
            "set its time-out to 8 s: after its own budget of 6 s, before TitanX gives up at 10 s",
        ),
        Finding::check(
            memory >= 128,
            SUBJECT,
            format!("has {memory} MB"),
            "give it the 128 MB of the template",
        ),
        Finding::check(
            mistakes.is_none(),
            SUBJECT,
            mistakes.unwrap_or_else(|| "its environment is complete".to_owned()),
            "deploy the template again; the function does not start like this",
        ),
    ])
}

type Configuration =
    aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;

async fn configuration(cloud: &Cloud<'_>) -> anyhow::Result<Configuration> {
    let name = cloud.function().await?;
    let client = aws_sdk_lambda::Client::new(&cloud.sdk);
    let configuration = client
        .get_function_configuration()
        .function_name(&name)
        .send()
        .await;
    configuration.with_context(|| format!("cannot read the function {name}"))
}

/// Whether the function's role may do what the function does.
pub(super) async fn permissions(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    let function = configuration(cloud).await?;
    let role = function.role().context("the function has no role")?;
    let needed = [
        (
            "dynamodb:PutItem",
            table_arn(cloud, &cloud.deliveries_table().await?).await?,
        ),
        (
            "dynamodb:DeleteItem",
            table_arn(cloud, &cloud.deliveries_table().await?).await?,
        ),
        (
            "dynamodb:UpdateItem",
            table_arn(cloud, &cloud.jobs_table().await?).await?,
        ),
        (
            "sqs:SendMessage",
            queue_arn(cloud, &cloud.contacts_queue_url().await?).await?,
        ),
        (
            "sqs:SendMessage",
            queue_arn(cloud, &cloud.quarantine_queue_url().await?).await?,
        ),
        ("secretsmanager:GetSecretValue", cloud.secret_arn().await?),
    ];
    let client = aws_sdk_iam::Client::new(&cloud.sdk);
    let mut findings = Vec::new();
    for (action, resource) in needed {
        findings.push(permission(&client, role, action, &resource).await?);
    }
    Ok(findings)
}

async fn permission(
    client: &aws_sdk_iam::Client,
    role: &str,
    action: &str,
    resource: &str,
) -> anyhow::Result<Finding> {
    let simulated = client
        .simulate_principal_policy()
        .policy_source_arn(role)
        .action_names(action)
        .resource_arns(resource)
        .send()
        .await
        .with_context(|| format!("cannot simulate the policies of {role}"))?;
    let allowed = simulated
        .evaluation_results()
        .iter()
        .all(|it| *it.eval_decision() == PolicyEvaluationDecisionType::Allowed);
    Ok(Finding::check(
        allowed && !simulated.evaluation_results().is_empty(),
        "permissions",
        format!(
            "{action} on {resource}: {}",
            if allowed { "allowed" } else { "denied" }
        ),
        "deploy the template again: its role allows what the function does",
    ))
}

/// The deliveries table's key, and the attribute by which records expire.
pub(super) async fn deliveries(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "deliveries table";
    const DAY_S: u64 = 24 * 60 * 60;
    let table = cloud.deliveries_table().await?;
    let ttl = cloud
        .dynamodb()
        .describe_time_to_live()
        .table_name(&table)
        .send()
        .await;
    let ttl = ttl.with_context(|| format!("cannot read the expiry of {table}"))?;
    let ttl = ttl.time_to_live_description();
    let attribute = ttl.and_then(|it| it.attribute_name()).unwrap_or("nothing");
    let enabled = ttl.and_then(|it| it.time_to_live_status()) == Some(&TimeToLiveStatus::Enabled);
    let days = cloud.retention().await?.as_secs() / DAY_S;
    Ok(vec![
        key(cloud, SUBJECT, &table, DELIVERY_ID).await?,
        Finding::check(
            enabled && attribute == EXPIRATION,
            SUBJECT,
            format!(
                "expires records by {}",
                if enabled { attribute } else { "nothing" }
            ),
            "enable time to live on the attribute `expiration`, or records are kept for ever",
        ),
        Finding::check(
            days >= 4,
            SUBJECT,
            format!("remembers a delivery for {days} days"),
            "set DeliveryRetentionDays to at least 4: TitanX retries for three",
        ),
    ])
}

/// The jobs table's key, and whether it can be put back to an earlier moment.
pub(super) async fn jobs(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "jobs table";
    let table = cloud.jobs_table().await?;
    let described = described(cloud, &table).await?;
    let stream = described
        .stream_specification()
        .is_some_and(StreamSpecification::stream_enabled);
    let mut findings = vec![
        key(cloud, SUBJECT, &table, JOB_ID).await?,
        Finding::check(
            stream,
            SUBJECT,
            if stream {
                "has a stream"
            } else {
                "has no stream"
            },
            "enable the stream, so that others can follow which jobs are done",
        ),
    ];
    let backups = cloud
        .dynamodb()
        .describe_continuous_backups()
        .table_name(&table)
        .send()
        .await;
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
                    "point-in-time recovery is {}",
                    if enabled { "on" } else { "off" }
                ),
                "turn point-in-time recovery on: this table is kept",
            )
        }
        Err(error) => Finding::unknown(SUBJECT, &error.into()),
    });
    Ok(findings)
}

async fn key(
    cloud: &Cloud<'_>,
    subject: &'static str,
    table: &str,
    expected: &str,
) -> anyhow::Result<Finding> {
    let table = described(cloud, table).await?;
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
        "this is another table: correct the name, or deploy the template again",
    ))
}

async fn described(
    cloud: &Cloud<'_>,
    table: &str,
) -> anyhow::Result<aws_sdk_dynamodb::types::TableDescription> {
    let described = cloud
        .dynamodb()
        .describe_table()
        .table_name(table)
        .send()
        .await;
    let described = described.with_context(|| format!("cannot read the table {table}"))?;
    described
        .table
        .ok_or_else(|| anyhow!("there is no table {table}"))
}

async fn table_arn(cloud: &Cloud<'_>, table: &str) -> anyhow::Result<String> {
    let described = described(cloud, table).await?;
    described
        .table_arn
        .with_context(|| format!("the table {table} has no ARN"))
}

type Attributes = HashMap<Attribute, String>;

async fn attributes(cloud: &Cloud<'_>, url: &str) -> anyhow::Result<Attributes> {
    let read = cloud.sqs().get_queue_attributes().queue_url(url);
    let read = read.attribute_names(Attribute::All).send().await;
    let read = read.with_context(|| format!("cannot read the queue {url}"))?;
    Ok(read.attributes.unwrap_or_default())
}

async fn queue_arn(cloud: &Cloud<'_>, url: &str) -> anyhow::Result<String> {
    let mut attributes = attributes(cloud, url).await?;
    let arn = attributes.remove(&Attribute::QueueArn);
    arn.with_context(|| format!("the queue {url} has no ARN"))
}

/// The contacts queue: what it carries, how long it keeps it, and where what fails goes.
pub(super) async fn contacts(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "contacts queue";
    let url = cloud.contacts_queue_url().await?;
    let attributes = attributes(cloud, &url).await?;
    let fifo = is_fifo(&url);
    let kind = if fifo { "FIFO" } else { "standard" };
    let told_fifo = attributes
        .get(&Attribute::FifoQueue)
        .is_some_and(|it| it == "true");
    let by_content = attributes.get(&Attribute::ContentBasedDeduplication);
    let mut findings = vec![Finding::check(
        fifo == told_fifo,
        SUBJECT,
        format!("is a {kind} queue"),
        "its name and its type contradict each other: deploy the template again",
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
            "turn content-based deduplication off: a retry may carry another timestamp",
        ));
    }
    findings.extend(common(SUBJECT, &attributes));
    Ok(findings)
}

/// The quarantine queue, and whether something waits in it.
pub(super) async fn quarantine(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "quarantine queue";
    let url = cloud.quarantine_queue_url().await?;
    let attributes = attributes(cloud, &url).await?;
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
            "make it a standard queue: what is parked has no order",
        ),
        Finding::check(
            waiting == 0,
            SUBJECT,
            format!("holds about {waiting} deliveries"),
            "look at them with `operator quarantine list`",
        ),
    ];
    findings.extend(common(SUBJECT, &attributes));
    Ok(findings)
}

fn common(subject: &'static str, attributes: &Attributes) -> Vec<Finding> {
    let kept_s = number(attributes, &Attribute::MessageRetentionPeriod).unwrap_or(0);
    let largest = number(attributes, &Attribute::MaximumMessageSize).unwrap_or(0);
    let redrive = attributes.get(&Attribute::RedrivePolicy);
    let redrive: Value = redrive
        .and_then(|policy| serde_json::from_str(policy).ok())
        .unwrap_or_default();
    let target = redrive["deadLetterTargetArn"].as_str();
    vec![
        Finding::check(
            kept_s >= FOURTEEN_DAYS_S,
            subject,
            format!("keeps messages for {} days", kept_s / (24 * 60 * 60)),
            "keep them for 14 days: TitanX was told 200 and will not send them again",
        ),
        Finding::check(
            usize::try_from(largest).is_ok_and(|largest| largest >= MAX_MESSAGE_BYTES),
            subject,
            format!("takes messages of {largest} bytes"),
            "let it take 1 MiB: a larger contact is dropped by TitanX",
        ),
        Finding::check(
            target.is_some(),
            subject,
            format!("dead-letter queue: {}", target.unwrap_or("none")),
            "give it a dead-letter queue, or what cannot be consumed comes round for ever",
        ),
    ]
}

fn number(attributes: &Attributes, name: &Attribute) -> Option<i64> {
    attributes.get(name)?.parse().ok()
}

/// The alarms of the stack: whether there are any, whether somebody hears them, and which ring.
pub(super) async fn alarms(cloud: &Cloud<'_>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "alarms";
    let prefix = cloud.stack_name()?;
    let client = aws_sdk_cloudwatch::Client::new(&cloud.sdk);
    let mut pages = client
        .describe_alarms()
        .alarm_name_prefix(format!("{prefix}-"))
        .into_paginator()
        .send();
    let mut alarms = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.context("cannot read the alarms")?;
        alarms.extend(page.metric_alarms.unwrap_or_default());
    }
    let mut findings = vec![Finding::check(
        !alarms.is_empty(),
        SUBJECT,
        format!("there are {}", alarms.len()),
        "deploy the template again: its alarms tell what fails",
    )];
    for alarm in &alarms {
        let name = alarm.alarm_name().unwrap_or_default();
        if alarm.alarm_actions().is_empty() || alarm.actions_enabled() == Some(false) {
            findings.push(Finding::problem(
                SUBJECT,
                format!("nobody hears {name}"),
                "let it act on the stack's alarm topic, and enable its actions",
            ));
        }
        if alarm.state_value() == Some(&StateValue::Alarm) {
            let says = alarm.alarm_description().unwrap_or_default();
            findings.push(Finding::problem(
                SUBJECT,
                format!("{name} rings: {says}"),
                "do as it says",
            ));
        }
    }
    Ok(findings)
}
